//! Gaps, priorities and ages: what leaves the buffer without a receipt is named until a receipt says that the gateway knows.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;

use proto::frame::Sealed;
use proto::message::GapReason;
use proto::{BootId, Clock, Instant, Lane, Quality, Range, Ranges};
use rusqlite::Connection;
use tempfile::TempDir;
use tributary_agent::buffer::{Access, Append, Appended, Batch, Buffer, Loss, Settings};
use tributary_agent::source::Priority;

const CLOCK: Clock = Clock { boot: BootId([1; 8]), offset_us: 1_790_000_000_000_000, quality: Quality::Held };
const ALL: Range = Range { first: 1, last: u64::MAX };

fn settings(folder: &TempDir) -> Settings {
    Settings { path: folder.path().join("buffer.db"), bytes_max: 3 << 20, free_bytes_min: 0 }
}

fn open(folder: &TempDir) -> Buffer {
    Buffer::open(settings(folder), CLOCK).unwrap()
}

fn batch(priority: Priority, bytes: usize) -> Batch {
    Batch { lane: Lane::Live, priority, readings: 10, sealed: Sealed::new(vec![7; bytes]) }
}

fn put(buffer: &mut Buffer, priority: Priority, bytes: usize) -> Appended {
    buffer.append(&Append { batches: vec![batch(priority, bytes)], ..Append::default() }).unwrap()
}

fn loss(source: &str, count: Option<u64>) -> Append {
    let loss = Loss {
        source: Some(Arc::from(source)),
        from: Some(Instant(5_000_000)),
        until: Some(Instant(6_000_000)),
        count,
        reason: GapReason::Overrun,
    };
    Append { losses: vec![loss], ..Append::default() }
}

fn range(first: u64, last: u64) -> Range {
    Range::new(first, last).unwrap()
}

fn rows(ranges: &[Range]) -> Ranges {
    ranges.iter().copied().collect()
}

#[test]
fn readings_lost_before_sealing_take_a_number_and_are_told_until_a_receipt_confirms_them() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    let first = buffer.append(&loss("meter", Some(3))).unwrap();
    assert_eq!((first.rows, first.gaps.as_slice()), (None, [range(1, 1)].as_slice()));
    let span = first.began.unwrap();
    put(&mut buffer, Priority::Normal, 10);
    buffer.append(&loss("meter", Some(4))).unwrap();
    buffer.append(&loss("meter", None)).unwrap();
    buffer.append(&loss("other", Some(1))).unwrap();
    drop(buffer);

    let mut buffer = open(&folder);
    let contents = buffer.contents().unwrap();
    assert_eq!((contents.gaps.clone(), contents.held), (rows(&[range(1, 1), range(3, 5)]), rows(&[range(2, 2)])));
    assert_eq!(contents.next_row, 6);
    let told = buffer.gaps(ALL, 256).unwrap();
    assert_eq!(told.len(), 3, "neighbours of one source and reason are one: {told:?}");
    assert_eq!((told[0].epoch, told[0].range, told[0].count), (Some(span.epoch), Some(range(1, 1)), Some(3)));
    assert_eq!(
        (told[0].boot, told[0].from, told[0].until),
        (Some(CLOCK.boot), Some(Instant(5_000_000)), Some(Instant(6_000_000)))
    );
    assert_eq!((told[1].range, told[1].count, told[1].source.as_deref()), (Some(range(3, 4)), None, Some("meter")));
    assert_eq!(
        (told[2].range, told[2].source.as_deref(), told[2].reason),
        (Some(range(5, 5)), Some("other"), GapReason::Overrun)
    );

    buffer.mark(&rows(&[range(1, 1), range(4, 5)]));
    buffer.flush_marks().unwrap();
    let left = buffer.gaps(ALL, 256).unwrap();
    assert_eq!((left.len(), left[0].range, left[0].count), (1, Some(range(3, 3)), None), "what is not covered stays");
    assert!(buffer.contents().unwrap().settled.is_empty(), "a gap is no batch");
    let open = buffer.unmark(&rows(&[range(2, 2)])).unwrap();
    assert_eq!(open, rows(&[range(1, 1), range(3, 5)]), "a gateway that forgot a batch may have forgotten gaps too");
    assert_eq!(buffer.contents().unwrap().gaps, open);
    assert_eq!(buffer.gaps(ALL, 256).unwrap()[0].reason, GapReason::Overrun, "and is told the reason again");
}

