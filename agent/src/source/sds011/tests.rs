use std::time::Duration;

use emulators::air::Air;
use emulators::{Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::testing::{NOON, Running, configured};
use crate::source::{Configured, SourceClock};

/// A published frame: 123.6 and 261.8 µg/m³.
const FRAME: [u8; 10] = [0xaa, 0xc0, 0xd4, 0x04, 0x3a, 0x0a, 0xa1, 0x60, 0x1d, 0xab];

fn bench(toml: &str) -> Bench {
    let settings: Settings = toml::from_str(&format!("port = \"/dev/x\"\n{toml}")).unwrap();
    settings.validate().unwrap();
    Bench::open(settings.codec(None).unwrap())
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/sds011/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    sample.source[0].validate().unwrap();
    let crate::source::Settings::Sds011(full) = &sample.source[0].settings else { panic!("sds011") };
    let short: Settings = toml::from_str(&format!("port = {:?}", full.port)).unwrap();
    assert_eq!(&short, full);
    assert_eq!(Settings { silence_s: 1, ..short.clone() }.validate().unwrap_err().field, "silence_s");
    assert_eq!(Settings { port: String::new(), ..short }.validate().unwrap_err().field, "port");
}

#[test]
fn the_published_frame_is_read_among_noise_damage_and_others_of_its_kind() {
    let mut bench = bench("");
    bench.hear_in_pieces(&FRAME, 3);
    let good = ["boot 1000000 pm2.5 [ug/m3] gauge 123.6", "boot 1000000 pm10 [ug/m3] gauge 261.8"];
    assert_eq!(bench.told().0, good);
    let mut damaged = FRAME;
    damaged[2] ^= 1;
    // The start of a frame, noise, a damaged one and two good ones.
    bench.hear(&[&FRAME[..4], &[0xaa, 1], &damaged[..], &FRAME[..], &FRAME[..]].concat());
    let told = bench.told().0;
    assert_eq!(told[..4], [good, good].concat());
    assert!(told.iter().any(|line| line == "rejected frame: has a wrong checksum"), "{told:?}");
    assert!(told.iter().any(|line| line.contains("6 bytes belong to no frame")), "{told:?}");
}

#[test]
fn one_in_a_while_is_taken_and_silence_is_noticed() {
    let mut bench = bench("every_s = 60");
    bench.hear(&[FRAME, FRAME, FRAME].concat());
    assert_eq!(bench.told().0.len(), 2);
    assert_eq!(bench.wait().as_secs(), 120);
    assert!(bench.hung_up().unwrap().contains("is it powered"));
    bench.reopen();
    bench.hear(&FRAME);
    assert_eq!(bench.told().0.len(), 2);
}

#[test]
fn a_frame_that_begins_within_a_damaged_one_is_read() {
    // What is left of one frame, and another whose number makes both look like one with a wrong checksum.
    let mut bench = bench("");
    bench.hear(&[0xaa, 0xc0, 0xaa, 0xc0, 1, 0, 2, 0, 5, 0xab, 0xb3, 0xab]);
    let told = bench.told().0;
    assert!(told.iter().any(|line| line.ends_with("gauge 0.1")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("wrong checksum")), "{told:?}");
}

#[tokio::test]
async fn a_sensor_that_is_unplugged_in_mid_frame_is_read_on() {
    let mut socket = Socket::new().unwrap();
    let toml = format!("name = \"dust\"\ntype = \"sds011\"\nport = {:?}", socket.path);
    let mut running = Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 4);
    // A sensor that pushes does not wait to be read: what lies in its cable when it is unplugged has gone.
    let mut measured = Vec::new();
    for (first, unplug_after) in [(0_u16, Some(45)), (10, None)] {
        let all: Vec<(u16, u16)> = (first..first + 10).map(|number| (number, 100 + number)).collect();
        socket.plug_in(Air::sds011(&all), Manners { unplug_after, piece_bytes: 7, ..Manners::good() }).unwrap();
        let last = if unplug_after.is_some() { 0 } else { first + 9 };
        while !measured.iter().any(|(fine, _)| *fine >= last) {
            let wait = Duration::from_secs(if unplug_after.is_some() { 2 } else { 30 });
            let Ok(intake) = tokio::time::timeout(wait, running.next()).await else { break };
            let values = intake.samples.chunks(2).map(|pair| (tenths_of(&pair[0]), tenths_of(&pair[1])));
            measured.extend(values);
        }
    }
    assert!(measured.is_sorted() && measured.windows(2).all(|pair| pair[0] != pair[1]), "{measured:?}");
    assert!(measured.iter().all(|(fine, coarse)| *coarse == fine + 100 && !(4..10).contains(fine)), "{measured:?}");
    running.stop().await;
}

fn tenths_of(sample: &crate::source::Sample) -> u16 {
    let proto::Value::Number(number) = sample.reading.value else { panic!("a number") };
    format!("{:.0}", number * 10.0).parse().unwrap()
}
