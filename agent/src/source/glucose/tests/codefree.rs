//! CodeFree begins and takes its leave by itself: it is heard to the end, whatever of it is known.

use emulators::codefree::CodeFree;
use emulators::{Device, Manners, Test};

use super::emulated::{converse, expected, tests};
use super::*;

/// Records of the meter when it was read before, and now: of those that are known, eight are enough to know the rest.
const BEFORE: u16 = 20;
const NOW: u16 = 22;
/// What the meter takes its leave with.
const LEAVE: [u8; 7] = [0x53, 0x20, 0x04, 0x10, 0x70, 0x60, 0xaa];

/// A meter with two new records that has just begun, who listens to it, and what is new.
fn begun() -> (Bench, CodeFree, Vec<String>) {
    let mut bench = bench(Model::Codefree, None);
    let mut meter = CodeFree::new(tests(Model::Codefree, BEFORE));
    let (_, cursor) = converse(&mut bench, &mut meter, &mut Manners::good(), 4);
    let all: Vec<Test> = tests(Model::Codefree, NOW);
    let mut bench = super::bench(Model::Codefree, Some(&cursor));
    let mut meter = CodeFree::new(all.clone());
    let begins = (0..100).map(|_| meter.idle()).find(|said| !said.is_empty()).unwrap();
    bench.hear(&begins);
    (bench, meter, expected(&all[usize::from(BEFORE)..]))
}

/// It has so many questions, each of which is answered.
fn answer(bench: &mut Bench, meter: &mut CodeFree, questions: u16) {
    for question in 0..questions {
        assert_eq!(bench.told(), (vec![], None), "before question {question}: the meter has not taken its leave");
        let asked = bench.written();
        assert!(!asked.is_empty(), "question {question} is not asked: the meter waits for it");
        bench.hear(&meter.hear(&asked));
    }
}

#[test]
fn a_meter_that_begins_by_itself_is_thanked_for_each_record_until_it_takes_its_leave_also_for_known_ones() {
    let (mut bench, mut meter, new) = begun();
    // Once to begin, once for each record, and once to be let go.
    answer(&mut bench, &mut meter, 1 + NOW + 1);
    let (told, cursor) = bench.told();
    assert_eq!(told, new);
    assert!(cursor.is_some() && bench.written().is_empty());
}

#[test]
fn a_meter_that_takes_its_leave_before_its_last_record_is_told_and_read_whole_the_next_time() {
    let (mut bench, mut meter, new) = begun();
    answer(&mut bench, &mut meter, 15);
    bench.hear(&LEAVE);
    assert_eq!(bench.told(), (vec!["rejected answer: ends before its last record".to_owned()], None));
    let mut meter = CodeFree::new(tests(Model::Codefree, NOW));
    assert_eq!(converse(&mut bench, &mut meter, &mut Manners::good(), 4).0, new);
}
