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

const DAY: i64 = 86_400;

#[test]
fn what_is_older_is_new_if_its_day_was_never_read_and_is_known_from_then_on() {
    let mut memory = Memory::default();
    // Half a year, of which the newest records are known one by one; then a time before it, and one in a hole of it.
    let newer = (100 * DAY..200 * DAY).step_by(1_200).filter(|second| second / DAY != 150);
    let count = newer.clone().count();
    assert!(count > RECORDS_MAX + 1_000, "{count}");
    assert_eq!(new(&mut memory, newer.clone()), count);
    for older in [20 * DAY..30 * DAY, 150 * DAY..151 * DAY] {
        let older = || older.clone().step_by(1_200);
        assert_eq!(new(&mut memory, older()), older().count());
        memory = Memory::decode(&memory.encode()).unwrap();
        assert_eq!(new(&mut memory, older()), 0, "the same file once more");
    }
    assert_eq!(new(&mut memory, newer), 0);
    assert_eq!(memory.take(record(105 * DAY + 7)), Record::Old, "of a day that was read: it cannot be told");
    assert_eq!(memory.take(record(30 * DAY + 7)), Record::New, "the day after the last one of a file");
}

#[test]
fn a_cursor_that_knew_of_no_days_takes_what_is_older_for_known_as_before() {
    let (mut bytes, numbers) =
        (vec![1], [1, 7, 0, 0, 17, 2, 0, 0, 0, 1, 200 * 86_400, 0, 1, (201 * 86_400) << HASH_BITS]);
    numbers.into_iter().for_each(|number: u64| bytes.extend(number.to_le_bytes()));
    let mut memory = Memory::decode(&bytes).unwrap();
    assert!(memory.of(7).is_some_and(|file| file.gone && !file.open && file.offset == 17));
    memory.begin_file();
    assert_eq!(memory.take(record(150 * DAY)), Record::Old);
    assert_eq!(memory.take(record(201 * DAY + 5)), Record::New);
    assert_eq!(Memory::decode(&memory.encode()).unwrap(), memory);
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
    memory.keep(File { offset: 17, open: true, ..file(1) });
    memory.take(record(5));
    memory.take(record(6));
    let bytes = memory.encode();
    assert_eq!(Memory::decode(&bytes).unwrap(), memory);
    assert!((0..bytes.len()).all(|cut| Memory::decode(&bytes[..cut]).ok() != Some(memory.clone())));
    let mut swapped = bytes.clone();
    swapped[bytes.len() - 16..].rotate_left(8);
    assert!(Memory::decode(&swapped).is_err());
    assert!(Memory::decode(&[&[3], &bytes[1..]].concat()).is_err());
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
