//! Published frames, and an emulated oximeter that shares no code with the codec.

use emulators::oximeters::{Contec, Vitals};
use emulators::{Device as Emulator, Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::settings::Settings as Any;
use crate::source::testing::{NOON, Running, configured, told_all};
use crate::source::{Configured, SourceClock};

fn bench(protocol: Protocol) -> Bench {
    let settings = Settings { port: "/dev/null".into(), protocol };
    settings.validate().unwrap();
    Bench::open(settings.codec(None).unwrap())
}

const WELL: Vitals = Vitals { spo2: 97, pulse: 165, finger: true };

#[test]
fn the_sample_is_valid_and_settings_that_cannot_be_are_named() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/contec_cms50/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    for source in &sample.source {
        source.validate().unwrap();
        assert!(matches!(source.settings, Any::ContecCms50(_)) && !source.settings.resumes());
    }
    let settings: Settings = toml::from_str("port = \"\"\nprotocol = \"old\"").unwrap();
    assert_eq!(settings.validate().unwrap_err().field, "port");
    let unknown = toml::from_str::<Settings>("port = \"x\"\nprotocol = \"v9\"").unwrap_err();
    assert!(unknown.to_string().contains("v7"), "{unknown} names those that are known");
    assert!(toml::from_str::<Settings>("port = \"x\"").is_err(), "the protocol is needed");
}

/// headrotor/contec_data: what an oximeter answered, of which the first lines are 65 and 97 %.
#[test]
fn a_published_recording_of_firmware_7_is_read() {
    let mut bench = bench(Protocol::V7);
    assert_eq!(bench.written(), START);
    bench.hear(&[0x0c, 0x80, 0x06, 0x80, 0x80, 0x87, 0x11, 0x80, 0x81, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80]);
    bench.hear_in_pieces(&[0x01, 0xe0, 0x85, 0xb3, 0x96, 0xc1, 0xe1, 0xff, 0xff, 0x01, 0xe0, 0x85, 0xb0, 0x96], 4);
    bench.hear(&[0xc1, 0xe1, 0xff, 0xff]);
    assert_eq!(
        bench.told().0,
        [
            "boot 1000000 oximeter.status [1] state Text(\"measuring\")",
            "boot 1000000 spo2 [%] gauge 97",
            "boot 1000000 pulse [/min] gauge 65",
        ]
    );
    // E1: no finger, E2: no pulse found.
    for (high, word) in [(0xe1, "finger_out"), (0xe2, "searching")] {
        bench.pass(Duration::from_secs(1));
        let frame = [0x01, high, 0x85, 0xb0, 0x96, 0xff, 0xff, 0xff, 0xff];
        bench.hear(&frame);
        assert_eq!(bench.told().0, [""; 0], "said once, it may be damage");
        bench.hear(&frame);
        assert!(bench.told().0[0].ends_with(&format!("Text(\"{word}\")")));
    }
}

/// atbrask/CMS50Dplus: bits and their meaning, by its tests, which have every pulse and every saturation.
#[test]
fn frames_of_older_firmware_are_read() {
    let of = |frame: [u8; 5]| old(&frame).unwrap();
    for pulse in 1..255 {
        assert_eq!(of([0x80, 0, (pulse & 0x80) >> 1, pulse & 0x7f, 0]).pulse, Ok(pulse.into()));
    }
    for spo2 in 1..=100 {
        assert_eq!(of([0x80, 0, 0, 0, spo2]).spo2, Ok(spo2.into()));
    }
    assert_eq!(of([0x85, 10, 0x43, 0x25, 97]), Said { status: Status::Measuring, spo2: Ok(97), pulse: Ok(165) });
    assert_eq!(of([0x85, 10, 0x03, 0x41, 97]).pulse, Ok(65));
    assert_eq!(of([0x90, 0, 0, 0, 0]), Said { status: Status::FingerOut, spo2: Err(0), pulse: Err(0) });
    assert_eq!(of([0x80, 0, 0x10, 0, 0]).status, Status::SensorDisconnected);
    assert_eq!(of([0x80, 0, 0x20, 0, 127]), Said { status: Status::Searching, spo2: Err(127), pulse: Err(0) });
    assert_eq!(of([0x80, 0, 0x40, 0x7f, 101]), Said { status: Status::Measuring, spo2: Err(101), pulse: Err(255) });
}

#[test]
fn through_noise_and_damage_a_second_gives_one_reading_and_what_is_lost_is_told() {
    for (protocol, v7) in [(Protocol::Old, false), (Protocol::V7, true)] {
        let (mut bench, mut contec) = (bench(protocol), Contec::new(v7, WELL));
        contec.hear(&bench.written());
        let mut manners = Manners { damaged: 0, cut: 50, swallowed: 50, noisy: 50, ..Manners::bad(7) };
        for _ in 0..600 {
            bench.hear_in_pieces(&manners.spoil(contec.idle()), 3);
            bench.pass(Duration::from_micros(16_667));
        }
        let (lines, _) = bench.told();
        let spo2 = lines.iter().filter(|line| line.contains("spo2 [%] gauge")).count();
        assert!((9..=11).contains(&spo2), "{protocol:?}: {spo2} in 10 s");
        for value in ["spo2 [%] gauge 97", "pulse [/min] gauge 165"] {
            assert!(lines.iter().filter(|line| line.ends_with(value)).count() >= 8, "{protocol:?}: {value}");
        }
        assert!(lines.iter().any(|line| line.contains("belong to no frame")), "{protocol:?}: {lines:?}");
    }
}

#[test]
fn one_that_falls_silent_is_given_up_and_one_that_speaks_is_reminded() {
    let mut bench = bench(Protocol::V7);
    let mut contec = Contec::new(true, WELL);
    contec.hear(&bench.written());
    for _ in 0..4 {
        bench.hear(&contec.idle());
        assert_eq!(bench.wait(), Duration::from_secs(5));
        contec.hear(&bench.written());
        assert!(bench.hung_up().is_none());
    }
    assert_eq!(contec.reminders, 4);
    bench.told();
    bench.wait();
    assert!(bench.hung_up().unwrap().contains("10 s"));
    bench.reopen();
    assert!(bench.told().0[0].ends_with("Text(\"silent\")"));
    assert_eq!(bench.written(), START, "it is asked again");
    // Bytes that make no sense are no sign of life.
    let mut bench = super::tests::bench(Protocol::Old);
    (0..3).for_each(|_| bench.hear(&[0xff; 40]));
    assert_eq!(bench.wait(), Duration::from_secs(10));
    assert!(bench.hung_up().is_some());
}

#[tokio::test]
async fn an_oximeter_that_is_unplugged_and_comes_back_is_read_on() {
    let mut socket = Socket::new().unwrap();
    let toml = format!("name = \"o\"\ntype = \"contec_cms50\"\nprotocol = \"v7\"\nport = {:?}", socket.path);
    let mut running = Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 64);
    let mut lines = Vec::new();
    for spo2 in [96, 98] {
        let manners = Manners { noisy: 20, cut: 20, ..Manners::good() };
        socket.plug_in(Contec::new(true, Vitals { spo2, ..WELL }), manners).unwrap();
        while !lines.iter().any(|line: &String| line.ends_with(&format!("spo2 [%] gauge {spo2}"))) {
            lines.extend(told_all(&[running.next().await]));
        }
        socket.unplug();
    }
    assert!(lines.iter().any(|line| line.ends_with("Text(\"silent\")")), "{lines:?}");
    running.stop().await;
}
