//! Readings on their way into PostgreSQL.

use std::path::Path;
use std::time::Duration;

use gateway::store::postgres::{Password, Settings, Store, Timescale, Tls, migrate};
use gateway::store::{Batch, Item, Ledger as _, Outcome};
use harness::pty::Port;
use harness::servers::postgres as servers;
use harness::servers::postgres::roles::{INGEST, MIGRATE};
use harness::servers::{Edition, Postgres, Sql, or_skip};
use harness::{Agent, Gateway, Pki, wait_for};
use proto::{Basis, BodyHash, Clock, Column, Epoch, Instant, Kind, Lane, Reading, Series, Value};

/// A database as an administrator makes it, and the gateway's settings for it.
fn prepare(server: &Postgres, folder: &Path) -> (Sql, String) {
    let admin = Sql::connect(&server.database("tributary").unwrap()).unwrap();
    server.make_roles("tributary").unwrap();
    let [ingest, migrate] = [INGEST, MIGRATE].map(|role| server.password_file(folder, role).unwrap());
    let settings = format!(
        "[store]\nkind = \"postgres\"\n[store.postgres]\nport = {}\npassword_file = {ingest:?}\n\
         migrate_password_file = {migrate:?}\n",
        server.port
    );
    (admin, settings)
}

fn readings_arrive(edition: Edition) {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("postgres"), edition)) else { return };
    let (admin, settings) = prepare(&server, folder.path());
    let pki = Pki::create(&folder.path().join("pki"));
    let mut gateway = Gateway::prepare(&folder.path().join("gateway"), pki.server(), "");
    gateway.store = Some(settings);
    for _ in 0..2 {
        let done = gateway.command("migrate");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    gateway.restart();

    let mut port = Port::open(&folder.path().join("port")).unwrap();
    let source = format!(
        "[sealer]\nlinger_ms = 50\n[[source]]\nname = \"meter\"\ntype = \"serial\"\nport = {:?}\nformat = \"key_value\"\n\
         trust_first_line = true\nseries = [{{ column = \"p\", name = \"power.active\", unit = \"W\" }}]\n",
        port.path
    );
    let files = pki.device("meter-7");
    let mut agent = Agent::new(&folder.path().join("agent"), "meter-7", Some(gateway.mqtt_port), &files, &source);
    agent.start();
    for watts in 0..20 {
        assert!(port.send(&format!("p={watts}.5")));
    }
    wait_for("twenty readings", Duration::from_secs(20), || {
        (admin.number("select count(*) from reading").unwrap() == 20).then_some(())
    });
    let values = admin.rows("select value from reading order by id").unwrap();
    let values: Vec<f64> = values.into_iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    assert_eq!(values, (0..20).map(|watts| f64::from(watts) + 0.5).collect::<Vec<_>>());
    // What receipts cover is noted with the next append, or at the end.
    wait_for("the agent to note the receipt", Duration::from_secs(20), || {
        agent.stop();
        let status = String::from_utf8(agent.command(&["status"]).stdout).ok()?;
        status.contains("to be sent     0").then_some(()).or_else(|| {
            agent.start();
            std::thread::sleep(Duration::from_millis(500));
            None
        })
    });
    let hypertables = "select count(*) from pg_class where relname = 'reading' and relkind = 'r'";
    assert_eq!(admin.number(hypertables).unwrap() == 1, edition.has_timescale(), "a hypertable where there can be one");
    let others = "select count(*) from pg_stat_activity where application_name like 'tributary %' and usename <> 'tributary_ingest'";
    assert_eq!(admin.number(others).unwrap(), 0, "the gateway is in no other role");
    assert_eq!(gateway.get("/api/v1/about").unwrap()["store"], "postgres");
    let devices = gateway.get("/api/v1/devices").unwrap();
    assert!(devices.to_string().contains("meter-7"), "{devices}");
}

#[test]
fn readings_reach_postgres_and_their_device_hears_of_it() {
    readings_arrive(Edition::Plain15);
}

#[test]
fn readings_reach_timescale_and_their_device_hears_of_it() {
    readings_arrive(Edition::Timescale17);
}

fn now() -> Instant {
    Instant(1_772_323_200_000_000)
}

