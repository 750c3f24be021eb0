//! The buffer on a real disk: what is accepted stays until it may go, and says why when it goes.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::fs::{DirEntry, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use proto::frame::Sealed;
use proto::{BootId, Clock, Lane, Quality, Range, Ranges};
use tempfile::TempDir;
use tributary_agent::buffer::{Access, Append, Batch, Buffer, BufferError, Settings};
use tributary_agent::source::{Priority, Reject};

const CLOCK: Clock = Clock { boot: BootId([1; 8]), offset_us: 1_790_000_000_000_000, quality: Quality::Held };

fn settings(folder: &TempDir) -> Settings {
    Settings { path: folder.path().join("buffer.db"), bytes_max: 64 << 20, free_bytes_min: 0 }
}

fn open(folder: &TempDir) -> Buffer {
    Buffer::open(settings(folder), CLOCK).unwrap()
}

fn batch(bytes: usize, fill: u8) -> Batch {
    Batch { lane: Lane::Live, priority: Priority::Normal, readings: 10, sealed: Sealed::new(vec![fill; bytes]) }
}

fn append(buffer: &mut Buffer, batches: Vec<Batch>) -> Range {
    let append = Append { batches, cursors: vec![(Arc::from("meter"), b"17".to_vec())], ..Append::default() };
    buffer.append(&append).unwrap().rows.unwrap()
}

fn range(first: u64, last: u64) -> Range {
    Range::new(first, last).unwrap()
}

/// The permission bits of the folder's files, by their names.
fn modes(folder: &TempDir) -> BTreeMap<String, u32> {
    let mode = |file: DirEntry| {
        (file.file_name().into_string().unwrap(), file.metadata().unwrap().permissions().mode() & 0o7777)
    };
    std::fs::read_dir(folder.path()).unwrap().map(|file| mode(file.unwrap())).collect()
}

#[test]
fn its_files_are_for_their_owner_alone_whatever_the_umask_and_those_that_were_not_are_narrowed() {
    let folder = TempDir::new().unwrap();
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut buffer = open(&folder);
    append(&mut buffer, vec![batch(10, 1)]);
    let made = modes(&folder);
    let names: Vec<&str> = made.keys().map(String::as_str).collect();
    assert_eq!(names, ["buffer.db", "buffer.db-shm", "buffer.db-wal", "buffer.db.lock", "buffer.db.reserve"]);
    assert!(made.values().all(|mode| *mode == 0o600), "{made:?}");
    // As a power cut leaves them, of an agent that went by the umask; and a file that is nobody's but the owner's.
    let cut = TempDir::new().unwrap();
    for name in names {
        std::fs::copy(folder.path().join(name), cut.path().join(name)).unwrap();
    }
    for name in ["buffer.db.damaged-1", "buffer.db.salvaging", "buffer.db.notes"] {
        std::fs::write(cut.path().join(name), "").unwrap();
    }
    for name in modes(&cut).keys() {
        std::fs::set_permissions(cut.path().join(name), Permissions::from_mode(0o664)).unwrap();
    }
    let buffer = open(&cut);
    let mut narrowed = modes(&cut);
    assert_eq!(narrowed.remove("buffer.db.notes"), Some(0o664));
    assert!(narrowed.len() >= 6 && narrowed.values().all(|mode| *mode == 0o600), "{narrowed:?}");
    assert_eq!(buffer.contents().unwrap().held.as_slice(), [range(1, 1)]);
}

