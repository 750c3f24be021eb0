//! Meters on wires, read by agents that are killed at any moment. The judge is the gateway's database.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use emulators::freestyle::Freestyle;
use emulators::lifescan::LifeScan;
use emulators::{Device as Meter, Manners, Socket, Test};
use harness::offered::{self, Key};
use harness::world::Random;
use harness::{Agent, Gateway, Pki, judge, wait_for};

/// For the slowest thing here on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Nothing more comes of a meter when nothing has come for so long.
const PAUSE: Duration = Duration::from_millis(40);
/// Kills of each agent, and how many at least must come while its meter is read.
const KILLS: u16 = 12;
const CUT_MIN: usize = 3;
/// Records in a meter at first, how many come with each kill, all of them, and with the one that is there when the meter is read
/// once more: what is taken again comes before it.
const RECORDS: u16 = 120;
const MORE: u16 = 8;
const ALL: u16 = RECORDS + KILLS * MORE;
const LAST: u16 = ALL + 1;

/// A meter on a wire, and an agent that reads it and sends to a gateway.
struct Read {
    agent: Agent,
    socket: Socket,
    meter: fn(Vec<Test>) -> Box<dyn Meter>,
    /// Bytes a second of the wire.
    speed: u64,
}

impl Read {
    fn new(
        folder: &Path,
        (pki, gateway): (&Pki, &Gateway),
        model: &str,
        meter: fn(Vec<Test>) -> Box<dyn Meter>,
    ) -> Self {
        let (id, socket) = (model.replace('_', "-"), Socket::new().unwrap());
        let sources = format!(
            "[[source]]\nname = \"meter\"\ntype = \"glucose_meter\"\nmodel = \"{model}\"\ntime_zone = \"UTC\"\n\
             every_s = 10\nport = {:?}\n",
            socket.path
        );
        let agent = Agent::new(&folder.join(&id), &id, Some(gateway.mqtt_port), &pki.device(&id), &sources);
        let speed = if model == "freestyle_lite" { 16_000 } else { 6_000 };
        Self { agent, socket, meter, speed }
    }

    fn plug_in(&mut self, held: u16) {
        let manners = Manners { bytes_per_s: self.speed, ..Manners::good() };
        self.socket.plug_in((self.meter)((0..held).map(Test::number).collect()), manners).unwrap();
    }

    /// What the gateway has of it.
    fn stored(&self, gateway: &Gateway) -> Vec<Key> {
        judge::stored(&gateway.database(), &self.agent.device).unwrap_or_default()
    }

    /// Whether that is something of all that the meter holds, whatever came twice: no two of its tests are of one minute.
    fn is_read(&self, gateway: &Gateway, held: u16) -> bool {
        let times: BTreeSet<i64> = self.stored(gateway).into_iter().map(|key| key.time_us).collect();
        times.len() >= held.into()
    }
}

#[test]
fn agents_that_are_killed_while_they_read_meters_leave_each_record_once_in_the_gateways_database() {
    let folder = tempfile::tempdir().unwrap();
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed} repeats this run");
    let mut random = Random::new(seed);
    let pki = Pki::create(&folder.path().join("pki"));
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let cloud = (&pki, &gateway);
    let mut meters = [
        Read::new(folder.path(), cloud, "freestyle_lite", |tests| Box::new(Freestyle::lite("DBMN123-A4567", tests))),
        Read::new(folder.path(), cloud, "onetouch_ultra_mini", |tests| {
            Box::new(LifeScan::ultra_mini("C176SA5C9", tests))
        }),
    ];
    let mut cut = [0; 2];
    for kill in 0..KILLS {
        let held = RECORDS + kill * MORE;
        for (read, cut) in meters.iter_mut().zip(&mut cut) {
            read.plug_in(held);
            let asked = read.socket.heard();
            read.agent.start();
            wait_for("a question to the meter", DEADLINE, || (read.socket.heard() > asked).then_some(()));
            // In the middle of the memory; or while that is stored and sent, and when all is over.
            let is_late = kill % 2 == 1;
            assert!(!is_late || read.socket.falls_silent(PAUSE, DEADLINE), "the meter never ends");
            std::thread::sleep(random.millis(0, 450));
            read.agent.kill();
            *cut += usize::from(!read.is_read(&gateway, held));
        }
        if kill % 4 == 3 {
            gateway.kill();
            gateway.restart();
        }
    }
    println!("{cut:?} of {KILLS} kills came before all that the meter held was in the gateway's database");
    assert!(cut.iter().all(|cut| *cut >= CUT_MIN), "{cut:?} of {KILLS} kills came while a meter was being read");

    for read in &mut meters {
        for held in [ALL, LAST] {
            read.plug_in(held);
            read.agent.start();
            let begun = std::time::Instant::now();
            while !read.is_read(&gateway, held) && begun.elapsed() < DEADLINE {
                std::thread::sleep(Duration::from_millis(50)); // if it never comes, the judge says what is missing
            }
            read.agent.stop();
        }
        let test = |number: u16| {
            let test = Test::number(number);
            (i64::from(test.seconds_since(1970)) * 1_000_000, f64::from(test.mg_dl))
        };
        let verdict = judge::compare(&offered::keys("glucose", (0..LAST).map(test)), &read.stored(&gateway));
        assert!(verdict.is_clean() && verdict.matched == usize::from(LAST), "{}: {verdict}", read.agent.device);
    }
}
