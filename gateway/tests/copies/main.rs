//! `backup` beside a gateway that writes, and `restore`.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says so")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use batches::batch;
use rusqlite::Connection;
use tributary_gateway::store::sqlite::copy::{CopyError, back_up, put_back};
use tributary_gateway::store::{Item, Ledger as _, StoreError, sqlite};

#[allow(dead_code, reason = "each test file uses its part")]
#[path = "../support/batches.rs"]
mod batches;

/// Times of readings begin here.
const FROM_US: i64 = 1_772_323_200_000_000;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A batch of one reading, told by its number.
fn item(number: u64) -> Item {
    Item::Batch(batch(number, &[(FROM_US + i64::try_from(number).unwrap() * 1_000_000, 100.0)]))
}

fn open(path: &Path) -> sqlite::Store {
    sqlite::Store::open(path, tributary_gateway::now).unwrap()
}

fn count(path: &Path, table: &str) -> i64 {
    Connection::open(path).unwrap().query_row(&format!("select count(*) from {table}"), [], |row| row.get(0)).unwrap()
}

/// All files of the folder whose name has `part` in it.
fn named(folder: &Path, part: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().contains(part)).collect()
}

/// Says that it is over, whichever way it is left.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_copy_is_of_one_moment_however_busy_the_gateway_is_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    let mut store = open(&path);
    // Several times what is copied between two looks at the clock, so that much is written meanwhile.
    let enough: Vec<Item> = (1..=40_000).map(item).collect();
    store.writer.record(&enough).unwrap();
    let (is_over, written, until) = (AtomicBool::new(false), AtomicU64::new(40_000), soon());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let number = written.load(Ordering::Relaxed) + 1;
                store.writer.record(&[item(number)]).unwrap();
                written.store(number, Ordering::Relaxed);
            }
        });
        let _over = Over(&is_over);
        let (mut last, mut copies) = (0, 0);
        // However slow the disk is to sync, and however quick to copy: beside something that is written.
        while copies < 5 || written.load(Ordering::Relaxed) <= 40_010 && Instant::now() < until {
            let copy = folder.path().join("copy.db");
            back_up(&path, &copy, soon()).unwrap();
            assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600, "for its owner alone");
            let (batches, readings) = (count(&copy, "batch"), count(&copy, "reading"));
            assert_eq!(batches, readings, "of one moment: a batch is there with its reading, or neither is");
            assert!(batches >= 40_000 && batches >= last, "{batches} after {last}");
            std::fs::remove_file(&copy).unwrap();
            (last, copies) = (batches, copies + 1);
        }
        println!("{copies} copies, {} batches by the end", written.load(Ordering::Relaxed));
    });
    let written = written.into_inner();
    assert!(written > 40_010, "the writer hardly wrote: {written}");
    assert_eq!(named(folder.path(), "part"), Vec::<PathBuf>::new(), "nothing unfinished is left");
}

#[test]
fn no_copy_replaces_another_and_one_that_is_late_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("gateway.db"), folder.path().join("copy.db"));
    drop(open(&path));
    assert!(matches!(back_up(&path, &copy, Instant::now()), Err(CopyError::Late)));
    assert_eq!(named(folder.path(), "copy"), Vec::<PathBuf>::new());
    back_up(&path, &copy, soon()).unwrap();
    let before = std::fs::read(&copy).unwrap();
    assert!(matches!(back_up(&path, &copy, soon()), Err(CopyError::Exists(_))));
    assert_eq!(std::fs::read(&copy).unwrap(), before);
}