#[test]
fn what_was_appended_is_there_after_a_restart_under_its_old_name_and_new_batches_begin_a_new_epoch() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    assert_eq!(append(&mut buffer, vec![batch(10, 1), batch(10, 2)]), range(1, 2));
    assert_eq!(append(&mut buffer, vec![batch(10, 3)]), range(3, 3));
    let first = buffer.peek(range(1, 3), false, 1 << 17).unwrap().unwrap();
    drop(buffer);

    let mut buffer = open(&folder);
    assert_eq!(buffer.cursors().unwrap()["meter"], b"17");
    assert_eq!(append(&mut buffer, vec![batch(10, 4)]), range(4, 4));
    let contents = buffer.contents().unwrap();
    assert_eq!(contents.held.as_slice(), [range(1, 4)]);
    assert_eq!(contents.epochs.len(), 2);

    let again = buffer.peek(range(1, 4), false, 1 << 17).unwrap().unwrap();
    assert_eq!(again.frame, first.frame, "an epoch's batches keep epoch, numbers and clock");
    let new = buffer.peek(range(4, 4), true, 1 << 17).unwrap().unwrap();
    assert_eq!(new.frame.header.first, 1);
    assert_ne!(new.frame.header.epoch, first.frame.header.epoch);
}

#[test]
fn a_peek_takes_neighbours_from_either_end_within_its_bytes_and_at_least_one() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    append(&mut buffer, (1..=9).map(|fill| batch(1000, fill)).collect());
    let mut rows = |newest_first, bytes| buffer.peek(range(1, 9), newest_first, bytes).unwrap().unwrap();
    assert_eq!(rows(false, 2200).rows, range(1, 2));
    assert_eq!(rows(true, 2200).rows, range(8, 9));
    assert_eq!(rows(true, 10).rows, range(9, 9));
    let frame = rows(true, 2200).frame;
    assert_eq!(frame.header.first, 8);
    assert_eq!(frame.bodies[0].body[0], 8, "a frame is in the order of its numbers, however it was picked");
    assert!(buffer.peek(range(20, 30), false, 1000).unwrap().is_none());
}

#[test]
fn what_receipts_cover_leaves_first_and_without_a_gap_and_the_rest_leaves_with_one() {
    let folder = TempDir::new().unwrap();
    let cap = Settings { bytes_max: 3 << 20, ..settings(&folder) };
    let mut buffer = Buffer::open(cap.clone(), CLOCK).unwrap();
    for fill in 0..20 {
        append(&mut buffer, vec![batch(16_384, fill)]);
    }
    buffer.mark(&[range(11, 20)].into_iter().collect());
    let mut evicted = Ranges::new();
    for fill in 0..200 {
        let more = Append { batches: vec![batch(16_384, fill)], ..Append::default() };
        evicted.extend(buffer.append(&more).unwrap().evicted.iter());
    }
    let first_gone = evicted.iter().next().unwrap();
    assert!(evicted.contains(11), "{evicted:?}");
    assert!(first_gone.first <= 20, "{evicted:?}");
    let held = buffer.contents().unwrap().held;
    assert_eq!(held.last(), Some(220), "the newest are kept");
    assert!(evicted.iter().all(|gone| held.within(gone).next().is_none()));
    drop(buffer);

    let size = std::fs::metadata(&cap.path).unwrap().len();
    assert!(size <= cap.bytes_max + (1 << 20), "{size}");
    let connection = rusqlite::Connection::open(&cap.path).unwrap();
    let mut gaps = connection.prepare("select first_row, last_row, readings from gap order by first_row").unwrap();
    let gaps: Vec<(u64, u64, u64)> = gaps
        .query_map([], |row| Ok((number(row, 0), number(row, 1), number(row, 2))))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let lost: Ranges = gaps.iter().map(|gap| range(gap.0, gap.1)).collect();
    let uncovered: Ranges = evicted
        .iter()
        .flat_map(|gone| (gone.first..=gone.last).map(Range::one))
        .filter(|row| !range(11, 20).contains(row.first))
        .collect();
    assert_eq!(lost, uncovered, "each unsettled batch that left is named by a gap, and no other");
    assert_eq!(gaps.iter().map(|gap| gap.2).sum::<u64>(), lost.count() * 10);
}

fn number(row: &rusqlite::Row<'_>, column: usize) -> u64 {
    row.get::<_, i64>(column).unwrap().cast_unsigned()
}

