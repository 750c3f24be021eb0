//! PostgreSQL as the relational side.

use std::time::Duration;

use gateway::store::Outcome;
use gateway::store::outbox::Settings as Beside;
use gateway::store::postgres::{self, Password, Settings};
use harness::servers::postgres::roles::{INGEST, MIGRATE};
use harness::servers::{Edition, Influx, Postgres, or_skip};
use harness::wait_for;

use super::influx::{found, sink};
use super::sinks::{Cut, Cutting};
use super::{covered, days, keys, record, whole};

/// What another gateway may take for ours is left alone for 15 s.
const SOON: Duration = Duration::from_secs(90);

fn beside(edition: Edition) {
    let folder = tempfile::tempdir().unwrap();
    let Some(influx) = or_skip(Influx::start(&folder.path().join("influx"))) else { return };
    let Some(server) = or_skip(Postgres::start(&folder.path().join("postgres"), edition)) else { return };
    influx.database("tributary").unwrap();
    server.database("tributary").unwrap();
    server.make_roles("tributary").unwrap();
    let by = |role| {
        let password = Some(Password::new(server.password_of(role)));
        Settings { password, ..Settings::local(server.port, "tributary", role) }
    };
    postgres::migrate(&by(MIGRATE)).unwrap();
    let open = |sink| {
        let relational = postgres::Store::open(&by(INGEST), gateway::now).unwrap();
        relational.beside(sink, Beside::default(), gateway::now).unwrap()
    };
    let (days, keys) = (days(), keys());
    let (cutting, switch) = Cutting::new(sink(&influx));
    let mut store = open(Box::new(cutting));
    assert!(record(&mut store, &days[..90]).iter().all(|outcome| *outcome == Outcome::Recorded));
    assert_eq!(covered(&mut store), whole(&days[..90]));
    *switch.lock().unwrap() = Some(Cut::Halfway);
    assert!(record(&mut store, &days[90..]).iter().all(|outcome| *outcome == Outcome::Recorded));
    assert_eq!(covered(&mut store), whole(&days[..90]), "committed, but not covered");
    drop(store);

    let mut store = open(Box::new(sink(&influx)));
    assert!(record(&mut store, &days).iter().all(|outcome| *outcome == Outcome::Known));
    assert_eq!(covered(&mut store), whole(&days[..90]), "claimed, and perhaps in another gateway's hands");
    wait_for("what was cut off", SOON, || (covered(&mut store) == whole(&days)).then_some(()));
    assert!(found(&influx) == keys, "{} points", found(&influx).len());
}

#[test]
fn beside_postgres_all_of_it_arrives_once_and_what_was_cut_off_later() {
    beside(Edition::Plain15);
}

#[test]
fn beside_timescale_all_of_it_arrives_once_and_what_was_cut_off_later() {
    beside(Edition::Timescale17);
}
