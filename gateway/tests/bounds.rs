//! What ends the growth of the ledger, and what no clock may end.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test that fails says so")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant as Moment};

use proto::message::{Held, Refusal, Settlement};
use proto::{Basis, BodyHash, Channel, Clock, Instant, Lane, Quality, Value};
use rusqlite::Connection;
use tempfile::TempDir;
use tributary_gateway::store::Ledger as _;
use tributary_gateway::store::sqlite::Store;
use tributary_gateway::store::view::{Ledger, Reading};
use tributary_gateway::store::{Batch, Item, Outcome, Quarantine};

#[path = "support/batches.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod batches;
use batches::{EPOCH, MINUTE, NOW, batch, batch_of, column, meter, open, record};

const DAY: i64 = 1_440 * MINUTE;
const YEAR: i64 = 365 * DAY;

fn beside(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("gateway.db")).unwrap()
}

fn count(db: &Connection, what: &str) -> i64 {
    db.query_row(&format!("select count(*) from {what}"), [], |row| row.get(0)).unwrap()
}

fn hello(held: Vec<Held>) -> Item {
    Item::Held { device: meter(), held }
}

fn ledger(store: &Store) -> Ledger {
    store.reader.view(Moment::now() + Duration::from_secs(10), |view| view.ledger("meter-7")).unwrap().unwrap()
}

fn readings(store: &Store) -> Vec<Reading> {
    let deadline = Moment::now() + Duration::from_secs(10);
    let all = (i64::MIN, i64::MAX);
    store.reader.view(deadline, |view| Ok(view.excerpt(1, all, 10_000)?.readings)).unwrap()
}

#[test]
fn batch_rows_of_a_device_that_never_says_hello_go_with_the_hello_of_another() {
    static DAYS: AtomicI64 = AtomicI64::new(0);
    let folder = TempDir::new().unwrap();
    let later = || Instant(NOW + DAYS.load(Ordering::Relaxed) * DAY);
    let mut store = Store::open(&folder.path().join("gateway.db"), later).unwrap();
    let silent = |number| {
        let arrived = Instant(later().0);
        Item::Batch(Batch { device: "silent".parse().unwrap(), arrived, ..batch(number, &[(NOW, 1.0)]) })
    };
    record(&mut store.writer, [silent(1)]);
    for (day, rows) in [(80, 2), (91, 1)] {
        DAYS.store(day, Ordering::Relaxed);
        if day == 80 {
            record(&mut store.writer, [silent(2)]);
        }
        record(&mut store.writer, [hello(vec![])]);
        assert_eq!(count(&beside(&folder), "batch"), rows, "after {day} days");
    }
    assert_eq!(record(&mut store.writer, [silent(1)]), [Outcome::Known], "the ranges know it all the same");
    let sql = "explain query plan select epoch, number from batch where arrived_us < 1 order by arrived_us limit 1";
    let plan: String = beside(&folder).query_row(sql, [], |row| row.get(3)).unwrap();
    assert!(plan.contains("batch_arrived"), "{plan}");
}

#[test]
fn batch_rows_that_a_device_needs_no_more_go_a_few_with_each_hello() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    let holds = |range: (u64, u64)| {
        let ranges = vec![proto::Range { first: range.0, last: range.1 }];
        hello(vec![Held { epoch: EPOCH, ranges, next: 25_001 }])
    };
    record(&mut store.writer, [holds((1, 25_000))]);
    let sql = "with recursive place (n) as (select 1 union all select n + 1 from place where n < 25000)
         insert into batch (tenant, epoch, number, hash, lane, arrived_us, readings)
         select 1, 1, n, x'00', 0, ?1, 1 from place";
    let db = beside(&folder);
    db.execute(sql, [NOW]).unwrap();
    for left in [15_000, 5_000, 100, 100] {
        // However often one commit brings it.
        record(&mut store.writer, [holds((12_001, 12_100)), holds((12_001, 12_100))]);
        assert_eq!(count(&db, "batch"), left);
    }
    assert_eq!(count(&db, "batch where number between 12001 and 12100"), 100, "what it holds it may send again");
}

#[test]
fn epochs_beyond_the_bound_are_forgotten_when_nobody_can_have_their_batches() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    record(&mut store.writer, [hello(vec![])]);
    // Closed long ago, in the middle of which a number was lost; the newest 5 were heard yesterday.
    let sql = "with recursive place (n) as (select 1 union all select n + 1 from place where n < 20050)
         insert into epoch (tenant, device, epoch, first_arrival_us, last_arrival_us, next)
         select 1, 1, cast(printf('%08d', n) as blob), 0, iif(n > 20045, ?1, 1), 4 from place";
    let db = beside(&folder);
    db.execute(sql, [NOW - DAY]).unwrap();
    for (state, first, last) in [(0, 1, 1), (2, 2, 2), (0, 3, 3)] {
        let sql = "insert into settled (tenant, epoch, state, first, last) select 1, id, ?1, ?2, ?3 from epoch";
        db.execute(sql, [state, first, last]).unwrap();
    }
    let sql = "insert into gap (tenant, device, epoch, first, last, readings, reason)
               select 1, 1, id, 2, 2, 7, 'evicted' from epoch";
    db.execute(sql, []).unwrap();
    let lost_before: i64 = ledger(&store).lost.iter().map(|lost| lost.numbers).sum();
    assert_eq!((count(&db, "epoch"), lost_before), (20_050, 20_050));
    record(&mut store.writer, [hello(vec![])]);
    assert_eq!(count(&db, "epoch"), 20_000);
    assert_eq!(count(&db, "settled"), 60_000);
    let oldest: Vec<u8> = db.query_row("select epoch from epoch order by id limit 1", [], |row| row.get(0)).unwrap();
    assert_eq!(oldest, b"00000051");
    let lost = &ledger(&store).lost;
    assert_eq!(lost.iter().map(|lost| (lost.numbers, lost.readings)).collect::<Vec<_>>(), [(20_050, 140_350)]);
    assert_eq!(count(&db, "device where epochs_forgotten = 50"), 1);
}

