//! The store on PostgreSQL, as far as it is not the same for all stores.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test that fails says so")]

use std::time::{Duration, Instant as Moment};

use proto::{Instant, Value};
use tributary_gateway::store::postgres::Store;
use tributary_gateway::store::{Item, Ledger as _, Outcome, ReadError, View};

#[path = "support/batches.rs"]
mod batches;
#[path = "support/postgres.rs"]
mod postgres;
use batches::{MINUTE, NOW, batch, now};
use postgres::Server;

fn ask<T: Send>(store: &Store, ask: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send) -> T {
    store.reader.view(Moment::now() + Duration::from_secs(10), ask).unwrap()
}

#[test]
fn what_is_recorded_can_be_read_and_is_known_when_it_comes_again() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("first");
    let mut store = Store::open(&settings, now).unwrap();
    let items = [Item::Batch(batch(1, &[(NOW - MINUTE, 104.0), (NOW, 105.5)])), Item::Batch(batch(2, &[(NOW, -0.0)]))];
    assert_eq!(store.writer.record(&items).unwrap(), [Outcome::Recorded; 2]);
    assert_eq!(store.writer.record(&items).unwrap(), [Outcome::Known; 2]);
    let readings = ask(&store, |view| {
        let series = view.series(None)?.remove(0);
        Ok(view.excerpt(series.id, (i64::MIN, i64::MAX), 100)?.readings)
    });
    let told: Vec<_> =
        readings.iter().map(|reading| (reading.time_us, reading.ordinal, reading.value.clone())).collect();
    let number = Value::Number;
    assert_eq!(told, [(NOW - MINUTE, 0, number(104.0)), (NOW, 0, number(105.5)), (NOW, 1, number(-0.0))]);
    drop(store);
    let mut again = Store::open(&settings, || Instant(NOW)).unwrap();
    assert_eq!(again.writer.record(&items).unwrap(), [Outcome::Known; 2]);
    assert_eq!(server.sql("first", "select count(*) from reading"), ["3"]);
}
