//! Devices with a memory, read by an agent that is killed at any moment.

use std::time::Duration;

use emulators::codefree::CodeFree;
use emulators::contour::Contour;
use emulators::dexcom::{Generation, Receiver};
use emulators::dsmr::Dsmr;
use emulators::freestyle::Freestyle;
use emulators::lifescan::LifeScan;
use emulators::taidoc::TaiDoc;
use emulators::ultra2::Ultra2;
use emulators::{Device, Manners, Socket, Test};

use crate::rig::{DEADLINE, Line, Rig, end, until};

/// How often the agent is killed.
const KILLS: u16 = 16;
/// So many of the kills at least must come after the device was asked and before all that it holds was accepted.
const CUT_MIN: u16 = KILLS / 4;
/// Records in the device at first, and how many come with each kill.
const RECORDS: u16 = 120;
const MORE: u16 = 8;
/// All of them, in the end, and with the one that is there when the device is read once more: what is taken again comes before
/// it.
const ALL: u16 = RECORDS + KILLS * MORE;
const LAST: u16 = ALL + 1;
/// From the first question to the kill, at most, or from the last byte.
const WINDOW: Duration = Duration::from_millis(450);
/// Nothing more comes when nothing has come for so long.
const PAUSE: Duration = Duration::from_millis(40);

/// A device on a wire, and an agent that reads it.
struct Wire {
    rig: Rig,
    socket: Socket,
    /// Bytes a second.
    speed: u64,
    /// Whether it speaks without being asked.
    speaks: bool,
}

impl Wire {
    /// `source` is what is configured, but for name and port.
    fn new(source: &str, speed: u64) -> Self {
        let socket = Socket::new().unwrap();
        let rig = Rig::new(|_| format!("[[source]]\nname = \"it\"\nport = {:?}\n{source}\n", socket.path));
        Self { rig, socket, speed, speaks: false }
    }

    fn plug_in(&mut self, device: impl Device + 'static) {
        let manners = Manners { bytes_per_s: self.speed, ..Manners::good() };
        self.socket.plug_in(device, manners).unwrap();
    }

    /// How often it was asked, or has spoken.
    fn talk(&self) -> usize {
        if self.speaks { self.socket.sent().len() } else { self.socket.heard() }
    }

    /// Kills the agent again and again while it reads a device that holds more each time, then has it read all, and once
    /// more with the last. `is_read` says whether all that a device held is among what was accepted. Answers with all of that.
    fn kill<D: Device + 'static>(
        &mut self,
        device: impl Fn(u16) -> D,
        is_read: impl Fn(&[Line], u16) -> bool,
    ) -> Vec<Line> {
        let mut cut = 0;
        for kill in 0..KILLS {
            let held = RECORDS + kill * MORE;
            self.plug_in(device(held));
            let said = self.talk();
            let agent = self.rig.start();
            // Before it has asked anything; in the middle of the memory; or while that is stored, and when all is over.
            let (is_early, is_late) = (kill % 8 == 7, kill % 4 >= 2);
            assert!(is_early || until(|| self.talk() > said), "nobody asks: {}", self.rig.log());
            assert!(is_early || !is_late || self.socket.falls_silent(PAUSE, DEADLINE), "{}", self.rig.log());
            std::thread::sleep(self.rig.moment(if is_early { WINDOW / 4 } else { WINDOW }));
            end(agent);
            let was_read = self.talk() > said;
            cut += u16::from(was_read && !is_read(&self.rig.accepted(), held));
        }
        println!("{cut} of {KILLS} kills came while the device was being read");
        assert!(cut >= CUT_MIN, "{cut} of {KILLS} kills came while the device was being read, {CUT_MIN} are needed");
        self.speed = 0;
        for held in [ALL, LAST] {
            self.plug_in(device(held));
            let agent = self.rig.start();
            let is_all = until(|| is_read(&self.rig.accepted(), held));
            end(agent);
            assert!(is_all, "{} readings of {held} records: {}", self.rig.accepted().len(), self.rig.log());
        }
        self.rig.accepted()
    }
}

/// Whether there are as many of a series as the device holds, whatever came twice.
fn counts(series: &str) -> impl Fn(&[Line], u16) -> bool {
    move |lines, held| {
        let mut once = of(lines, series);
        once.dedup();
        once.len() >= held.into()
    }
}

/// Those of one series, in order.
fn of(lines: &[Line], series: &str) -> Vec<(i64, String)> {
    let mut values: Vec<(i64, String)> =
        lines.iter().filter(|line| line.0 == series).map(|line| (line.1, line.2.clone())).collect();
    values.sort();
    values
}

