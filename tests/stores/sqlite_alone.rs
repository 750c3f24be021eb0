//! What only SQLite's file does: one writer, and schemas of its own.

use gateway::store::StoreError;
use gateway::store::sqlite::Store;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::backend::sqlite::Folder;
use crate::batches::{hello, now};
use crate::bed::Bed;

#[test]
fn a_newer_schema_is_refused_and_so_is_a_second_writer() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gateway.db");
    let store = Store::open(&path, now).unwrap();
    let second = Store::open(&path, now).err().unwrap();
    assert!(matches!(second, StoreError::Locked { .. }) && second.to_string().contains("another gateway"), "{second}");
    drop(store);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = Store::open(&path, now).err().unwrap();
    assert!(matches!(newer, StoreError::NewerSchema { found: 99, .. }), "{newer}");
}

#[test]
fn a_database_of_the_first_schema_is_brought_up_to_date_with_what_it_holds() {
    let folder = TempDir::new().unwrap();
    let db = Connection::open(folder.path().join("gateway.db")).unwrap();
    let first =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src/store/sqlite/migrations/1_first.sql");
    db.execute_batch(&std::fs::read_to_string(first).unwrap()).unwrap();
    db.execute_batch(
        "insert into device (id, tenant, name) values (1, 1, 'meter-7');
         insert into epoch (id, tenant, device, epoch, next, missing) values (1, 1, 1, x'0707070707070707', 6, 2);
         insert into held (tenant, epoch, first, last) values (1, 1, 3, 5);
         insert into gap (tenant, device, epoch, first, last, readings, reason) values (1, 1, 1, 2, 2, 9, 'evicted');
         insert into settled (tenant, epoch, state, first, last) values (1, 1, 2, 2, 2);
         pragma user_version = 1;",
    )
    .unwrap();
    drop(db);
    let mut bed = Bed::new(Box::new(Folder(folder)), now);
    let totals = bed.ledger().totals;
    assert_eq!((totals.waiting, totals.lost), (3, 1));
    bed.record([hello([])]);
    let totals = bed.ledger().totals;
    assert_eq!((totals.waiting, totals.lost), (0, 5));
}
