//! A damaged file, and a disk without room: what is readable is kept, the rest is named, and capture goes on.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and tells how to repeat it")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proto::frame::Sealed;
use proto::message::GapReason;
use proto::{BodyHash, BootId, Clock, Lane, Quality, Range, Ranges};
use tempfile::TempDir;
use tributary_agent::buffer::{Append, Batch, Buffer, BufferError, Settings};
use tributary_agent::source::Priority;

const CLOCK: Clock = Clock { boot: BootId([1; 8]), offset_us: 1_790_000_000_000_000, quality: Quality::Held };
const ALL: Range = Range { first: 1, last: u64::MAX };

fn settings(folder: &Path) -> Settings {
    Settings { path: folder.join("buffer.db"), bytes_max: 64 << 20, free_bytes_min: 0 }
}

fn open(folder: &Path) -> Buffer {
    Buffer::open(settings(folder), CLOCK).unwrap()
}

/// A batch of noise, so that its bytes are found in the file nowhere else.
fn batch(seed: u64, bytes: usize) -> Batch {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let body = (0..bytes).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    Batch { lane: Lane::Live, priority: Priority::Normal, readings: 10, sealed: Sealed::new(body.collect()) }
}

fn put(buffer: &mut Buffer, seed: u64, bytes: usize) -> Result<Range, BufferError> {
    let cursors = vec![(Arc::from("meter"), seed.to_string().into_bytes())];
    Ok(buffer.append(&Append { batches: vec![batch(seed, bytes)], cursors, ..Append::default() })?.rows.unwrap())
}

/// Every row that is sent is what was sealed as that row; every other one is a gap, or is reported as lost without a number.
fn account(buffer: &mut Buffer, rows: u64, bytes: usize) -> (Ranges, Ranges) {
    let mut sent = Ranges::new();
    let mut next = 1;
    while next <= rows {
        match buffer.peek(Range { first: next, last: rows }, false, 1).unwrap() {
            None => {
                let held = buffer.contents().unwrap().held;
                let Some(later) = held.within(Range { first: next + 1, last: rows.max(next + 1) }).next() else {
                    break;
                };
                next = later.first;
            }
            Some(parcel) => {
                assert_eq!(parcel.frame.bodies[0].hash, BodyHash::of(&batch(parcel.rows.first, bytes).sealed.body));
                sent.insert(parcel.rows);
                next = parcel.rows.last + 1;
            }
        }
    }
    let gaps = buffer.contents().unwrap().gaps;
    assert!(gaps.iter().all(|gap| sent.within(gap).next().is_none()), "sent {sent:?}, gaps {gaps:?}");
    (sent, gaps)
}

/// Flips `bits` at `at` in the file of `folder`.
fn flip(folder: &Path, at: u64, bits: u8) {
    let file = fs::File::options().read(true).write(true).open(settings(folder).path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ bits], at).unwrap();
}

#[test]
fn a_batch_with_a_flipped_bit_becomes_a_gap_and_the_walk_goes_on() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(folder.path());
    for seed in 1..=9 {
        put(&mut buffer, seed, 500).unwrap();
    }
    drop(buffer);
    let file = fs::read(settings(folder.path()).path).unwrap();
    let body = batch(5, 500).sealed.body;
    // A page that was split may still hold an old copy.
    for (place, _) in file.windows(500).enumerate().filter(|(_, window)| *window == body) {
        flip(folder.path(), place as u64 + 100, 4);
    }
    let mut buffer = open(folder.path());
    assert_eq!(
        buffer.peek(Range { first: 1, last: 9 }, true, 1 << 17).unwrap().unwrap().rows,
        Range { first: 6, last: 9 }
    );
    let (sent, gaps) = account(&mut buffer, 9, 500);
    assert_eq!((sent.count(), gaps.iter().collect::<Vec<_>>()), (8, vec![Range::one(5)]));
    let told = buffer.gaps(ALL, 9).unwrap();
    assert_eq!((told[0].reason, told[0].count), (GapReason::Damaged, None));
    let news = buffer.append(&Append::default()).unwrap();
    assert_eq!((news.evicted.first(), news.gaps.first()), (Some(5), Some(5)), "the next answer tells of it");
}

