//! The servers that other tests stand on: each starts, speaks, dies, and comes back with what it promised to keep.

use std::cell::RefCell;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::Pki;
use harness::pki::Files;
use harness::servers::postgres::Settings;
use harness::servers::{Edition, Influx, Mosquitto, Moto, Postgres, Sql, mosquitto, or_skip};
use harness::wait_for;

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
    // It knows which of the two ends was a crash.
    let log = std::fs::read_to_string(postgres.log()).unwrap();
    assert_eq!(log.matches("was not properly shut down").count(), 1, "{log}");
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
fn postgres_with_a_certificate_shows_it_and_refuses_those_who_come_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let files = pki.server();
    let settings = Settings { tls: Some(files.clone()), ..Settings::default() };
    let started = Postgres::start_with(&folder.path().join("postgres"), Edition::Plain15, &settings);
    let Some(postgres) = or_skip(started) else { return };
    postgres.login("somebody", "secret").unwrap();
    assert_eq!(postgres.admin().unwrap().value("show ssl").unwrap(), "on");

    let plain = Sql::connect(&postgres.dsn("somebody", "secret", "postgres")).err().unwrap();
    assert!(format!("{plain:?}").contains("no encryption"), "{plain:?}");
    // With TLS, its certificate is the authority's, and holds for the address.
    let mut command = Command::new("openssl");
    command.args(["s_client", "-starttls", "postgres", "-connect", &format!("127.0.0.1:{}", postgres.port), "-brief"]);
    command.args(["-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile"]).arg(&files.authority);
    let answer = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        answer.status.success() && String::from_utf8_lossy(&answer.stderr).contains("Verification: OK"),
        "{answer:?}"
    );
    let wrong = Sql::connect(&postgres.dsn("postgres", "wrong", "postgres")).err().unwrap();
    assert!(format!("{wrong:?}").contains("password authentication failed"), "{wrong:?}");
}

#[test]
fn a_paused_postgres_answers_once_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(postgres) = or_skip(Postgres::start(folder.path(), Edition::Plain15)) else { return };
    let sql = postgres.admin().unwrap();
    sql.run("set statement_timeout = '20s'").unwrap();
    let while_halted = Duration::from_millis(300);
    postgres.pause();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| sql.number("select 42"));
        std::thread::sleep(while_halted);
        assert!(!answer.is_finished(), "a halted server does not answer");
        postgres.resume();
        assert_eq!(answer.join().unwrap().unwrap(), 42);
    });
    postgres.pause_newcomers();
    std::thread::scope(|scope| {
        let newcomer = scope.spawn(|| postgres.admin());
        assert_eq!(sql.number("select 43").unwrap(), 43, "who was there is served");
        std::thread::sleep(while_halted);
        assert!(!newcomer.is_finished(), "who comes is not");
        postgres.resume();
        let newcomer = newcomer.join().unwrap().unwrap();
        // Asked and dropped inside of a runtime, as tests that are async do.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async move { assert_eq!(newcomer.number("select 44").unwrap(), 44) });
    });
}

/// One of Mosquitto's clients at QoS 1, with a deadline of ten seconds.
fn client(name: &str, port: u16, files: &Files, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["10", name, "-h", "localhost", "-p", &port.to_string(), "-q", "1"]).args(arguments);
    command.arg("--cafile").arg(&files.authority).arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key);
    command.output().unwrap()
}

#[test]
fn mosquitto_keeps_queued_messages_and_knows_its_clients_by_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let acl = "pattern write t/%u/up\nuser reader\ntopic read t/+/up\n";
    let mut settings = mosquitto::Settings::new(pki.server(), acl);
    settings.persistence = true;
    settings.crl = Some(pki.crl());
    let Some(mut broker) = or_skip(Mosquitto::start(&folder.path().join("broker"), &settings)) else { return };
    let (own, reader, gone) = (pki.device("pump-1"), pki.device("reader"), pki.device("pump-2"));
    let read = |port, more: &[&str]| {
        let session = ["-c", "-i", "reader", "-t", "t/+/up"];
        client("mosquitto_sub", port, &reader, &[&session[..], more].concat())
    };
    let publish = |port, files: &Files, topic: &str, message: &str| {
        client("mosquitto_pub", port, files, &["-V", "mqttv5", "-t", topic, "-m", message])
    };

    assert!(read(broker.port, &["-E"]).status.success(), "a session of its own");
    assert!(publish(broker.port, &own, "t/pump-1/up", "first").status.success());
    let other = publish(broker.port, &own, "t/pump-2/up", "forged");
    assert!(String::from_utf8_lossy(&other.stderr).contains("Not authorized"), "{other:?}");
    // Its store is written within a second; only then does a kill lose nothing.
    let store = folder.path().join("broker/store/mosquitto.db");
    let kept = || std::fs::read(&store).ok()?.windows(5).any(|bytes| bytes == b"first").then_some(());
    wait_for("the broker's store to hold the message", Duration::from_secs(10), kept);
    broker.kill().unwrap();
    assert!(!publish(broker.port, &own, "t/pump-1/up", "nobody").status.success());
    broker.restart().unwrap();
    assert_eq!(String::from_utf8_lossy(&read(broker.port, &["-C", "1"]).stdout), "first\n");

    assert!(publish(broker.port, &gone, "t/pump-2/up", "second").status.success());
    pki.revoke("pump-2");
    let _ = pki.crl();
    broker.reload();
    wait_for("a revoked client to be refused", Duration::from_secs(10), || {
        (!publish(broker.port, &gone, "t/pump-2/up", "third").status.success()).then_some(())
    });

    broker.stop().unwrap();
    broker.forget().unwrap();
    broker.restart().unwrap();
    let nothing = client("mosquitto_sub", broker.port, &reader, &["-c", "-i", "reader", "-t", "t/+/up", "-W", "1"]);
    assert_eq!(String::from_utf8_lossy(&nothing.stdout), "", "what was queued is forgotten");
}

