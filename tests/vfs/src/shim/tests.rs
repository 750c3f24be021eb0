//! With real SQLite, which Miri cannot run.
#![cfg(not(miri))]

use std::path::Path;

use rusqlite::Connection;

use crate::{Failure, Image, Operation, Tape, Watch, What};

const TABLE: &str = "pragma journal_mode = wal; pragma synchronous = full; create table number (it integer) strict;";

fn open(folder: &Path) -> Connection {
    Connection::open(folder.join("numbers.db")).unwrap()
}

fn count(folder: &Path) -> rusqlite::Result<i64> {
    let connection = open(folder);
    connection.query_row("select count(*) from number", [], |row| row.get(0))
}

/// Inserts `numbers`, each in its own commit; answers the tape and its mark after each commit.
fn recorded(folder: &Path, synchronous: &str, numbers: i64) -> (Tape, Vec<usize>) {
    let watch = Watch::folder(folder).unwrap();
    let connection = open(folder);
    connection.execute_batch(TABLE).unwrap();
    connection.execute_batch(&format!("pragma synchronous = {synchronous}")).unwrap();
    let insert = |number| {
        connection.execute("insert into number values (?)", [number]).unwrap();
        watch.mark()
    };
    let marks = (0..numbers).map(insert).collect();
    drop(connection);
    (watch.finish(), marks)
}

fn write(image: &Image) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    image.write(folder.path()).unwrap();
    folder
}

#[test]
fn every_commit_outlives_every_cut_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (tape, marks) = recorded(folder.path(), "full", 5);
    assert_eq!(count(folder.path()).unwrap(), 5, "what passed through the shim is there");
    let mut replay = tape.replay();
    for cut in 0..=tape.mark() {
        replay.advance(cut);
        let committed = i64::try_from(marks.iter().filter(|mark| **mark <= cut).count()).unwrap();
        for seed in 0..4 {
            let image = write(&replay.image(seed));
            match count(image.path()) {
                Ok(found) => assert!(found >= committed && found <= committed + 1, "cut {cut}, seed {seed}: {found}"),
                Err(error) => assert_eq!(committed, 0, "cut {cut}, seed {seed}: {error}"),
            }
        }
    }
}

#[test]
fn a_commit_that_was_not_synced_is_lost_in_some_image() {
    let folder = tempfile::tempdir().unwrap();
    let (tape, marks) = recorded(folder.path(), "normal", 5);
    let mut replay = tape.replay();
    replay.advance(marks[4]);
    assert_eq!(count(write(&replay.whole()).path()).unwrap(), 5, "a process that dies loses nothing");
    let lost = (0..20).any(|seed| count(write(&replay.image(seed)).path()).is_ok_and(|found| found < 5));
    assert!(lost, "synchronous=normal does not outlive a power cut");
}

#[test]
fn each_kind_of_fault_fails_a_commit_and_nothing_is_lost_by_it() {
    for what in What::ALL {
        let folder = tempfile::tempdir().unwrap();
        recorded(folder.path(), "full", 3);
        let watch = Watch::folder(folder.path()).unwrap();
        watch.fail(Failure { what, after: 0, lasting: true });
        let attempt = || {
            let connection = open_fresh(folder.path())?;
            connection.execute("insert into number values (4)", [])?;
            connection.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0))
        };
        let outcome = attempt();
        assert!(watch.struck() > 0, "{what:?} never struck");
        watch.heal();
        let expected = if outcome.is_ok() { 4..=4 } else { 3..=4 };
        assert!(expected.contains(&count(folder.path()).unwrap()), "{what:?}: {outcome:?}");
    }
}

fn open_fresh(folder: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(folder.join("numbers.db"))?;
    connection.execute_batch("pragma synchronous = full")?;
    Ok(connection)
}

#[test]
fn a_failed_sync_takes_what_was_not_durable_out_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    recorded(folder.path(), "full", 3);
    let watch = Watch::folder(folder.path()).unwrap();
    let connection = open_fresh(folder.path()).unwrap();
    connection.execute("insert into number values (4)", []).unwrap();
    watch.fail(Failure { what: What::Sync, after: 0, lasting: false });
    assert!(connection.execute("insert into number values (5)", []).is_err());
    assert!(watch.tape().operations().iter().any(|operation| matches!(operation, Operation::Lose(_))));
    connection.execute("insert into number values (6)", []).unwrap();
    drop(connection);
    assert_eq!(count(folder.path()).unwrap(), 5);
}

#[test]
fn folders_that_are_not_watched_are_not_recorded() {
    let (watched, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let watch = Watch::folder(watched.path()).unwrap();
    open(other.path()).execute_batch(TABLE).unwrap();
    assert_eq!(watch.mark(), 0);
    open(watched.path()).execute_batch(TABLE).unwrap();
    assert!(watch.mark() > 0);
}
