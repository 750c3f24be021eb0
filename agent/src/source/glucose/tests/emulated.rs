//! Every protocol against its emulator, which knows nothing of it.

use emulators::codefree::CodeFree;
use emulators::contour::Contour;
use emulators::freestyle::Freestyle;
use emulators::lifescan::LifeScan;
use emulators::taidoc::TaiDoc;
use emulators::ultra2::Ultra2;
use emulators::{Device as Emulator, Manners, Test};

use super::*;

/// A meter of each model with these tests.
fn meter(model: Model, tests: Vec<Test>) -> Box<dyn Emulator> {
    match model {
        Model::FreestyleLite => Box::new(Freestyle::lite("DBMN123-A4567", tests)),
        Model::FreestyleOptium => Box::new(Freestyle::optium("XCGM123-A4567", tests)),
        Model::OnetouchUltraMini => Box::new(LifeScan::ultra_mini("C176SA5C9", tests)),
        Model::OnetouchVerioIq => Box::new(LifeScan::verio_iq("YZAB1234", tests)),
        Model::OnetouchUltra2 => Box::new(Ultra2::new("C123ABC4Y", tests)),
        Model::Contour => Box::new(Contour::new("7390-2336773", tests)),
        Model::Taidoc => Box::new(TaiDoc::new(tests)),
        Model::Codefree => Box::new(CodeFree::new(tests)),
    }
}

pub(super) const ALL: [Model; 8] = [
    Model::FreestyleLite,
    Model::FreestyleOptium,
    Model::OnetouchUltraMini,
    Model::OnetouchVerioIq,
    Model::OnetouchUltra2,
    Model::Contour,
    Model::Taidoc,
    Model::Codefree,
];

/// The two talk until neither has anything more to say, time passing as often as is needed, and `most` at most.
pub(super) fn converse(
    bench: &mut Bench,
    meter: &mut dyn Emulator,
    manners: &mut Manners,
    most: usize,
) -> (Vec<String>, Vec<u8>) {
    let (mut lines, mut last) = (Vec::new(), Vec::new());
    for _ in 0..most {
        // A meter that is switched on again and again begins once each time: it would never be silent otherwise.
        let mut idles = 0..50;
        loop {
            let asked = bench.written();
            let answer = if asked.is_empty() { Vec::new() } else { manners.spoil(meter.hear(&asked)) };
            let answer = if answer.is_empty() && asked.is_empty() {
                let begins = idles.by_ref().map(|_| meter.idle()).find(|said| !said.is_empty());
                idles = 0..0;
                begins.unwrap_or_default()
            } else {
                answer
            };
            if answer.is_empty() {
                break;
            }
            bench.hear_in_pieces(&answer, manners.piece_bytes.max(1));
        }
        let (told, cursor) = bench.told();
        lines.extend(told);
        last = cursor.unwrap_or(last);
        if bench.hung_up().is_some() {
            bench.reopen();
        } else if bench.is_waiting() {
            bench.wait();
        }
    }
    (lines, last)
}

/// What tests in order must become, in Berlin in winter.
pub(super) fn expected(tests: &[Test]) -> Vec<String> {
    let mut lines = Vec::new();
    for test in tests {
        let micros = (i64::from(test.seconds_since(1970)) - 3_600) * 1_000_000;
        let value = if test.control { format!("control({})", test.mg_dl) } else { test.mg_dl.to_string() };
        lines.push(format!("source {micros} glucose [mg/dL] gauge {value} offset 60"));
        match test.meal {
            1 => lines.push(format!("source {micros} glucose.meal [1] state Text(\"before\") offset 60")),
            2 => lines.push(format!("source {micros} glucose.meal [1] state Text(\"after\") offset 60")),
            _ => {}
        }
    }
    lines
}

/// What a model can say of a test.
fn sayable(model: Model, test: Test) -> Test {
    let has_meals = !matches!(model, Model::FreestyleLite | Model::FreestyleOptium | Model::OnetouchUltraMini);
    let has_control = !matches!(model, Model::OnetouchUltraMini | Model::Codefree);
    let control = has_control && test.control;
    Test { meal: if has_meals && !control { test.meal } else { 0 }, control, ..test }
}