#[test]
fn broken_pages_are_cut_out_and_the_rest_is_sent_under_its_old_numbers() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(folder.path());
    for seed in 1..=400 {
        put(&mut buffer, seed, 1_000).unwrap();
    }
    let before = buffer.contents().unwrap();
    let cursors = buffer.cursors().unwrap();
    drop(buffer);
    // Three pages of batches are overwritten.
    let path = settings(folder.path()).path;
    let content = fs::read(&path).unwrap();
    for seed in [50, 51, 200, 390] {
        let body = batch(seed, 1_000).sealed.body;
        let place = content.windows(1_000).position(|window| window == body).unwrap() as u64;
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0xa5; 4_096], place / 4_096 * 4_096).unwrap();
    }
    let mut buffer = open(folder.path());
    let (sent, gaps) = account(&mut buffer, 400, 1_000);
    assert!(sent.count() >= 380, "{sent:?}");
    assert!(gaps.contains(50) && gaps.contains(51) && gaps.contains(200) && gaps.contains(390), "{gaps:?}");
    assert_eq!(sent.count() + gaps.count(), 401, "each row is sent or a gap, and there may have been more: {gaps:?}");
    assert!(gaps.contains(401));
    assert_eq!((buffer.cursors().unwrap(), buffer.contents().unwrap().epochs[0]), (cursors, before.epochs[0]));
    assert!(fs::exists(folder.path().join("buffer.db.damaged-1")).unwrap());
    assert_eq!(put(&mut buffer, 401, 10).unwrap(), Range::one(402));
}

#[test]
fn damage_that_shows_while_the_agent_runs_is_salvaged_without_a_restart() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(folder.path());
    for seed in 1..=400 {
        put(&mut buffer, seed, 1_000).unwrap();
    }
    drop(buffer);
    let mut buffer = open(folder.path());
    let path = settings(folder.path()).path;
    let body = batch(100, 1_000).sealed.body;
    let place = fs::read(&path).unwrap().windows(1_000).position(|window| window == body).unwrap() as u64;
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0xa5; 4_096], place / 4_096 * 4_096).unwrap();
    let (sent, gaps) = account(&mut buffer, 400, 1_000);
    assert!(gaps.contains(100) && sent.count() >= 390, "{gaps:?}");
    assert_eq!(sent.count() + gaps.count(), 400);
    let appended = buffer.append(&Append { batches: vec![batch(401, 1_000)], ..Append::default() }).unwrap();
    assert_eq!((appended.rows, &appended.gaps), (Some(Range::one(401)), &gaps));
}

#[test]
fn whatever_bit_flips_or_wherever_the_file_ends_nothing_wrong_is_sent_and_capture_goes_on() {
    const ROWS: u64 = 60;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
    println!("SEED={seed}");
    let whole = TempDir::new().unwrap();
    let mut buffer = open(whole.path());
    for seed in 1..=ROWS {
        put(&mut buffer, seed, 300).unwrap();
    }
    drop(buffer);
    let length = fs::metadata(settings(whole.path()).path).unwrap().len();
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 20
    };
    let (mut all_sent, mut lost) = (0, 0);
    for round in 0..40 {
        let folder = TempDir::new().unwrap();
        for name in ["buffer.db", "buffer.db.reserve"] {
            fs::copy(whole.path().join(name), folder.path().join(name)).unwrap();
        }
        let at = random() % length;
        if round % 4 == 0 {
            fs::File::options().write(true).open(settings(folder.path()).path).unwrap().set_len(at).unwrap();
        } else {
            flip(folder.path(), at, 1 << (random() % 8));
        }
        let opened = Buffer::open(settings(folder.path()), CLOCK);
        let mut buffer = opened.unwrap_or_else(|error| panic!("round {round}, byte {at}: {error:?}"));
        let (sent, gaps) = account(&mut buffer, ROWS, 300);
        let next = buffer.contents().unwrap().next_row;
        let unnumbered = gaps.iter().any(|gap| gap.last > ROWS) || next <= ROWS;
        let complete =
            sent.count() + gaps.within(Range { first: 1, last: ROWS }).map(Range::count).sum::<u64>() >= ROWS;
        assert!(complete || unnumbered, "round {round}, byte {at}: sent {sent:?}, gaps {gaps:?}");
        put(&mut buffer, 1_000, 300).unwrap();
        all_sent += u64::from(sent.count() == ROWS);
        lost += ROWS - sent.count();
    }
    println!("{all_sent} of 40 lost nothing; {lost} of {} batches were lost, each with a gap", 40 * ROWS);
}

