use std::time::Duration;

use emulators::dsmr::Dsmr;
use emulators::{Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::testing::{NOON, Running, assert_golden, configured, told};
use crate::source::{Configured, SourceClock};

fn settings(version: u8) -> Settings {
    toml::from_str(&format!("port = \"/dev/x\"\nversion = {version}")).unwrap()
}

fn bench(version: u8, cursor: Option<&[u8]>) -> Bench {
    Bench::open(settings(version).codec(cursor).unwrap())
}

fn published(name: &str) -> Vec<u8> {
    std::fs::read(format!("src/source/dsmr/testdata/{name}.txt")).unwrap()
}

/// A telegram with its sum, from the published values or from others in their place.
fn summed(name: &str, change: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(published(name)).unwrap();
    assert!(text.contains(change), "{change}");
    let text = text.replacen(change, to, 1);
    let body = &text[..=text.find('!').unwrap()];
    format!("{body}{:X}\r\n", emulators::modbus::crc(0, body.as_bytes())).into_bytes()
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/dsmr/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    sample.source[0].validate().unwrap();
    let crate::source::Settings::Dsmr(full) = &sample.source[0].settings else { panic!("dsmr") };
    assert_eq!(&Settings { port: full.port.clone(), ..settings(5) }, full);
    assert!(sample.source[0].settings.resumes());
}

#[test]
fn settings_that_cannot_be_are_named() {
    let field = |change: fn(&mut Settings)| {
        let mut settings = settings(5);
        change(&mut settings);
        settings.validate().unwrap_err().field
    };
    assert_eq!(field(|settings| settings.port = "tcp://x".into()), "port");
    assert_eq!(field(|settings| settings.version = 6), "version");
    assert_eq!(field(|settings| settings.time_zone = "Mars/Base".into()), "time_zone");
    assert_eq!(field(|settings| settings.every_s = 100_000), "every_s");
    assert_eq!(field(|settings| settings.silence_s = 3), "silence_s");
    let old = Line { baud: 9_600, data_bits: 7, parity: Parity::Even, stop_bits: 1 };
    assert_eq!(
        [2, 3, 4, 5].map(|version| settings(version).link().line),
        [old, old, Line::plain(115_200), Line::plain(115_200)]
    );
}

#[test]
fn published_telegrams_become_what_they_must() {
    for (name, version) in [("v2_2", 2), ("v3", 3), ("v4_2", 4), ("v5", 5), ("t210", 5)] {
        let mut whole = bench(version, None);
        whole.hear(&published(name));
        let (lines, _) = whole.told();
        assert_golden(&format!("dsmr/testdata/{name}.expected"), &lines);
        let mut pieces = bench(version, None);
        pieces.hear_in_pieces(&published(name), 7);
        assert_eq!(pieces.told().0, lines, "{name} in pieces");
    }
}

#[test]
fn gas_is_taken_once_and_a_restart_does_not_take_it_again() {
    let gas = |lines: &[String]| lines.iter().filter(|line| line.contains(" gas.1 ")).count();
    let mut first = bench(5, None);
    first.hear(&published("v5"));
    let (lines, cursor) = first.told();
    assert_eq!(gas(&lines), 1);
    first.hear(&published("v5"));
    let (lines, none) = first.told();
    assert_eq!((gas(&lines), none), (0, None));
    let mut again = bench(5, cursor.as_deref());
    again.hear(&published("v5"));
    assert_eq!(gas(&again.told().0), 0);
    again.hear(&summed("v5", "170102161005W", "170102161505W"));
    assert_eq!(gas(&again.told().0), 1);
    for bad in [&b"1"[..], b"x@1", b"1@x", b"\xff", b"300@1"] {
        assert!(settings(5).codec(Some(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn states_and_messages_are_said_when_they_change() {
    let named = |bench: &mut Bench, telegram: &[u8], name: &str| {
        bench.hear(telegram);
        let lines = bench.told().0.into_iter().filter(|line| line.contains(name));
        lines.map(|line| line.rsplit(' ').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut bench = bench(5, None);
    assert_eq!(named(&mut bench, &published("v5"), " tariff "), ["Text(\"0002\")"]);
    assert_eq!(named(&mut bench, &published("v5"), " tariff "), Vec::<String>::new());
    assert_eq!(named(&mut bench, &summed("v5", "(0002)", "(0001)"), " tariff "), ["Text(\"0001\")"]);
    assert_eq!(named(&mut bench, &summed("v5", "96.13.0()", "96.13.0(48616C6C6F)"), " message "), ["Text(\"Hallo\")"]);
    assert_eq!(named(&mut bench, &published("v5"), " message "), ["Text(\"\")"]);
}

#[test]
fn what_was_said_before_a_restart_is_said_again_only_when_it_changes() {
    let said_once = [" tariff ", " breaker ", " power_failures", " voltage_s", " message"];
    let states = |lines: &[String]| {
        let is_one = |line: &&String| said_once.iter().any(|name| line.contains(name));
        lines.iter().filter(is_one).cloned().collect::<Vec<_>>()
    };
    let mut bench = bench(5, None);
    bench.hear(&summed("v5", "96.13.0()", "96.13.0(48616C6C6F)"));
    let (lines, cursor) = bench.told();
    assert!(states(&lines).len() > 5, "{lines:?}");
    let text = String::from_utf8(cursor.unwrap()).unwrap();
    assert!(text.contains("tariff=") && !text.contains("Hallo") && !text.contains("48616C6C6F"), "{text}");
    let mut again = super::tests::bench(5, Some(text.as_bytes()));
    again.hear(&summed("v5", "96.13.0()", "96.13.0(48616C6C6F)"));
    assert_eq!(states(&again.told().0), [] as [String; 0]);
    // A message that is taken back after the restart, and a tariff that changes.
    again.hear(&summed("v5", "(0002)", "(0001)"));
    let (lines, cursor) = again.told();
    assert_eq!(states(&lines).len(), 2, "{lines:?}");
    assert!(cursor.is_some(), "and that is known after the next");
    // A cursor of before, which knew only of channels; and one with a series of another version.
    for cursor in ["1@1483369805000000", "odd_one=ff 1@1483369805000000"] {
        let mut old = super::tests::bench(5, Some(cursor.as_bytes()));
        old.hear(&published("v5"));
        assert!(states(&old.told().0).len() > 5);
    }
    for bad in ["tariff=", "tariff=xyz", "tariff"] {
        assert!(settings(5).codec(Some(bad.as_bytes())).is_err(), "{bad}");
    }
}

#[test]
fn what_is_damaged_is_one_reject_and_the_next_telegram_is_read() {
    let good = published("v5");
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    let no_sum: Vec<u8> = good[..good.len() - 6].iter().chain(b"\r\n").copied().collect();
    let long = [b"/".to_vec(), vec![b'x'; 9_000]].concat();
    for (bad, problem) in [
        (flipped, "has a wrong checksum"),
        (no_sum, "has no checksum"),
        (good[..700].to_vec(), "was cut off"),
        (good[..good.len() - 2].iter().chain(b"0000000000\r\n").copied().collect(), "no end of line"),
        (long, "is longer than any telegram"),
        (b"noise \xff".to_vec(), "7 bytes belong to no frame"),
    ] {
        let mut bench = bench(5, None);
        bench.hear(&bad);
        bench.hear(&good);
        let lines = bench.told().0;
        let rejects: Vec<_> = lines.iter().filter(|line| line.starts_with("rejected")).collect();
        assert!(rejects[0].contains(problem), "{problem}: {rejects:?}");
        assert!(lines.iter().any(|line| line.contains("energy.active.import.t1 [kW.h] counter 4.426")), "{problem}");
    }
}

#[test]
fn a_checksum_may_lack_zeros_and_an_object_that_cannot_be_read_costs_no_other() {
    // Some value makes the sum begin with a zero.
    let short = (0..200).map(|watts| summed("v5", "00.244*kW", &format!("00.{watts:03}*kW")));
    let short =
        short.into_iter().find(|telegram| telegram.ends_with(b"\r\n") && telegram[telegram.len() - 6] == b'!').unwrap();
    let mut bench = bench(5, None);
    bench.hear(&short);
    assert!(bench.told().0.iter().all(|line| !line.starts_with("rejected")));
    for (change, to, problem) in [
        ("0230.0*V", "02E0.0*V", "object 1-0:32.7.0 is no decimal number"),
        ("0230.0*V", "0230.0*Volt", "object 1-0:32.7.0 has a unit that is not known"),
        ("0230.0*V", "0230.0", "object 1-0:32.7.0 has no unit"),
        ("96.13.0()", "96.13.0(4861G)", "object 0-0:96.13.0 is no text in hexadecimal"),
        ("(170102161005W)", "(171302161005W)", "object 0-1:24.2.1's time is no time"),
        ("(170102192002W)", "(170102192062W)", "it is stamped as it arrives"),
    ] {
        let mut bench = super::tests::bench(5, None);
        bench.hear(&summed("v5", change, to));
        let lines = bench.told().0;
        let rejects: Vec<_> = lines.iter().filter(|line| line.starts_with("rejected")).collect();
        assert!(rejects.len() == 1 && rejects[0].contains(problem), "{rejects:?}");
        assert!(lines.len() > 25, "{lines:?}");
    }
}

#[test]
fn a_silent_port_and_one_with_the_wrong_rate_are_opened_anew() {
    let mut bench = bench(5, None);
    for _ in 0..3 {
        bench.hear(&[0x9e; 400]);
    }
    assert!(bench.told().0[0].contains("1200 bytes belong to no frame"));
    assert_eq!(bench.wait(), Duration::from_secs(60));
    assert!(bench.hung_up().unwrap().contains("pin 2"));
}

#[tokio::test]
async fn a_meter_with_bad_manners_loses_only_what_was_damaged_and_doubles_nothing() {
    const COUNT: u32 = 300;
    let mut socket = Socket::new().unwrap();
    let toml = format!("name = \"house\"\ntype = \"dsmr\"\nport = {:?}", socket.path);
    let mut running = Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 4);
    let manners = Manners { damaged: 100, cut: 100, noisy: 100, swallowed: 0, piece_bytes: 61, ..Manners::bad(3) };
    socket.plug_in(Dsmr::new(COUNT), manners).unwrap();
    let (mut energy, mut gas, mut rejects) = (Vec::new(), Vec::new(), 0);
    // The last telegrams may be among the damaged.
    while energy.last().is_none_or(|energy| *energy < f64::from(4_000 + COUNT - 20) / 1_000.0) {
        let intake = running.next().await;
        rejects += intake.rejects.len();
        for sample in &intake.samples {
            let line = told(sample);
            let proto::Value::Number(number) = sample.reading.value else { panic!("{line}") };
            if line.contains(" gas.1 ") { gas.push(sample.reading.time) } else { energy.push(number) }
        }
        let has_gas = intake.samples.iter().any(|sample| told(sample).contains(" gas.1 "));
        assert!(!has_gas || intake.cursor.is_some(), "its time is in the cursor of the same commit");
    }
    assert!(energy.len() > 200 && rejects >= 10, "{} of {COUNT}, {rejects} rejects", energy.len());
    assert!(energy.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    assert!(gas.len() == 3 && gas.windows(2).all(|pair| pair[0] < pair[1]), "{gas:?}");
    running.stop().await;
}