#[test]
fn marks_survive_a_restart_and_can_be_taken_back() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    append(&mut buffer, (0..9).map(|fill| batch(10, fill)).collect());
    buffer.mark(&[range(1, 3), range(5, 9)].into_iter().collect());
    buffer.flush_marks().unwrap();
    buffer.mark(&[range(4, 4)].into_iter().collect());
    buffer.flush_marks().unwrap();
    drop(buffer);
    let mut buffer = open(&folder);
    assert_eq!(buffer.contents().unwrap().settled.as_slice(), [range(1, 9)]);
    buffer.unmark(&[range(4, 5)].into_iter().collect()).unwrap();
    assert_eq!(buffer.contents().unwrap().settled.as_slice(), [range(1, 3), range(6, 9)]);
}

#[test]
fn a_second_agent_is_refused_and_a_reader_is_welcome() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    append(&mut buffer, vec![batch(10, 1)]);
    assert!(matches!(Buffer::open(settings(&folder), CLOCK), Err(BufferError::InUse { .. })));
    let access = Access::open(&settings(&folder).path).unwrap();
    assert_eq!(access.contents().unwrap().held.count(), 1);
    assert_eq!(access.list(10).unwrap()[0].readings, 10);
}

#[test]
fn rejects_are_kept_with_their_place_and_reason() {
    let folder = TempDir::new().unwrap();
    let mut buffer = open(&folder);
    let reject =
        Reject { place: "r.csv line 17".into(), reason: "`glucose` is no number".into(), bytes: b"x,y".to_vec() };
    let append = Append { rejects: vec![(Arc::from("r"), reject)], ..Append::default() };
    assert!(buffer.append(&append).unwrap().rows.is_none());
    let rejected = Access::open(&settings(&folder).path).unwrap().rejected(10).unwrap();
    assert_eq!((rejected[0].place.as_str(), rejected[0].source.as_str()), ("r.csv line 17", "r"));
}

fn error_of(result: Result<Buffer, BufferError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn a_newer_file_a_foreign_file_and_a_missing_folder_are_named() {
    let folder = TempDir::new().unwrap();
    drop(open(&folder));
    let path = settings(&folder).path;
    let change = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    change("pragma user_version = 9");
    let error = error_of(Buffer::open(settings(&folder), CLOCK));
    assert!(error.contains("schema version 9") && error.contains("newer agent"), "{error}");
    let foreign = Settings { path: folder.path().join("foreign.db"), ..settings(&folder) };
    let file = rusqlite::Connection::open(&foreign.path).unwrap();
    file.execute_batch("create table words (word text); pragma application_id = 5").unwrap();
    drop(file);
    let before = std::fs::read(&foreign.path).unwrap();
    assert!(error_of(Buffer::open(foreign.clone(), CLOCK)).contains("no buffer of this agent"));
    assert_eq!(std::fs::read(&foreign.path).unwrap(), before, "another's file is not touched");

    let missing = Settings { path: folder.path().join("no/such/buffer.db"), bytes_max: 1 << 20, free_bytes_min: 0 };
    assert!(error_of(Buffer::open(missing, CLOCK)).contains("is the folder there"));
    File::create(folder.path().join("text.db")).unwrap();
    std::fs::write(folder.path().join("text.db"), "these are words, a lot of them, and no database at all ".repeat(50))
        .unwrap();
    let text = Settings { path: folder.path().join("text.db"), bytes_max: 1 << 20, free_bytes_min: 0 };
    assert!(Buffer::open(text, CLOCK).is_err());
}

/// Needs root, for a file system of a few pages.
#[test]
fn a_full_disk_is_named_at_start() {
    let folder = TempDir::new().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
        .arg(folder.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: mounting a tiny tmpfs needs root");
        return;
    }
    let result = Buffer::open(settings(&folder), CLOCK);
    let unmounted = std::process::Command::new("umount").arg("-l").arg(folder.path()).status();
    let error = error_of(result);
    assert!(unmounted.is_ok());
    assert!(error.contains("no space left") && error.contains("buffer.db"), "{error}");
}