#[test]
fn the_lowest_priority_leaves_first_and_the_oldest_first_within_it() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    let cycle = [Priority::High, Priority::Low, Priority::Normal];
    let mut gaps = Ranges::new();
    let mut evicted = Ranges::new();
    for place in 0..600_usize {
        let appended = put(&mut buffer, cycle[place % 3], 8_192);
        gaps.extend(appended.gaps.iter());
        evicted.extend(appended.evicted.iter());
    }
    assert_eq!(gaps, evicted);
    let held = buffer.contents().unwrap().held;
    let of = |priority: Priority| -> Vec<u64> {
        let place = cycle.iter().position(|one| *one == priority).unwrap() as u64;
        (1..=600).filter(|row| (row - 1) % 3 == place).collect()
    };
    let gone = |priority| of(priority).iter().filter(|row| gaps.contains(**row)).count();
    assert!(gone(Priority::Low) > 100, "{gaps:?}");
    assert_eq!(gone(Priority::High), 0);
    assert!(gone(Priority::Normal) > 0 && gone(Priority::Normal) < gone(Priority::Low));
    let normal = of(Priority::Normal);
    assert!(normal.iter().is_sorted_by_key(|row| held.contains(*row)), "the oldest normal ones are those that left");
    let told = buffer.gaps(ALL, 10_000).unwrap();
    let count: u64 = told.iter().map(|gap| gap.count.unwrap()).sum();
    assert_eq!(count, gaps.count() * 10, "each gap knows its readings");
    assert!(told.iter().all(|gap| gap.reason == GapReason::Evicted && gap.epoch.is_some()));
}

#[test]
fn a_gap_keeps_its_epoch_after_all_its_batches_have_left_and_no_row_is_used_twice() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    let first = put(&mut buffer, Priority::Low, 1_000).began.unwrap();
    drop(buffer);
    let mut buffer = open(&folder);
    for _ in 0..600 {
        put(&mut buffer, Priority::Normal, 8_192);
    }
    let gaps = buffer.contents().unwrap().gaps;
    assert!(gaps.contains(1));
    drop(buffer);
    let mut buffer = open(&folder);
    let told = buffer.gaps(ALL, 256).unwrap();
    assert_eq!((told[0].epoch, told[0].range), (Some(first.epoch), Some(range(1, 1))));
    assert!(told[1].epoch != told[0].epoch, "a gap is of one epoch");

    // One batch larger than the file may be: all others leave, and the newest is the lowest of all.
    let newest = put(&mut buffer, Priority::Low, 100).rows.unwrap();
    put(&mut buffer, Priority::High, 3 << 20);
    let contents = buffer.contents().unwrap();
    assert_eq!(contents.held, rows(&[range(newest.last + 1, newest.last + 1)]));
    buffer.mark(&all_rows());
    put(&mut buffer, Priority::Low, 100);
    let next = buffer.contents().unwrap().next_row;
    drop(buffer);
    assert_eq!(put(&mut open(&folder), Priority::Normal, 10).rows.unwrap().first, next);
}

fn all_rows() -> Ranges {
    rows(&[range(1, 1 << 40)])
}

#[test]
fn confirmed_gaps_are_kept_in_a_bounded_number() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    for round in 0..1_500 {
        let losses = loss(if round % 2 == 0 { "a" } else { "b" }, Some(1)).losses;
        buffer.append(&Append { losses, ..Append::default() }).unwrap();
    }
    assert_eq!(buffer.gaps(ALL, 5_000).unwrap().len(), 1_500);
    buffer.mark(&rows(&[range(1, 1_500)]));
    buffer.flush_marks().unwrap();
    assert!(buffer.contents().unwrap().gaps.is_empty());
    drop(buffer);
    let tallies = Access::open(&settings(&folder).path).unwrap().tallies().unwrap();
    assert_eq!((tallies["gaps"], tallies["gaps untold"]), (1_024, 0));
    assert_eq!(open(&folder).contents().unwrap().next_row, 1_501);
}