#[test]
fn what_is_no_copy_or_a_damaged_one_is_put_nowhere_and_nor_is_any_while_a_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("gateway.db"), folder.path().join("copy.db"));
    let mut store = open(&path);
    store.writer.record(&(1..=5_000).map(item).collect::<Vec<_>>()).unwrap();
    back_up(&path, &copy, soon()).unwrap();
    assert!(matches!(put_back(&copy, &path, soon()), Err(CopyError::Store(StoreError::Locked { .. }))));
    drop(store);
    let before = std::fs::read(&path).unwrap();
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(put_back(&empty, &path, soon()), Err(CopyError::Foreign(_))));
    let mut bytes = std::fs::read(&copy).unwrap();
    // Pages of tables, behind the schema's.
    let from = bytes.len() / 2 / 4_096 * 4_096;
    bytes[from..from + 8 * 4_096].fill(0x5a);
    std::fs::write(&copy, bytes).unwrap();
    let damaged = put_back(&copy, &path, soon()).unwrap_err();
    assert!(matches!(damaged, CopyError::Damaged { .. }), "{damaged:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "what is there is as it was");
    assert!(named(folder.path(), "replaced").is_empty() && named(folder.path(), "part").is_empty());
}

#[test]
fn the_log_of_what_was_there_is_not_taken_for_that_of_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("gateway.db"), folder.path().join("copy.db"));
    let mut store = open(&path);
    store.writer.record(&[item(1)]).unwrap();
    back_up(&path, &copy, soon()).unwrap();
    store.writer.record(&[item(2)]).unwrap();
    // As after a kill: the WAL, and what is only in it, stays.
    let wal = folder.path().join("gateway.db-wal");
    let (file, log) = (std::fs::read(&path).unwrap(), std::fs::read(&wal).unwrap());
    drop(store);
    std::fs::write(&path, file).unwrap();
    std::fs::write(&wal, log).unwrap();
    let aside = put_back(&copy, &path, soon()).unwrap().aside.unwrap();
    assert_eq!((count(&path, "batch"), count(&aside, "batch")), (1, 2));
    drop(open(&path));
    // And once more, with nothing there.
    std::fs::remove_file(&path).unwrap();
    assert!(put_back(&copy, &path, soon()).unwrap().aside.is_none());
    assert_eq!(count(&path, "batch"), 1);
}

#[test]
fn a_copy_and_its_return_are_in_the_trail_and_the_trail_can_be_verified_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = format!(
        "[listener]\ncertificate_file = \"a\"\nkey_file = \"b\"\nauthority_file = \"c\"\n[store]\npath = {:?}\n",
        at("gateway.db")
    );
    std::fs::write(at("gateway.toml"), text).unwrap();
    let ask = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-gateway"));
        let done = command.args(words).arg("--config").arg(at("gateway.toml")).output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        println!("{words:?}: {said}");
        (done.status.success(), said)
    };
    drop(open(&at("gateway.db")));
    let copy = at("copy.db").display().to_string();
    assert!(ask(&["backup", "--to", &copy]).0);
    // What came after the copy, and was seen by a checkpoint.
    let trail = || sqlite::Trail::open(&at("gateway.db")).unwrap();
    let checkpoint = || {
        use tributary_gateway::audit::checkpoint::Checkpoints;
        use tributary_gateway::store::audit::Trail as _;
        let head = trail().head().unwrap();
        Checkpoints::open(&at("gateway.audit")).unwrap().add(head, tributary_gateway::now()).unwrap();
    };
    assert!(ask(&["backup", "--to", &at("second.db").display().to_string()]).0);
    checkpoint();
    let (is_done, said) = ask(&["restore", "--from", &copy]);
    assert!(is_done && said.contains("gateway.db.replaced-1") && said.contains("gateway.audit.replaced-1"), "{said}");
    checkpoint();
    assert!(ask(&["audit", "verify"]).1.contains("2 entries"), "the copy's, and that it was put back");
    let listed = ask(&["audit", "list"]).1;
    assert!(listed.contains("backed_up") && listed.contains("restored") && !listed.contains("second.db"), "{listed}");
    let (is_whole, said) =
        ask(&["audit", "verify", "--checkpoints", &at("gateway.audit.replaced-1").display().to_string()]);
    assert!(!is_whole && said.contains("entry 2 was made anew"), "{said}");
}
