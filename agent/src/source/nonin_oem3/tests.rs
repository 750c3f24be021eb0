//! An emulated oximeter, which shares no code with the codec.

use std::time::Duration;

use emulators::oximeters::{Nonin, Vitals};
use emulators::{Device as Emulator, Manners, Socket};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::settings::Settings as Any;
use crate::source::testing::{NOON, Running, configured, told_all};
use crate::source::{Configured, SourceClock};

const WELL: Vitals = Vitals { spo2: 97, pulse: 165, finger: true };

fn bench(format: u8) -> Bench {
    let settings = Settings { port: "/dev/null".into(), format };
    settings.validate().unwrap();
    Bench::open(settings.codec(None).unwrap())
}

/// So many frames, as fast as the oximeter sends them.
fn hear(bench: &mut Bench, nonin: &mut Nonin, frames: usize, manners: &mut Manners) {
    for _ in 0..frames {
        bench.hear_in_pieces(&manners.spoil(nonin.idle()), 3);
        bench.pass(Duration::from_micros(13_333));
    }
}

#[test]
fn the_sample_is_valid_and_settings_that_cannot_be_are_named() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/nonin_oem3/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    for source in &sample.source {
        source.validate().unwrap();
        let Any::NoninOem3(settings) = &source.settings else { panic!("an oximeter") };
        assert_eq!(settings.format, super::format(), "the sample shows the default");
    }
    let field = |toml: &str| toml::from_str::<Settings>(toml).unwrap().validate().unwrap_err().field;
    assert_eq!(field("port = \"\""), "port");
    assert_eq!(field("port = \"/dev/x\"\nformat = 8"), "format");
}

#[test]
fn a_packet_of_either_format_is_read_wherever_it_is_met() {
    for (format, skipped) in [(2, 0), (2, 7), (7, 0), (7, 20)] {
        let (mut bench, mut nonin) = (bench(format), Nonin::new(format, WELL));
        (0..skipped).for_each(|_| drop(nonin.idle()));
        hear(&mut bench, &mut nonin, 60, &mut Manners::good());
        let (lines, _) = bench.told();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].ends_with("oximeter.status [1] state Text(\"measuring\")"));
        assert!(lines[1].ends_with("spo2 [%] gauge 97") && lines[2].ends_with("pulse [/min] gauge 165"), "{lines:?}");
    }
}

/// pez-globo/pufferfish-software, its tests of the OEM III: a packet of format 2 with a pulse of 72, a saturation of 97 % and
/// revision 48, and what is wrong with a frame.
#[test]
fn a_published_packet_is_read_and_published_errors_are_none() {
    let frame = |status: u8, said: u8| {
        [0x01, status, 0x01, said, (0x02 + u16::from(status) + u16::from(said)).to_le_bytes()[0]]
    };
    let said = [0, 72, 97, 48, 0, 0, 0, 0, 97, 97, 97, 0, 0, 0, 72, 97, 97, 0, 0, 0, 72, 0, 72, 0, 0];
    let packet: Vec<u8> =
        said.iter().enumerate().flat_map(|(at, said)| frame(if at == 0 { 0x81 } else { 0x80 }, *said)).collect();
    assert_eq!(packet[..10], [0x01, 0x81, 0x01, 0x00, 0x83, 0x01, 0x80, 0x01, 0x48, 0xca], "as published");
    assert_eq!(packet[10..20], [0x01, 0x80, 0x01, 0x61, 0xe3, 0x01, 0x80, 0x01, 0x30, 0xb2], "as published");
    let expected = [
        "boot 1000000 oximeter.status [1] state Text(\"measuring\")",
        "boot 1000000 spo2 [%] gauge 97",
        "boot 1000000 pulse [/min] gauge 72",
    ];
    let mut bench = bench(2);
    bench.hear_in_pieces(&packet, 5);
    assert_eq!(bench.told().0, expected);
    // A wrong sum, a status without its top bit, and a packet whose last frames are missing.
    for (at, byte) in [(9, 0xcb), (6, 0x7f)] {
        let mut damaged = packet.clone();
        damaged[at] = byte;
        let mut bench = super::tests::bench(2);
        bench.hear(&damaged);
        let told = bench.told().0;
        assert!(!told.is_empty() && told.iter().all(|line| line.starts_with("rejected")), "{told:?}");
        bench.hear(&packet);
        assert!(bench.told().0.ends_with(&expected.map(str::to_owned)));
    }
    // Noise that makes a frame by chance, together with the beginning of the first one.
    let mut bench = super::tests::bench(2);
    bench.hear(&[&[0x01, 0x80, 0xff], &packet[..]].concat());
    let told = bench.told().0;
    assert!(expected.iter().all(|line| told.contains(&(*line).to_owned())), "{told:?}");
    let mut bench = super::tests::bench(2);
    bench.hear(&[&packet[..115], &packet[..]].concat());
    let told = bench.told().0;
    assert!(told.contains(&"rejected packet: broke off after 23 of 25 frames".to_owned()), "{told:?}");
}