pub(super) fn tests(model: Model, count: u16) -> Vec<Test> {
    let test =
        |number: u16| Test { meal: (number % 3).to_le_bytes()[0], control: number % 7 == 3, ..Test::number(number) };
    (0..count).map(|number| sayable(model, test(number))).collect()
}

#[test]
fn every_meter_is_read_whole_and_later_only_what_is_new() {
    for model in ALL {
        let (first, all) = (tests(model, 60), tests(model, 64));
        let mut bench = super::bench(model, None);
        let (told, cursor) = converse(&mut bench, &mut *meter(model, first.clone()), &mut Manners::good(), 4);
        assert_eq!(told, expected(&first), "{model:?}");
        // After a restart, from the cursor, with four tests more.
        let mut bench = super::bench(model, Some(&cursor));
        let (told, _) = converse(&mut bench, &mut *meter(model, all.clone()), &mut Manners::good(), 4);
        assert_eq!(told, expected(&all[60..]), "{model:?}, the new ones");
    }
}

#[test]
fn every_meter_is_read_whole_through_noise_losses_and_damage() {
    for (model, seed) in ALL.into_iter().zip(1..) {
        // CodeFree cannot be asked again for a record, only for all: few of them come through at once.
        let all = tests(model, if model == Model::Codefree { 8 } else { 40 });
        let mut bench = super::bench(model, None);
        let mut manners = Manners { piece_bytes: 5, ..Manners::bad(seed) };
        // FreeStyle and Ultra2 answer once: more of their answers must go wrong.
        if matches!(model, Model::FreestyleLite | Model::FreestyleOptium | Model::OnetouchUltra2) {
            manners = Manners { damaged: 300, cut: 200, swallowed: 200, ..manners };
        }
        let (told, _) = converse(&mut bench, &mut *meter(model, all.clone()), &mut manners, 400);
        let readings: Vec<String> = told.iter().filter(|line| !line.starts_with("rejected")).cloned().collect();
        assert_eq!(readings, expected(&all), "{model:?}");
    }
}

/// A meter before one of whose answers a byte is heard that it did not send.
struct Stray {
    meter: Box<dyn Emulator>,
    byte: u8,
    /// Answers until then.
    left: usize,
}

impl Emulator for Stray {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = self.meter.hear(bytes);
        if !answer.is_empty() {
            self.left = self.left.wrapping_sub(1);
            if self.left == 0 {
                answer.insert(0, self.byte);
            }
        }
        answer
    }

    fn idle(&mut self) -> Vec<u8> {
        self.meter.idle()
    }
}

/// A part of a memory that is taken for the whole gives known records again, or leaves new ones out for ever.
#[test]
fn a_stray_byte_at_any_moment_neither_doubles_nor_loses_a_record_of_any_meter() {
    for model in ALL {
        let (first, all) = (tests(model, 8), tests(model, 10));
        let mut bench = super::bench(model, None);
        let (_, cursor) = converse(&mut bench, &mut *meter(model, first), &mut Manners::good(), 3);
        for (byte, at) in [0x04, 0x05, 0x06, 0x15].into_iter().flat_map(|byte| (1..=14).map(move |at| (byte, at))) {
            let mut bench = super::bench(model, Some(&cursor));
            let mut stray = Stray { meter: meter(model, all.clone()), byte, left: at };
            let (told, _) = converse(&mut bench, &mut stray, &mut Manners::good(), 8);
            let readings: Vec<String> = told.into_iter().filter(|line| !line.starts_with("rejected")).collect();
            assert_eq!(readings, expected(&all[8..]), "{model:?}, {byte:02x} before answer {at}");
        }
    }
}

#[test]
fn a_meter_that_counts_from_the_oldest_is_read_in_order_too() {
    for verio in [false, true] {
        let model = if verio { Model::OnetouchVerioIq } else { Model::OnetouchUltraMini };
        let meter = |count: u16| {
            let tests = (0..count).map(Test::number).collect();
            let new = if verio { LifeScan::verio_iq("Y", tests) } else { LifeScan::ultra_mini("C", tests) };
            LifeScan { ascending: true, ..new }
        };
        let all: Vec<Test> = (0..25).map(Test::number).collect();
        let mut bench = super::bench(model, None);
        let (told, cursor) = converse(&mut bench, &mut meter(20), &mut Manners::good(), 3);
        assert_eq!(told, expected(&all[..20]));
        let mut bench = super::bench(model, Some(&cursor));
        assert_eq!(converse(&mut bench, &mut meter(25), &mut Manners::good(), 3).0, expected(&all[20..]));
    }
}

