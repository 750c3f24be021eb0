//! The session against an emulated receiver, which shares no code with it.

use emulators::dexcom::{Generation, Receiver};
use emulators::{Device as Emulator, Manners};

use super::*;
use crate::source::Configured;
use crate::source::device::testing::Bench;
use crate::source::settings::Settings as Any;

mod trouble;

fn bench(cursor: Option<&[u8]>) -> Bench {
    let settings = Settings { port: "/dev/null".into(), every_s: 60 };
    settings.validate().unwrap();
    Bench::open(settings.codec(cursor).unwrap())
}

/// What one conversation gives, at most so many answers long: readings and rejects, and the last cursor.
struct Given {
    lines: Vec<String>,
    cursor: Option<Vec<u8>>,
    answers: usize,
}

/// The two talk until the receiver is left alone, or `most` answers were given; time passes as is needed.
fn converse(bench: &mut Bench, receiver: &mut Receiver, manners: &mut Manners, most: usize) -> Given {
    let mut given = Given { lines: Vec::new(), cursor: None, answers: 0 };
    for _ in 0..2_000 {
        let asked = bench.written();
        if given.answers == most {
            break;
        }
        if !asked.is_empty() {
            given.answers += 1;
            bench.hear_in_pieces(&manners.spoil(receiver.hear(&asked)), manners.piece_bytes.max(100));
        }
        let (told, cursor) = bench.told();
        given.lines.extend(told);
        given.cursor = cursor.or(given.cursor);
        if bench.hung_up().is_some() {
            bench.reopen();
        } else if asked.is_empty() && bench.wait() >= Duration::from_secs(60) {
            break;
        }
    }
    given
}

/// All of a conversation without trouble.
fn read(receiver: &mut Receiver, cursor: Option<&[u8]>) -> Given {
    converse(&mut bench(cursor), receiver, &mut Manners::good(), usize::MAX)
}

fn without_clock(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| !line.contains("receiver.")).cloned().collect()
}

/// Readings alone, of glucose itself.
fn glucose(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| line.contains(" glucose [")).cloned().collect()
}

fn receiver(generation: Generation, count: u32) -> Receiver {
    let mut receiver = Receiver::new("sm40000000", generation);
    add(&mut receiver, 0..count);
    receiver
}

fn value_of(number: u32) -> u16 {
    u16::try_from(40 + number % 361).unwrap()
}

fn add(receiver: &mut Receiver, numbers: std::ops::Range<u32>) {
    for number in numbers {
        receiver.glucose(number, value_of(number), 4);
        receiver.sensor(number, 100_000 + number, 90_000, -70);
        if number % 10 == 0 {
            receiver.meter(number, 100);
        }
    }
}

/// What glucose of these numbers becomes.
fn expected(numbers: std::ops::Range<u32>) -> Vec<String> {
    let micros = |number: u32| (1_230_768_000 + 400_000_000 + 300 * i64::from(number)) * 1_000_000;
    let line = |number: u32| format!("source {} glucose [mg/dL] gauge {} offset 60", micros(number), value_of(number));
    numbers.map(line).collect()
}

#[test]
fn a_port_where_something_else_talks_is_given_up_and_what_it_says_is_told() {
    let mut bench = bench(None);
    let why = bench.chatter(b"$GPGSV,3,1,11*7x\r\n", 200).expect("it listens for ever");
    assert!(why.contains("is it a Dexcom receiver"), "{why}");
    assert!(!bench.told().0.is_empty(), "nothing is told");
}

#[test]
fn the_sample_is_valid_and_settings_that_cannot_be_are_named() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/dexcom_receiver/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    for source in &sample.source {
        source.validate().unwrap();
        assert!(source.settings.resumes());
        let Any::DexcomReceiver(settings) = &source.settings else { panic!("a receiver") };
        assert_eq!(settings.every_s, every_s(), "the sample shows the default");
    }
    let field = |toml: &str| toml::from_str::<Settings>(toml).unwrap().validate().unwrap_err().field;
    assert_eq!(field("port = \"\""), "port");
    assert_eq!(field("port = \"/dev/x\"\nevery_s = 5"), "every_s");
}