/// Kills while a meter of that model is read. One whose answer is long has a faster line: a memory takes half a second.
fn kill_while_read<D: Device + 'static>(model: &str, speed: u64, meter: fn(Vec<Test>) -> D) {
    let source = format!("type = \"glucose_meter\"\nmodel = \"{model}\"\ntime_zone = \"UTC\"\nevery_s = 10");
    let mut wire = Wire::new(&source, speed);
    let lines = wire.kill(|tests| meter((0..tests).map(Test::number).collect()), counts("glucose"));
    let test = |number: u16| {
        let test = Test::number(number);
        (i64::from(test.seconds_since(1970)) * 1_000_000, test.mg_dl.to_string())
    };
    let mut expected: Vec<(i64, String)> = (0..LAST).map(test).collect();
    expected.sort();
    assert_eq!(of(&lines, "glucose"), expected, "{model}: {}", wire.rig.log());
    assert_eq!(lines.len(), expected.len());
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_a_meter_that_says_all_at_once_accepts_each_record_once() {
    std::thread::scope(|scope| {
        scope.spawn(|| kill_while_read("freestyle_lite", 16_000, |tests| Freestyle::lite("DBMN123-A4567", tests)));
        scope.spawn(|| kill_while_read("freestyle_optium", 16_000, |tests| Freestyle::optium("XCGM123-A4567", tests)));
        scope.spawn(|| kill_while_read("onetouch_ultra2", 24_000, |tests| Ultra2::new("C123ABC4Y", tests)));
        scope.spawn(|| kill_while_read("contour", 30_000, |tests| Contour::new("7390-2336773", tests)));
    });
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_a_meter_record_by_record_accepts_each_record_once() {
    std::thread::scope(|scope| {
        scope.spawn(|| kill_while_read("onetouch_ultra_mini", 6_000, |tests| LifeScan::ultra_mini("C176SA5C9", tests)));
        // One that counts from the oldest.
        let oldest_first = |tests: Vec<Test>| LifeScan { ascending: true, ..LifeScan::verio_iq("YZAB1234", tests) };
        scope.spawn(move || kill_while_read("onetouch_verio_iq", 6_000, oldest_first));
        scope.spawn(|| kill_while_read("taidoc", 6_000, TaiDoc::new));
        scope.spawn(|| kill_while_read("codefree", 10_000, CodeFree::new));
    });
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_a_dexcom_receiver_accepts_each_record_once() {
    let mut wire = Wire::new("type = \"dexcom_receiver\"\nevery_s = 10", 40_000);
    let all = u32::from(LAST);
    let value = |number: u32| u16::try_from(40 + number % 361).unwrap();
    let receiver = |count: u16| {
        let mut receiver = Receiver::new("sm40000000", Generation::G6);
        for number in 0..u32::from(count) {
            receiver.glucose(number, value(number), 4);
            receiver.sensor(number, 100_000 + number, 90_000, -70);
        }
        (0..u32::from(count)).step_by(20).for_each(|number| receiver.meter(number, value(number)));
        receiver
    };
    // Raw values come last: with them, all is there.
    let lines = wire.kill(receiver, counts("sensor.rssi"));
    let time = |number: u32| (1_230_768_000 + 400_000_000 + 300 * i64::from(number)) * 1_000_000;
    let each = |step: usize, value: &dyn Fn(u32) -> String| -> Vec<(i64, String)> {
        (0..all).step_by(step).map(|number| (time(number), value(number))).collect()
    };
    for (series, step, value) in [
        ("glucose", 1, &(|number| value(number).to_string()) as &dyn Fn(u32) -> String),
        ("glucose.direction", 1, &|_| "Flat".to_owned()),
        ("sensor.unfiltered", 1, &|number| (100_000 + number).to_string()),
        ("sensor.rssi", 1, &|_| "-70".to_owned()),
        ("glucose.meter", 20, &|number| value(number).to_string()),
    ] {
        assert_eq!(of(&lines, series), each(step, value), "{series}: {}", wire.rig.log());
    }
    assert_eq!(of(&lines, "receiver.display_offset").len(), 1, "it did not change");
}

#[test]
fn an_agent_that_is_killed_at_random_while_an_energy_meter_pushes_takes_each_reading_of_gas_once() {
    // Each telegram repeats the hour's gas, and an hour has a hundred telegrams: most hours are told of in several runs.
    const TELEGRAMS: u16 = 36;
    let wire = Wire::new("type = \"dsmr\"\nversion = 5\ntime_zone = \"Europe/Amsterdam\"", 20_000);
    let mut wire = Wire { speaks: true, ..wire };
    let begins = |held: u16| match held {
        LAST => 860, // in an hour that was told of in the run before
        _ => u32::from((held - RECORDS) / MORE * TELEGRAMS),
    };
    let left = |held: u16| if held < ALL { u32::from(TELEGRAMS) } else { 300 };
    let meter = |held: u16| Dsmr { left: left(held), sent: begins(held) };
    let hour = |telegram: u32| (1_483_311_600 + i64::from(telegram / 100) * 3_600) * 1_000_000;
    // What is on the wire at a kill is lost, as a meter does not repeat it: each of these runs is cut.
    let lines = wire.kill(meter, |lines, held| {
        held >= ALL && of(lines, "gas.1").iter().any(|(time, _)| *time == hour(begins(held) + left(held) - 1))
    });
    let gas = of(&lines, "gas.1");
    let mut once = gas.clone();
    once.dedup();
    assert_eq!(gas, once, "an hour was taken twice: {}", wire.rig.log());
    let is_there = |telegram: u32| gas.contains(&(hour(telegram), "0.107".to_owned()));
    let whole = begins(ALL)..begins(LAST) + left(LAST);
    assert!(whole.step_by(100).all(is_there), "an hour that no kill was in is lost: {gas:?}");
    assert!(gas.iter().all(|(time, value)| (time - hour(0)) % 3_600_000_000 == 0 && value == "0.107"), "{gas:?}");
}