#[test]
fn the_limits_of_a_meter_are_values_and_what_is_beyond_is_a_state() {
    let shown = [(19, "low(20)"), (20, "20"), (600, "600"), (601, "high(600)")];
    for model in [Model::OnetouchUltraMini, Model::OnetouchVerioIq, Model::Taidoc] {
        let tests = shown.iter().zip(0..).map(|((mg_dl, _), number)| Test { mg_dl: *mg_dl, ..Test::number(number) });
        let mut bench = super::bench(model, None);
        let (told, _) = converse(&mut bench, &mut *meter(model, tests.collect()), &mut Manners::good(), 4);
        let values: Vec<&str> = told.iter().map(|line| line.rsplit(' ').nth(2).unwrap()).collect();
        assert_eq!(values, shown.map(|(_, shown)| shown), "{model:?}: {told:?}");
    }
}

#[test]
fn mmol_is_kept_as_it_was_shown() {
    let test = |mg_dl: u16, control: bool| Test { mg_dl, control, ..Test::number(control.into()) };
    let meter = Contour { mmol: true, ..Contour::new("7390-1", vec![test(55, false), test(72, true)]) };
    let mut bench = super::bench(Model::Contour, None);
    let (told, _) = converse(&mut bench, &mut { meter }, &mut Manners::good(), 2);
    assert_eq!(
        told,
        [
            "source 1767222000000000 glucose [mmol/L] gauge 5.5 offset 60",
            "source 1767222060000000 glucose [mmol/L] gauge control(72) offset 60"
        ]
    );
}

#[test]
fn a_contour_frame_that_is_missing_is_not_passed_over() {
    let frame = |text: &str| {
        let sum = text.bytes().fold(0_u8, u8::wrapping_add);
        format!("\x02{text}{sum:02X}\r\n").into_bytes()
    };
    let mut bench = super::bench(Model::Contour, None);
    bench.hear(&[0x05]);
    bench.hear(&frame("1H|\\^&||7w3LBL|Bayer7390^01.24^7390-2336773^7403-|A=1|2\r\x17"));
    bench.hear(&frame("3R|2|^^^Glucose|93|mg/dL^P||A/M0/T1||201505261150\r\x17"));
    assert_eq!(bench.told().0, ["rejected answer: lacks a frame"]);
}

#[test]
fn a_published_contour_frame_is_taken_and_acknowledged() {
    // glucometerutils:test/test_contourusb.py has the header, tidepool-org/uploader the record, there as frame 5 with the
    // sum 74; here it follows the header as frame 2, which makes 71.
    let mut bench = super::bench(Model::Contour, None);
    assert_eq!(bench.written(), [0x04]);
    bench.hear(&[0x05]);
    assert_eq!(bench.written(), [0x06]);
    bench.hear(
        b"\x021H|\\^&||7w3LBL|Bayer7390^01.24\\01.04\\09.02.20^7390-2336773^7403-|A=1^C=63^G=1^I=0200^R=0^S=1^U=0\
        ^V=10600^X=070070070070180130150250^Y=360126090050099050300089^Z=1|1714||||||1|201909221304\r\x17D7\r\n",
    );
    assert_eq!(bench.written(), [0x06]);
    bench.hear(b"\x022R|3|^^^Glucose|93|mg/dL^P||A/M0/T1||201505261150\r\x1772\r\n");
    assert_eq!(bench.written(), [0x15], "a wrong sum is asked for again");
    let told = bench.told().0;
    assert!(told.len() == 1 && told[0].contains("56 bytes belong to no frame"), "and it is told: {told:?}");
    bench.hear(b"\x022R|3|^^^Glucose|93|mg/dL^P||A/M0/T1||201505261150\r\x1771\r\n");
    assert_eq!(bench.written(), [0x06]);
    let last = b"3L|1||N\r\x03";
    let sum = last.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bench.hear(&[b"\x02", &last[..], format!("{sum:02X}\r\n").as_bytes(), &[0x04]].concat());
    assert_eq!(
        bench.told().0,
        [
            "source 1432633800000000 glucose [mg/dL] gauge 93 offset 120",
            "source 1432633800000000 glucose.meal [1] state Text(\"after\") offset 120",
        ]
    );
}
