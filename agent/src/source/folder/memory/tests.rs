use super::*;
use proptest::prelude::*;

fn record(second: i64) -> Identity {
    Identity { second, hash: hash(&second.to_le_bytes()) }
}

fn file(name: u64) -> File {
    File { name, ..File::default() }
}

fn new(memory: &mut Memory, seconds: impl Iterator<Item = i64>) -> usize {
    memory.begin_file();
    seconds.filter(|second| memory.take(record(*second)) == Record::New).count()
}

const MAX: i64 = 5_000;

#[test]
fn exports_that_overlap_give_each_record_once_however_long_the_first_is_and_in_whatever_order() {
    assert_eq!(usize::try_from(MAX), Ok(RECORDS_MAX));
    for backward in [false, true] {
        let mut memory = Memory::default();
        let rows = |from: i64, until: i64| {
            let rows: Vec<i64> = (from..until).collect();
            if backward { rows.into_iter().rev().collect::<Vec<_>>() } else { rows }.into_iter()
        };
        assert_eq!(new(&mut memory, rows(0, 3 * MAX)), 3 * RECORDS_MAX, "the first is all new");
        let mut memory = Memory::decode(&memory.encode()).unwrap();
        assert_eq!(new(&mut memory, rows(0, 3 * MAX + 50)), 50);
        assert_eq!(new(&mut memory, rows(2 * MAX + 60, 3 * MAX + 60)), 10);
        assert_eq!(new(&mut memory, rows(0, 3 * MAX + 60)), 0);
    }
}

#[test]
fn what_is_added_late_is_new_among_the_newest_and_old_beyond_them() {
    let mut memory = Memory::default();
    assert_eq!(new(&mut memory, (0..2 * MAX).map(|row| row * 2)), 2 * RECORDS_MAX);
    assert_eq!(new(&mut memory, [4 * MAX - 11, MAX + 1].into_iter()), 1);
    assert_eq!(memory.take(record(MAX + 1)), Record::Old);
}

#[test]
fn two_records_of_one_second_are_told_apart() {
    let mut memory = Memory::default();
    let [one, other] = ["EGV 118", "EGV 119"].map(|text| Identity { second: 7, hash: hash(text.as_bytes()) });
    assert_eq!([memory.take(one), memory.take(other), memory.take(one)], [Record::New, Record::New, Record::Known]);
}

#[test]
fn of_too_many_files_those_that_are_gone_are_forgotten_and_no_other() {
    let mut memory = Memory::default();
    assert!((0..FILES_MAX as u64).all(|name| memory.keep(file(name))));
    assert!(!memory.keep(file(9_999)));
    assert!(memory.keep(file(3)), "one that is known needs no room");
    assert!(memory.keep(File { gone: true, ..file(4) }) && memory.keep(file(9_999)));
    assert!(memory.of(4).is_none() && memory.of(3).is_some());
}

#[test]
fn a_damaged_cursor_is_an_error() {
    let mut memory = Memory::default();
    memory.keep(File { offset: 17, ..file(1) });
    memory.take(record(5));
    memory.take(record(6));
    let bytes = memory.encode();
    assert_eq!(Memory::decode(&bytes).unwrap(), memory);
    assert!((0..bytes.len()).all(|cut| Memory::decode(&bytes[..cut]).ok() != Some(memory.clone())));
    let mut swapped = bytes.clone();
    swapped[bytes.len() - 16..].rotate_left(8);
    assert!(Memory::decode(&swapped).is_err());
    assert!(Memory::decode(&[&[2], &bytes[1..]].concat()).is_err());
    let many = [&bytes[..1], &u64::MAX.to_le_bytes(), &bytes[9..]].concat();
    assert!(Memory::decode(&many).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(memory) = Memory::decode(&bytes) {
            prop_assert_eq!(Memory::decode(&memory.encode()).ok(), Some(memory));
        }
    }
}
