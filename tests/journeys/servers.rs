//! The servers that other tests stand on: each starts, speaks, dies, and comes back with what it promised to keep.

use std::time::Instant;

use harness::Pki;
use harness::servers::postgres::Settings;
use harness::servers::{Edition, Postgres, Sql, or_skip};

/// What was committed is there after kill -9 and after a good end; what was not committed is not.
fn keeps_what_was_committed(edition: Edition) {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let Some(mut postgres) = or_skip(Postgres::start(folder.path(), edition)) else { return };
    println!("{edition:?} started in {:?}", began.elapsed());
    let began = Instant::now();
    let dsn = postgres.database("one").unwrap();
    println!("a database was made in {:?}", began.elapsed());
    let sql = Sql::connect(&dsn).unwrap();
    assert_eq!(sql.value("show fsync").unwrap(), "on");
    sql.run("create table reading (time timestamptz not null, value double precision)").unwrap();
    if edition.has_timescale() {
        assert_eq!(sql.value("show timescaledb.license").unwrap(), "apache");
        sql.run("select create_hypertable('reading', by_range('time'))").unwrap();
    }
    sql.run("insert into reading select to_timestamp(n * 86400), n from generate_series(1, 20) n").unwrap();
    sql.run("begin; insert into reading values (to_timestamp(0), -1)").unwrap();

    let port = postgres.port;
    let began = Instant::now();
    postgres.kill().unwrap();
    assert!(sql.number("select 1").is_err(), "the session died with the server");
    assert!(postgres.admin().is_err(), "nobody answers");
    postgres.restart().unwrap();
    println!("killed and back in {:?}", began.elapsed());
    assert_eq!(postgres.port, port);
    let count = "select count(*) from reading";
    assert_eq!(postgres.admin_of("one").unwrap().number(count).unwrap(), 20);

    postgres.stop().unwrap();
    assert!(postgres.admin().is_err(), "nobody answers");
    postgres.restart().unwrap();
    assert_eq!(postgres.admin_of("one").unwrap().number(count).unwrap(), 20);
}

#[test]
fn postgres_keeps_what_was_committed() {
    keeps_what_was_committed(Edition::Plain15);
}

#[test]
fn timescale_keeps_what_was_committed() {
    keeps_what_was_committed(Edition::Timescale17);
}

#[test]
fn postgres_with_a_certificate_refuses_those_who_come_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let settings = Settings { tls: Some(pki.server()), ..Settings::default() };
    let started = Postgres::start_with(&folder.path().join("postgres"), Edition::Plain15, &settings);
    let Some(postgres) = or_skip(started) else { return };
    postgres.login("somebody", "secret").unwrap();
    assert_eq!(postgres.admin().unwrap().value("show ssl").unwrap(), "on");

    let plain = Sql::connect(&postgres.dsn("somebody", "secret", "postgres")).err().unwrap();
    assert!(format!("{plain:?}").contains("no encryption"), "{plain:?}");
    let wrong = Sql::connect(&postgres.dsn("postgres", "wrong", "postgres")).err().unwrap();
    assert!(format!("{wrong:?}").contains("password authentication failed"), "{wrong:?}");
}

#[test]
fn a_paused_postgres_answers_once_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(postgres) = or_skip(Postgres::start(folder.path(), Edition::Plain15)) else { return };
    let sql = postgres.admin().unwrap();
    sql.run("set statement_timeout = '20s'").unwrap();
    postgres.pause();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| sql.number("select 42"));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!answer.is_finished(), "a halted server does not answer");
        postgres.resume();
        assert_eq!(answer.join().unwrap().unwrap(), 42);
    });
}