#[test]
fn all_kinds_of_records_are_read_of_either_generation() {
    for generation in [Generation::G4, Generation::G6] {
        let mut receiver = Receiver::new("sm40000000", generation);
        receiver.glucose(0, 118, 4);
        receiver.glucose(1, 5, 8);
        receiver.meter(2, 93);
        let session = if generation == Generation::G4 { vec![7] } else { [&[7][..], &[1; 10]].concat() };
        receiver.record(7, 3, &[&receiver.time_of(3).to_le_bytes()[..], &session].concat());
        let event = [&[1, 0][..], &(receiver.time_of(4) + 3_600).to_le_bytes(), &45_u32.to_le_bytes()].concat();
        receiver.record(11, 4, &event);
        let numbers = [766.895_601_715_918, 25_717.823_770_043_09, 1.0_f64].map(f64::to_le_bytes).concat();
        receiver.record(5, 5, &[numbers, vec![0; 215]].concat());
        receiver.sensor(6, 113_680, 111_232, -68);
        let at = |number: i64| 1_630_768_000_000_000 + number * 300_000_000;
        let mut lines = without_clock(&read(&mut receiver, None).lines);
        lines.iter_mut().for_each(|line| *line = line.replace(" offset 60", ""));
        assert_eq!(
            lines,
            [
                format!("source {} glucose [mg/dL] gauge 118", at(0)),
                format!("source {} glucose.direction [1] state Text(\"Flat\")", at(0)),
                format!("source {} glucose [mg/dL] gauge sensor_error(5)", at(1)),
                format!("source {} glucose.direction [1] state Text(\"NOT COMPUTABLE\")", at(1)),
                format!("source {} glucose.meter [mg/dL] gauge 93", at(2)),
                format!("source {} sensor.session [1] state Text(\"started\")", at(3)),
                format!(
                    "source {} treatment [1] event Json({:?})",
                    at(4),
                    "{\"eventType\":\"Carb Correction\",\"carbs\":45}"
                ),
                format!(
                    "source {} glucose.calibration [1] event Json({:?})",
                    at(5),
                    "{\"slope\":766.895601715918,\"intercept\":25717.82377004309,\"scale\":1}"
                ),
                format!("source {} sensor.unfiltered [1] gauge 113680", at(6)),
                format!("source {} sensor.filtered [1] gauge 111232", at(6)),
                format!("source {} sensor.rssi [1] gauge -68", at(6)),
            ],
            "{generation:?}"
        );
    }
}

#[test]
fn later_only_what_is_new_is_read_wherever_pages_end() {
    for count in [1, 37, 38, 39, 75, 76, 77, 200] {
        for more in [0, 1, 38, 90] {
            let mut receiver = receiver(Generation::G4, count);
            let first = read(&mut receiver, None);
            assert_eq!(glucose(&first.lines), expected(0..count));
            add(&mut receiver, count..count + more);
            let given = receiver.given;
            let second = read(&mut receiver, first.cursor.as_deref());
            assert_eq!(glucose(&second.lines), expected(count..count + more), "{more} after {count}");
            let pages = receiver.given - given;
            assert!(count < 200 || more > 1 || pages <= 9, "{pages} pages of {}, to find what is new", receiver.given);
        }
    }
}

#[test]
fn a_conversation_that_is_cut_anywhere_loses_and_doubles_nothing() {
    let whole = read(&mut receiver(Generation::G6, 130), None);
    for first in 1..whole.answers {
        let mut receiver = receiver(Generation::G6, 130);
        let cut = converse(&mut bench(None), &mut receiver, &mut Manners::good(), first);
        let rest = read(&mut receiver, cut.cursor.as_deref());
        let mut lines = without_clock(&[cut.lines, rest.lines].concat());
        let mut all = without_clock(&whole.lines);
        lines.sort();
        all.sort();
        assert_eq!(lines, all, "cut after {first} of {} answers", whole.answers);
    }
}