#[test]
fn a_conflict_that_quarantine_has_no_room_for_is_said_to_be_one_that_was_not_kept() {
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    let aside = |number: u64| {
        let bytes = number.to_be_bytes().to_vec();
        let identity = Some((EPOCH, number, BodyHash::of(&bytes)));
        let (channel, reason, arrived) = (Channel::Batch, "cut".into(), Instant(NOW));
        Item::Quarantine(Quarantine { device: meter(), channel, identity, arrived, reason, bytes: bytes.into() })
    };
    record(&mut store.writer, (1..=1_000).map(aside));
    record(&mut store.writer, [Item::Batch(batch(2_000, &[(NOW, 1.0)]))]);
    let second = Item::Batch(batch(2_000, &[(NOW, 2.0)]));
    assert_eq!(record(&mut store.writer, [second]), [Outcome::Refused(Refusal::Conflict)]);
    let mut kinds: Vec<_> = ledger(&store).alarms.into_iter().map(|alarm| alarm.kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["conflict", "conflict_not_kept", "quarantine_full"]);
}

#[test]
fn a_database_of_the_first_schema_is_brought_up_to_date_with_what_it_holds() {
    let folder = TempDir::new().unwrap();
    let db = beside(&folder);
    let first = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite/migrations/1_first.sql");
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
    let mut store = open(&folder);
    let totals = ledger(&store).totals;
    assert_eq!((totals.waiting, totals.missing, totals.lost), (3, 2, 1));
    record(&mut store.writer, [hello(vec![])]);
    let totals = ledger(&store).totals;
    assert_eq!((totals.waiting, totals.missing, totals.lost), (0, 0, 5));
}

#[test]
fn clocks_that_step_by_years_either_way_lose_reorder_and_expire_nothing() {
    static CLOCK: AtomicI64 = AtomicI64::new(NOW);
    let folder = TempDir::new().unwrap();
    let stepped = || Instant(CLOCK.load(Ordering::Relaxed));
    let mut store = Store::open(&folder.path().join("gateway.db"), stepped).unwrap();
    // One reading of each batch on the device's clock, at the tenth second of its boot, and one that its source timed.
    let of = |number: u64, offset_us: i64| {
        let on_boot = column(Basis::Boot, [(10_000_000, Value::Number(1.0))]);
        let by_source = column(Basis::Source, [(NOW - MINUTE, Value::Number(2.0))]);
        let clock =
            Clock { boot: proto::BootId([u8::try_from(number).unwrap(); 8]), offset_us, quality: Quality::Synced };
        let mut batch = batch_of(number, vec![on_boot, by_source]);
        (batch.clock, batch.arrived, batch.lane) = (clock, stepped(), Lane::Live);
        Item::Batch(batch)
    };
    let steps = [0, 40 * YEAR, -50 * YEAR, 3_000 * YEAR, 5 * YEAR];
    let all: Vec<Item> = (1..).zip(steps).map(|(number, step)| of(number, NOW + step)).collect();
    record(&mut store.writer, all.clone());
    let kept = readings(&store);
    let mut on_boot: Vec<_> = kept.iter().filter(|kept| kept.time_us != NOW - MINUTE).collect();
    on_boot.sort_by_key(|kept| kept.id);
    let seen: Vec<_> = on_boot.iter().map(|kept| (kept.time_us - NOW - 10_000_000, kept.is_future)).collect();
    assert_eq!(seen, steps.map(|step| (step, step > 0)), "each where its clock said, the future ones flagged");
    assert_eq!(kept.len() - on_boot.len(), 5, "what its source timed is where it was");
    // The gateway's own clock goes wrong, years ahead and years back, and every copy comes once more.
    for step in [30 * YEAR, -30 * YEAR, 0] {
        CLOCK.store(NOW + step, Ordering::Relaxed);
        let held = Held { epoch: EPOCH, ranges: vec![proto::Range { first: 1, last: 5 }], next: 6 };
        record(&mut store.writer, [hello(vec![held])]);
        assert_eq!(record(&mut store.writer, all.clone()), [Outcome::Known; 5]);
        assert_eq!(readings(&store), kept, "{step}");
    }
    let settled = store.writer.settled(&meter(), EPOCH).unwrap().0;
    assert_eq!(settled, [(proto::Range { first: 1, last: 5 }, Settlement::Stored)]);
    let last =
        store.reader.view(Moment::now() + Duration::from_secs(9), |view| view.device("meter-7")).unwrap().unwrap();
    assert_eq!(last.last_reading_us, Some(NOW + 10_000_000), "none of the future is the newest");
}