/// A batch of readings that are said to be of `times`.
fn batch(number: u64, times: impl Iterator<Item = i64>) -> Item {
    let readings = times.map(|time| Reading::new(Instant(time), Value::Number(1.0))).collect();
    let series = Series { name: "glucose".parse().unwrap(), unit: "mg/dL".parse().unwrap(), kind: Kind::Gauge };
    let columns = vec![Column { series, basis: Basis::Source, readings }];
    Item::Batch(Batch {
        device: "meter-7".parse().unwrap(),
        epoch: Epoch([7; 8]),
        number,
        hash: BodyHash([7; 16]),
        lane: Lane::Live,
        clock: Clock::default(),
        arrived: now(),
        columns,
        body: bytes::Bytes::new(),
    })
}

#[test]
fn a_device_that_claims_any_time_at_all_makes_no_end_of_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("postgres"), Edition::Timescale17)) else { return };
    let admin = Sql::connect(&server.database("far").unwrap()).unwrap();
    server.make_roles("far").unwrap();
    let by = |role| {
        let password = Some(Password::new(server.password_of(role)));
        Settings { password, timescale: Timescale::Require, ..Settings::local(server.port, "far", role) }
    };
    migrate(&by(MIGRATE)).unwrap();
    let mut store = Store::open(&by(INGEST), now).unwrap();
    const WEEK_US: i64 = 7 * 86_400 * 1_000_000;
    let near = [i64::MIN, -1, 0, now().0, now().0 + 1, i64::MAX];
    assert_eq!(store.writer.record(&[batch(1, near.into_iter())]).unwrap(), [Outcome::Recorded]);
    let error = store.writer.record(&[batch(2, (2..1_002).map(|weeks| -weeks * WEEK_US))]).unwrap_err();
    assert!(!error.is_unavailable() && error.to_string().contains("too many weeks"), "{error}");
    assert_eq!(store.writer.record(&[batch(2, (2..8).map(|weeks| -weeks * WEEK_US))]).unwrap(), [Outcome::Recorded]);
    assert_eq!(admin.number("select count(*) from reading").unwrap(), 12);
    let far = "select count(*) from timescaledb_information.chunks where range_start_integer < 0";
    assert_eq!(admin.number(far).unwrap(), 8);
}

#[test]
fn a_server_elsewhere_is_spoken_to_only_by_tls_and_only_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let (pki, other) = (Pki::create(&folder.path().join("pki")), Pki::create(&folder.path().join("other")));
    let files = pki.server();
    let with_tls = servers::Settings { tls: Some(files.clone()), ..servers::Settings::default() };
    let started = Postgres::start_with(&folder.path().join("postgres"), Edition::Plain15, &with_tls);
    let Some(server) = or_skip(started) else { return };
    server.bare_database("tls").unwrap();
    server.login("somebody", "secret").unwrap();
    server.admin_of("tls").unwrap().run("grant all on schema public to somebody").unwrap();
    let by = |tls: Tls| {
        let password = Some(Password::new("secret"));
        Settings { password, tls, host: "localhost".into(), ..Settings::local(server.port, "tls", "somebody") }
    };
    let told = |settings: &Settings| migrate(settings).unwrap_err().to_string();
    let verified = by(Tls::VerifyFull { ca_file: files.authority });
    migrate(&verified).unwrap();
    Store::open(&verified, now).unwrap();
    let plain = told(&by(Tls::Disable));
    assert!(plain.contains("no encryption") && plain.contains("pg_hba.conf"), "{plain}");
    let stranger = told(&by(Tls::VerifyFull { ca_file: other.server().authority }));
    assert!(stranger.contains("UnknownIssuer") && stranger.contains("`tls`"), "{stranger}");
    drop(server);

    // A device's certificate is of the same authority, and no server's.
    let with_tls = servers::Settings { tls: Some(pki.device("meter-7")), ..servers::Settings::default() };
    let started = Postgres::start_with(&folder.path().join("misnamed"), Edition::Plain15, &with_tls);
    let Some(server) = or_skip(started) else { return };
    let misnamed = told(&Settings { port: server.port, ..verified });
    assert!(misnamed.contains("invalid peer certificate"), "{misnamed}");
}