#[test]
fn settled_batches_leave_after_thirty_days_of_uptime_and_no_wall_clock_hurries_them() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    (0..4).for_each(|_| drop(put(&mut buffer, Priority::Normal, 100)));
    buffer.mark(&rows(&[range(1, 2)]));
    buffer.finish().unwrap();
    drop(buffer);
    let later = Clock { offset_us: CLOCK.offset_us * 2, ..CLOCK };
    let mut buffer = Buffer::open(settings(&folder), later).unwrap();
    assert!(put(&mut buffer, Priority::Normal, 100).evicted.is_empty(), "decades by the wall clock are no uptime");
    drop(buffer);
    let run_on = |days: u64| {
        let seconds = (days * 86_400).cast_signed();
        let file = Connection::open(settings(&folder).path).unwrap();
        file.execute("update tally set count = ? where name = 'uptime seconds'", [seconds]).unwrap();
    };
    run_on(29);
    assert!(put(&mut open(&folder), Priority::Normal, 100).evicted.is_empty());
    run_on(31);
    let mut buffer = open(&folder);
    assert_eq!(put(&mut buffer, Priority::Normal, 100).evicted, rows(&[range(1, 2)]));
    assert!(buffer.contents().unwrap().gaps.is_empty(), "the gateway has them");
    assert!(buffer.contents().unwrap().held.contains(3), "what no receipt covers stays, however old");
}

#[test]
fn what_the_gateway_refused_stays_refused_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    (0..3).for_each(|_| drop(put(&mut buffer, Priority::Normal, 100)));
    buffer.set_aside(2, "conflict").unwrap();
    buffer.set_aside(9, "conflict").unwrap();
    drop(buffer);
    assert_eq!(open(&folder).contents().unwrap().aside, rows(&[range(2, 2)]), "and a row that is not there is nothing");
}

#[test]
fn a_file_of_version_1_or_2_is_brought_up_to_date_with_its_batches_and_its_gaps() {
    old_file_is_brought_up_to_date(false);
    old_file_is_brought_up_to_date(true);
}

fn old_file_is_brought_up_to_date(version_2: bool) {
    let folder = TempDir::new().unwrap();
    let path = settings(&folder).path;
    let file = Connection::open(&path).unwrap();
    file.execute_batch(&format!(
        "{} pragma application_id = {}; pragma user_version = 1;",
        include_str!("../src/buffer/1_first.sql"),
        0x5452_4942
    ))
    .unwrap();
    let sealed = Sealed::new(vec![3; 20]);
    let hash = sealed.hash.0;
    file.execute("insert into epoch (epoch, boot, base) values (x'0202020202020202', x'0101010101010101', 10)", [])
        .unwrap();
    file.execute("insert into batch values (15, 1, 4, ?, ?)", (hash, &sealed.body)).unwrap();
    file.execute(
        "insert into gap (first_row, last_row, readings, reason) values (3, 9, 70, 'evicted'), (11, 14, 40, 'evicted')",
        [],
    )
    .unwrap();
    file.execute("insert into cursor values ('meter', x'3137')", []).unwrap();
    if version_2 {
        file.execute_batch(include_str!("../src/buffer/2_proof.sql")).unwrap();
        file.execute_batch("pragma user_version = 2").unwrap();
    }
    drop(file);
    assert!(Access::open(&path).err().unwrap().to_string().contains("start the agent once"));
    let mut buffer = open(&folder);
    let contents = buffer.contents().unwrap();
    assert_eq!(buffer.cursors().unwrap()["meter"], b"17");
    assert_eq!((contents.held, contents.gaps), (rows(&[range(15, 15)]), rows(&[range(11, 14)])));
    let told = buffer.gaps(ALL, 9).unwrap();
    assert_eq!(
        (told[0].range, told[0].count),
        (Some(range(1, 4)), Some(40)),
        "numbers, in the epoch that begins at 10"
    );
    assert_eq!(buffer.peek(range(15, 15), false, 1_000).unwrap().unwrap().frame.bodies[0], sealed);
    assert_eq!(put(&mut buffer, Priority::Low, 10).rows.unwrap(), range(16, 16));
}

#[test]
fn a_gap_whose_epoch_is_forgotten_is_not_opened_again() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    buffer.append(&loss("meter", Some(3))).unwrap();
    buffer.mark(&rows(&[range(1, 1)]));
    buffer.finish().unwrap();
    for _ in 0..2 {
        drop(buffer);
        buffer = open(&folder);
        put(&mut buffer, Priority::Normal, 10);
    }
    assert!(buffer.contents().unwrap().epochs.iter().all(|span| span.base > 0), "nothing is left of the first epoch");
    assert!(buffer.unmark(&rows(&[range(2, 2)])).unwrap().is_empty(), "nobody can say which number it had");
}