/// Copies the files of `from` as a kill would leave them.
fn killed(from: &Path, with_shared_memory: bool) -> TempDir {
    let folder = TempDir::new().unwrap();
    let files = ["buffer.db", "buffer.db-wal", "buffer.db.reserve", "buffer.db-shm"];
    for name in files.iter().take(if with_shared_memory { 4 } else { 3 }) {
        fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_damaged_mark_or_version_number_is_damage_and_no_other_program_s_file() {
    const ROWS: u64 = 5;
    let living = TempDir::new().unwrap();
    let mut buffer = open(living.path());
    for seed in 1..=ROWS {
        put(&mut buffer, seed, 300).unwrap();
    }
    drop(buffer);
    let database = living.path().join("buffer.db");
    rusqlite::Connection::open(&database).unwrap().execute_batch("pragma wal_checkpoint(truncate)").unwrap();
    // The version number is at byte 60 of the file's head, the mark at 68 (sqlite.org/fileformat2.html, 1.3).
    for at in [60, 62, 63, 68, 70, 71] {
        for bit in 0..8 {
            let folder = TempDir::new().unwrap();
            let mut bytes = fs::read(&database).unwrap();
            bytes[at] ^= 1 << bit;
            fs::write(folder.path().join("buffer.db"), bytes).unwrap();
            let mut buffer = match Buffer::open(settings(folder.path()), CLOCK) {
                // It may be one of a newer program, which is not touched.
                Err(BufferError::Newer { .. }) if at < 64 => continue,
                opened => opened.unwrap(),
            };
            let (sent, gaps) = account(&mut buffer, ROWS, 300);
            let named = gaps.within(Range { first: 1, last: ROWS }).map(Range::count).sum::<u64>();
            assert_eq!(sent.count() + named, ROWS, "byte {at}, bit {bit}: {sent:?}, {gaps:?}");
        }
    }
}

#[test]
fn a_damaged_write_ahead_log_forgets_no_commit_that_was_answered() {
    const ROWS: u64 = 40;
    let living = TempDir::new().unwrap();
    let mut buffer = open(living.path());
    for seed in 1..=ROWS {
        put(&mut buffer, seed, 300).unwrap();
    }
    let length = fs::metadata(living.path().join("buffer.db-wal")).unwrap().len();
    assert!(length > 100_000, "{length}");
    for with_shared_memory in [true, false] {
        // Without it, damage in the last commit cannot be told from a commit that a power cut left unfinished.
        let until = if with_shared_memory { length } else { length * 3 / 4 };
        for round in 0..24 {
            let folder = killed(living.path(), with_shared_memory);
            let at = if round == 0 { 17 } else { until / 24 * round + round * 131 % 4_000 };
            let wal = fs::File::options().read(true).write(true).open(folder.path().join("buffer.db-wal")).unwrap();
            let mut byte = [0];
            wal.read_exact_at(&mut byte, at).unwrap();
            wal.write_all_at(&[byte[0] ^ 8], at).unwrap();
            drop(wal);
            let mut buffer = open(folder.path());
            let (sent, gaps) = account(&mut buffer, ROWS, 300);
            let accounted = sent.count() + gaps.within(Range { first: 1, last: ROWS }).map(Range::count).sum::<u64>();
            assert!(accounted == ROWS, "byte {at} of {length}, {with_shared_memory}: sent {sent:?}, gaps {gaps:?}");
            assert!(sent.count() >= ROWS - 15, "a page at most: {sent:?}");
        }
    }
    // Cut short, its end is gone, and that is said.
    let folder = killed(living.path(), true);
    fs::File::options().write(true).open(folder.path().join("buffer.db-wal")).unwrap().set_len(length / 2).unwrap();
    let mut buffer = open(folder.path());
    let told = buffer.gaps(ALL, 9).unwrap();
    assert_eq!((told.len(), told[0].reason, told[0].count), (1, GapReason::Damaged, None));
    // An unfinished commit is no damage.
    let folder = killed(living.path(), false);
    fs::File::options().write(true).open(folder.path().join("buffer.db-wal")).unwrap().set_len(length - 5_000).unwrap();
    assert!(open(folder.path()).contents().unwrap().gaps.is_empty());
}

#[test]
fn three_damaged_files_are_kept_and_a_salvage_that_was_cut_short_is_begun_again_or_finished() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    for _ in 0..5 {
        fs::write(settings(folder.path()).path, [0x11; 8_192]).unwrap();
        drop(open(folder.path()));
    }
    let kept = |number: u32| fs::exists(folder.path().join(format!("buffer.db.damaged-{number}"))).unwrap();
    assert_eq!((1..=6).map(kept).collect::<Vec<_>>(), [true, true, true, false, false, false]);

    let mut buffer = open(folder.path());
    let row = put(&mut buffer, 1, 10).unwrap();
    drop(buffer);
    fs::rename(settings(folder.path()).path, folder.path().join("buffer.db.salvaged")).unwrap();
    fs::write(folder.path().join("buffer.db.salvaging"), "half a file").unwrap();
    assert!(open(folder.path()).contents().unwrap().held.contains(row.first));
}

/// A file system of so many bytes, gone with the guard; none where it needs root.
struct Tiny(TempDir);

impl Tiny {
    fn new(bytes: u64) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: mounting a tiny tmpfs needs root");
        None
    }

    fn fill(&self) {
        let file = fs::File::create(self.0.path().join("ballast")).unwrap();
        let (mut at, mut piece) = (0, 65_536);
        while piece > 0 {
            match file.write_at(&vec![1; piece], at) {
                Ok(written) => at += written as u64,
                Err(_) => piece /= 2,
            }
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_full_disk_the_oldest_leave_with_a_gap_and_capture_goes_on_even_after_a_restart() {
    let Some(disk) = Tiny::new(8 << 20) else { return };
    let folder = disk.0.path();
    let mut buffer = open(folder);
    for seed in 1..=200 {
        put(&mut buffer, seed, 4_000).unwrap();
    }
    let reserve = || fs::metadata(folder.join("buffer.db.reserve")).unwrap().len();
    assert!(reserve() > 256 << 10);
    disk.fill();
    let size = fs::metadata(settings(folder).path).unwrap().len();
    let mut last = 200;
    for seed in 201..=1_000 {
        last = put(&mut buffer, seed, 4_000).unwrap().last;
    }
    drop(buffer);
    let mut buffer = open(folder);
    for seed in 1_001..=1_200 {
        last = put(&mut buffer, seed, 4_000).unwrap().last;
    }
    assert_eq!(last, 1_200);
    assert!(
        fs::metadata(settings(folder).path).unwrap().len() <= size + (1 << 20),
        "the file makes do with what it has"
    );
    let (sent, gaps) = account(&mut buffer, 1_200, 4_000);
    assert_eq!(sent.count() + gaps.count(), 1_200, "nothing is lost in silence");
    assert!(sent.count() > 100 && sent.contains(1_200), "{sent:?}");
    drop(buffer);
    fs::remove_file(folder.join("ballast")).unwrap();
    drop(open(folder));
    assert!(reserve() > 256 << 10, "the reserve is taken again");
}

#[test]
fn what_the_gateway_lost_leaves_with_a_gap_though_the_full_disk_did_not_take_the_note_of_it() {
    let Some(disk) = Tiny::new(8 << 20) else { return };
    let folder = disk.0.path();
    let mut buffer = open(folder);
    for seed in 1..=200 {
        put(&mut buffer, seed, 4_000).unwrap();
    }
    buffer.mark(&Ranges::from_iter([Range { first: 1, last: 200 }]));
    buffer.flush_marks().unwrap();
    drop(buffer);
    let mut buffer = open(folder); // with an empty WAL, which cannot grow now
    disk.fill();
    let lost = Ranges::from_iter([Range { first: 1, last: 150 }]);
    assert!(matches!(buffer.unmark(&lost), Err(BufferError::DiskFull { .. })));
    // One of them is sent again, and settled.
    buffer.mark(&Ranges::from_iter([Range::one(7)]));
    for seed in 201..=1_000 {
        put(&mut buffer, seed, 4_000).unwrap();
    }
    let (sent, gaps) = account(&mut buffer, 1_000, 4_000);
    let settled = Ranges::from_iter([Range::one(7), Range { first: 151, last: 200 }]);
    let silent: Ranges = [&sent, &gaps, &settled].into_iter().flat_map(Ranges::iter).collect();
    assert_eq!(silent.count(), 1_000, "only what is settled leaves without a word: {silent:?}");
    assert!(gaps.count() > 100 && !gaps.contains(7) && !gaps.contains(151), "{gaps:?}");
}

#[test]
fn below_the_floor_of_free_bytes_the_file_stops_growing() {
    let Some(disk) = Tiny::new(64 << 20) else { return };
    let folder = disk.0.path();
    let floored = Settings { free_bytes_min: 64 << 20, ..settings(folder) }; // a sixteenth of the disk counts: 4 MiB
    let mut buffer = Buffer::open(floored.clone(), CLOCK).unwrap();
    let free = || {
        let disk = rustix::fs::statvfs(folder).unwrap();
        disk.f_bavail * disk.f_frsize
    };
    for seed in 1..=5_000 {
        put(&mut buffer, seed, 16_000).unwrap();
    }
    assert!(free() > 2 << 20, "{}", free());
    let contents = buffer.contents().unwrap();
    assert_eq!(contents.held.count() + contents.gaps.count(), 5_000);
    assert!(contents.held.count() > 1_000, "the rest of the disk is used: {:?}", contents.held);
}

#[test]
fn a_small_file_may_grow_though_others_have_used_up_the_floor() {
    let Some(disk) = Tiny::new(128 << 20) else { return };
    let folder = disk.0.path();
    fs::write(folder.join("of-others"), vec![1; 121 << 20]).unwrap(); // a sixteenth of the disk, 8 MiB, is the floor
    let floored = Settings { free_bytes_min: 64 << 20, ..settings(folder) };
    let mut buffer = Buffer::open(floored, CLOCK).unwrap();
    for seed in 1..=60 {
        put(&mut buffer, seed, 16_000).unwrap();
    }
    let contents = buffer.contents().unwrap();
    assert_eq!(contents.held.count(), 60, "nothing had to go: {:?}", contents.gaps);
}

#[test]
fn a_value_that_changed_in_a_small_table_is_noticed_whatever_it_says() {
    for change in [
        "update epoch set epoch = x'0909090909090909'",
        "delete from epoch",
        "update boot set offset_us = offset_us + 65536",
        "update settled set last = last + 1",
        "update cursor set position = x'30'",
        "delete from cursor",
        "update batch set row = 77 where row = 7",
        "update batch set lane = 1 where row = 7",
    ] {
        let folder = TempDir::new().unwrap();
        let mut buffer = open(folder.path());
        for seed in 1..=9 {
            put(&mut buffer, seed, 100).unwrap();
        }
        buffer.mark(&Ranges::from_iter([Range { first: 1, last: 2 }]));
        buffer.flush_marks().unwrap();
        let epochs = buffer.contents().unwrap().epochs;
        drop(buffer);
        let file = rusqlite::Connection::open(settings(folder.path()).path).unwrap();
        assert!(file.execute(change, []).unwrap() > 0, "{change}");
        drop(file);

        let mut buffer = open(folder.path());
        for row in 1..=80 {
            let Some(parcel) = buffer.peek(Range::one(row), false, 1).unwrap() else { continue };
            let header = parcel.frame.header;
            assert_eq!((header.epoch, header.first, header.lane), (epochs[0].epoch, row, Lane::Live), "{change}");
            assert_eq!(parcel.frame.bodies[0].hash, BodyHash::of(&batch(row, 100).sealed.body), "{change}");
            assert!(
                header.clock.boot == CLOCK.boot && (header.clock == CLOCK || header.clock.quality == Quality::Unset)
            );
        }
        let contents = buffer.contents().unwrap();
        assert!(contents.settled.iter().all(|range| range.last <= 2), "{change}: {:?}", contents.settled);
        let known = contents.held.count() >= 9 || !buffer.gaps(ALL, 9).unwrap().is_empty();
        assert!(known, "{change}: what is gone is named");
        let cursor = buffer.cursors().unwrap().remove("meter");
        let lost = buffer.lost_cursors(&["meter", "other"]).unwrap();
        match change.contains(" cursor") {
            true => assert_eq!((cursor, lost), (None, vec!["meter".to_owned()]), "{change}"),
            false => assert_eq!((cursor, lost), (Some(b"9".to_vec()), vec![]), "{change}"),
        }
    }
}

#[test]
fn a_damaged_file_is_salvaged_though_its_disk_has_no_room_for_a_second_copy() {
    let Some(disk) = Tiny::new(16 << 20) else { return };
    let folder = disk.0.path();
    let mut buffer = open(folder);
    for seed in 1..=240 {
        put(&mut buffer, seed, 16_000).unwrap();
    }
    buffer.mark(&Ranges::from_iter([Range { first: 1, last: 200 }]));
    buffer.flush_marks().unwrap();
    drop(buffer);
    let path = settings(folder).path;
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() / 2 / 4_096 * 4_096;
    bytes[place..place + 4_096].fill(0);
    fs::write(&path, &bytes).unwrap();
    fs::write(folder.join("buffer.db.damaged-1"), vec![1; 1 << 20]).unwrap();
    let free = || {
        let disk = rustix::fs::statvfs(folder).unwrap();
        disk.f_bavail * disk.f_frsize
    };
    let others = usize::try_from(free()).unwrap() - (1 << 20);
    fs::write(folder.join("of-others"), vec![1; others]).unwrap();

    let mut buffer = open(folder);
    let held = buffer.contents().unwrap().held;
    let gaps = buffer.contents().unwrap().gaps;
    let unsettled = Range { first: 201, last: 240 };
    let there: u64 = held.within(unsettled).map(Range::count).sum();
    let named: u64 = gaps.within(unsettled).map(Range::count).sum();
    assert!(there + named == 40 && there > 30, "held {held:?}, gaps {gaps:?}");
    assert!(put(&mut buffer, 241, 1_000).is_ok(), "capture goes on");
}