#[test]
fn all_that_a_packet_can_say_is_told_apart() {
    assert_eq!(packet_says(0x80, [0x01, 0x25, 97]), Said { status: Status::Measuring, spo2: Ok(97), pulse: Ok(165) });
    let none = packet_says(0x80, [0x03, 0x7f, 127]);
    assert_eq!((none.spo2, none.pulse), (Err(127), Err(511)));
    assert_eq!(packet_says(0xc8, [3, 127, 127]).status, Status::SensorDisconnected);
    assert_eq!(packet_says(0x88, [3, 127, 127]).status, Status::FingerOut);
    assert_eq!(packet_says(0x90, [0, 60, 97]).status, Status::Searching);
    assert_eq!(packet_says(0xa0, [0, 60, 97]).status, Status::Measuring);
}

#[test]
fn a_finger_that_is_taken_out_is_a_state_and_no_number() {
    let (mut bench, mut nonin) = (bench(2), Nonin::new(2, WELL));
    hear(&mut bench, &mut nonin, 25, &mut Manners::good());
    bench.told();
    nonin.vitals.finger = false;
    hear(&mut bench, &mut nonin, 225, &mut Manners::good());
    let lines = bench.told().0;
    let ends = ["state Text(\"finger_out\")", "spo2 [%] gauge other(127)", "pulse [/min] gauge other(511)"];
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().zip(ends).all(|(line, end)| line.ends_with(end)), "{lines:?}");
}

#[test]
fn damage_costs_its_packet_and_never_gives_another_value() {
    for format in [2, 7] {
        let (mut bench, mut nonin) = (bench(format), Nonin::new(format, WELL));
        let mut manners = Manners { damaged: 10, cut: 10, swallowed: 0, noisy: 10, ..Manners::bad(3) };
        hear(&mut bench, &mut nonin, 75 * 60, &mut manners);
        let (lines, _) = bench.told();
        let (good, all) = ["gauge 97", "gauge"]
            .map(|end| lines.iter().filter(|line| line.contains("spo2 [%]") && line.contains(end)).count())
            .into();
        assert_eq!(good, all, "{lines:?}");
        assert!((20..=60).contains(&good), "format {format}: {good} in a minute");
        assert!(lines.iter().any(|line| line.contains("belong to no frame")), "{lines:?}");
        // A frame that is missing altogether is known by the next first one.
        let mut bench = super::tests::bench(format);
        let mut nonin = Nonin::new(format, WELL);
        hear(&mut bench, &mut nonin, 10, &mut Manners::good());
        nonin.idle();
        hear(&mut bench, &mut nonin, 20, &mut Manners::good());
        assert_eq!(bench.told().0, ["rejected packet: broke off after 24 of 25 frames"]);
    }
}

#[test]
fn no_damaged_byte_gives_another_value_not_even_where_the_next_packet_has_lost_its_beginning() {
    for (format, first, second) in [2, 7]
        .into_iter()
        .flat_map(|format| (0..125).flat_map(move |first| [None, Some(127)].map(|at| (format, first, at))))
    {
        let (mut bench, mut nonin) = (bench(format), Nonin::new(format, WELL));
        let mut bytes: Vec<u8> = (0..100).flat_map(|_| nonin.idle()).collect();
        [Some(first), second].into_iter().flatten().for_each(|at| bytes[at] ^= 1 << (at % 8));
        for packet in bytes.chunks(125) {
            bench.hear_in_pieces(packet, 7);
            bench.pass(Duration::from_secs(1));
        }
        let (lines, _) = bench.told();
        let values: Vec<&String> = lines.iter().filter(|line| line.contains(" gauge ")).collect();
        assert!(values.len() >= 2, "format {format}, byte {first}: {lines:?}");
        let is_right = |line: &&String| line.ends_with("gauge 97") || line.ends_with("gauge 165");
        assert!(values.iter().all(is_right), "format {format}, byte {first}: {lines:?}");
    }
}

#[test]
fn one_that_says_nothing_whole_is_given_up() {
    let (mut bench, mut nonin) = (bench(2), Nonin::new(2, WELL));
    hear(&mut bench, &mut nonin, 75, &mut Manners::good());
    bench.told();
    (0..100).for_each(|_| bench.hear(&[0x01, 0x80, 0x55]));
    assert!(bench.wait() <= Duration::from_secs(10));
    assert!(bench.hung_up().unwrap().contains("10 s"));
    bench.reopen();
    assert!(bench.told().0.iter().any(|line| line.ends_with("Text(\"silent\")")));
}

#[tokio::test]
async fn an_oximeter_that_is_unplugged_and_comes_back_is_read_on() {
    let mut socket = Socket::new().unwrap();
    let toml = format!("name = \"o\"\ntype = \"nonin_oem3\"\nformat = 7\nport = {:?}", socket.path);
    let mut running = Running::start(&configured(&toml), None, &SourceClock::invented(NOON), 64);
    let mut lines = Vec::new();
    for spo2 in [96, 98] {
        socket.plug_in(Nonin::new(7, Vitals { spo2, ..WELL }), Manners { noisy: 5, ..Manners::good() }).unwrap();
        while !lines.iter().any(|line: &String| line.ends_with(&format!("spo2 [%] gauge {spo2}"))) {
            lines.extend(told_all(&[running.next().await]));
        }
        socket.unplug();
    }
    assert!(lines.iter().any(|line| line.ends_with("Text(\"silent\")")), "{lines:?}");
    running.stop().await;
}