#[test]
fn a_server_takes_another_port_when_somebody_was_faster() {
    let folder = tempfile::tempdir().unwrap();
    let taken = RefCell::new(None);
    let started = Mosquitto::start_with(folder.path(), |port| {
        let mut taken = taken.borrow_mut();
        if taken.is_none() {
            *taken = Some(TcpListener::bind(("127.0.0.1", port)).unwrap());
        }
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    });
    let Some(broker) = or_skip(started) else { return };
    let taken = taken.into_inner().unwrap().local_addr().unwrap().port();
    assert_ne!(broker.port, taken);
    let answer =
        Command::new("mosquitto_pub").args(["-p", &broker.port.to_string(), "-q", "1", "-t", "a", "-m", "b"]).output();
    assert!(answer.unwrap().status.success());
}

#[test]
fn influx_keeps_what_it_answered_for() {
    let folder = tempfile::tempdir().unwrap();
    let started = Influx::start_with_user(folder.path(), "writer", "secret");
    let Some(mut influx) = or_skip(started) else { return };
    influx.database("one").unwrap();
    let write = |influx: &Influx, password: &str, line: &str| {
        let url = format!("{}/write?db=one&u=writer&p={password}", influx.url());
        ureq::post(url).send(line).map(|answer| answer.status().as_u16())
    };
    assert_eq!(write(&influx, "secret", "glucose,device=pump-1 v=104 1790000000000000000").unwrap(), 204);
    assert!(write(&influx, "wrong", "glucose,device=pump-1 v=105 1790000001000000000").is_err());

    influx.kill().unwrap();
    assert!(influx.query("one", "select v from glucose").is_err(), "nobody answers");
    influx.restart().unwrap();
    let rows = influx.query("one", "select v from glucose").unwrap();
    assert_eq!(rows["series"][0]["values"], serde_json::json!([[1_790_000_000_000_000_000_i64, 104]]), "{rows}");
}

#[test]
fn moto_takes_records_and_forgets_them_when_killed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut moto) = or_skip(Moto::start(folder.path())) else { return };
    let database = serde_json::json!({"DatabaseName": "one"});
    let table = serde_json::json!({"DatabaseName": "one", "TableName": "reading"});
    let record = serde_json::json!({
        "Dimensions": [{"Name": "device", "Value": "pump-1"}], "MeasureName": "glucose", "MeasureValueType": "MULTI",
        "MeasureValues": [{"Name": "v", "Value": "104", "Type": "DOUBLE"}], "Time": "1790000000000",
    });
    let records = serde_json::json!({"DatabaseName": "one", "TableName": "reading", "Records": [record.clone()]});
    let refused = moto.call("WriteRecords", &records).unwrap_err();
    assert!(format!("{refused:#}").contains("ResourceNotFoundException"), "{refused:#}");
    moto.call("CreateDatabase", &database).unwrap();
    moto.call("CreateTable", &table).unwrap();
    assert_eq!(moto.call("WriteRecords", &records).unwrap()["RecordsIngested"]["Total"], 1);
    assert_eq!(moto.records("one", "reading").unwrap(), [record]);

    moto.kill().unwrap();
    assert!(moto.call("ListDatabases", &serde_json::json!({})).is_err(), "nobody answers");
    moto.restart().unwrap();
    let listed = moto.call("ListDatabases", &serde_json::json!({})).unwrap();
    assert_eq!(listed["Databases"].as_array().unwrap().len(), 0, "{listed}");
}
