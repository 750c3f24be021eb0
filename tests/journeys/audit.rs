//! The audit trail of real gateways: what real devices do to it, and what its operator sees.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::database::Shared;
use harness::mqtt::{Packet, Stream};
use harness::pki::Files;
use harness::servers::{Edition, Postgres, or_skip};
use harness::small_disk::SmallDisk;
use harness::speaker::Speaker;
use harness::world::Random;
use harness::{Cloud, Gateway, Pki, wait_for};
use serde_json::Value;

/// For a denial to be seen by whoever looks.
const SOON: Duration = Duration::from_secs(20);
/// For a gateway to notice that its files are others.
const RENEWED: Duration = Duration::from_secs(20);
/// For a machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects, and publishes where it has no right to; the gateway ends the connection.
fn is_denied(port: u16, files: &Files, device: &str, topic: &str) -> Option<()> {
    let mut stream = Stream::connect(port, files).ok()?;
    stream.send(&Packet::Connect { client: device.to_owned(), clean: true, keep_alive_s: 60 }).ok()?;
    if !matches!(stream.wait(PATIENCE).ok()?, Packet::ConnAck { code: 0, .. }) {
        return None;
    }
    let (topic, payload) = (topic.to_owned(), b"a value that is nobody's business".to_vec());
    stream.send(&Packet::Publish { topic, id: Some(1), dup: false, retain: false, payload }).ok()?;
    assert!(stream.wait(PATIENCE).is_err(), "MQTT 3.1.1 has no other way to say no");
    Some(())
}

/// What `audit list` shows about `device`.
fn list(gateway: &Gateway, device: &str) -> Vec<Value> {
    let listed = gateway.ask(&["audit", "list", "--json", "--limit", "10000", "--device", device]);
    assert!(listed.status.success(), "{listed:?}");
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// What `audit verify` says of a trail that is whole.
fn whole(gateway: &Gateway) -> String {
    let verified = gateway.ask(&["audit", "verify"]);
    let said = said(&verified);
    assert!(verified.status.success() && said.contains(", chain whole, head "), "{said}");
    said
}

fn stop(gateway: &mut Gateway) {
    assert!(gateway.process.take().unwrap().terminate().success());
}

#[test]
fn what_a_device_is_denied_and_who_was_cut_off_is_listed_within_seconds_and_every_change_to_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let mut gateway = Gateway::prepare(&folder.path().join("gateway"), pki.server(), "");
    gateway.crl = Some(pki.crl());
    gateway.restart();
    let files = [pki.device("meter-7"), pki.device("stolen-1")];
    let began = Instant::now();
    is_denied(gateway.mqtt_port, &files[0], "meter-7", "trib/1/meter-8/batch").unwrap();
    let denied = wait_for("the denial to be listed", SOON, || list(&gateway, "meter-7").into_iter().next());
    println!("listed within {:?}", began.elapsed());
    assert_eq!((&denied["event"], &denied["actor"]), (&"denied_publish".into(), &"device meter-7".into()));
    assert_eq!(denied["detail"]["topic"], "trib/1/meter-8/batch");
    assert!(!denied.to_string().contains("nobody's business"), "{denied}");

    let mut live = Stream::connect(gateway.mqtt_port, &files[1]).unwrap();
    live.send(&Packet::Connect { client: "stolen-1".to_owned(), clean: true, keep_alive_s: 60 }).unwrap();
    live.wait(PATIENCE).unwrap();
    pki.revoke("stolen-1");
    let cut = wait_for("the cut to be listed", RENEWED, || list(&gateway, "stolen-1").into_iter().next());
    assert_eq!((&cut["event"], &cut["actor"]), (&"revoked".into(), &"gateway".into()));
    assert!(cut["detail"]["serial"].as_str().is_some_and(|serial| !serial.is_empty()), "{cut}");
    let all = said(&gateway.ask(&["audit", "list"]));
    assert!(all.contains("settings_changed") && all.contains("were read again"), "{all}");
    whole(&gateway);

    stop(&mut gateway);
    let said_whole = whole(&gateway);
    assert!(said_whole.contains("checkpoints that agree: 1"), "its end is known elsewhere: {said_whole}");
    let head = list(&gateway, "stolen-1").last().unwrap()["sequence"].as_i64().unwrap();
    let db = rusqlite::Connection::open(gateway.database()).unwrap();
    db.execute_batch(
        "create temp table original as select * from audit;
         drop trigger audit_is_not_changed; drop trigger audit_is_not_cut",
    )
    .unwrap();
    let tampered = [
        ("update audit set subject = 'meter-9' where sequence = 1".to_owned(), "entry 1 was edited".to_owned()),
        ("delete from audit where sequence = 1".to_owned(), "entry 1 was removed".to_owned()),
        (format!("delete from audit where sequence >= {head}"), format!("entry {head} was cut off")),
    ];
    for (sql, words) in tampered {
        db.execute_batch(&sql).unwrap();
        let verified = gateway.ask(&["audit", "verify"]);
        let said = said(&verified);
        assert!(verified.status.code() == Some(1) && said.contains(&words), "{sql}: {said}");
        db.execute_batch("delete from audit; insert into audit select * from original").unwrap();
    }
    whole(&gateway);
    std::fs::remove_file(gateway.checkpoints()).unwrap();
    let without = gateway.ask(&["audit", "verify"]);
    assert!(without.status.code() == Some(1) && said(&without).contains("audit.checkpoint_file"), "{without:?}");
}

#[test]
fn a_gateway_killed_while_devices_are_denied_leaves_a_whole_chain() {
    const SEED: u64 = 20_260_301;
    let (folder, mut random) = (tempfile::tempdir().unwrap(), Random::new(SEED));
    println!("seed {SEED}");
    let pki = Pki::create(&folder.path().join("pki"));
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let names: Vec<String> = (0..4).map(|place| format!("meter-{place}")).collect();
    let files: Vec<Files> = names.iter().map(|name| pki.device(name)).collect();
    let mut listed = 0;
    for _ in 0..6 {
        let port = gateway.mqtt_port;
        std::thread::scope(|scope| {
            for (name, files) in names.iter().zip(&files) {
                // Until it dies.
                scope.spawn(move || while is_denied(port, files, name, "trib/1/nobody/batch").is_some() {});
            }
            wait_for("a denial to be listed", PATIENCE, || (all(&gateway) > listed).then_some(()));
            std::thread::sleep(random.millis(1, 400));
            gateway.kill();
        });
        let said = whole(&gateway);
        println!("{}", said.lines().next().unwrap());
        assert!(all(&gateway) > listed, "what was there stayed");
        listed = all(&gateway);
        gateway.restart();
    }
    stop(&mut gateway);
    whole(&gateway);
}

/// How many entries are listed.
fn all(gateway: &Gateway) -> usize {
    said(&gateway.ask(&["audit", "list", "--limit", "10000"])).lines().count()
}

#[test]
fn a_full_disk_holds_the_trail_up_and_leaves_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&folder.path().join("disk"), 64) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: no disk to fill: {why}"),
    };
    let pki = Pki::create(&folder.path().join("pki"));
    let mut gateway = Gateway::start(&disk.path, pki.server(), "");
    let files = [pki.device("meter-7"), pki.device("meter-8")];
    is_denied(gateway.mqtt_port, &files[0], "meter-7", "trib/1/nobody/batch").unwrap();
    wait_for("the first denial", SOON, || list(&gateway, "meter-7").into_iter().next());
    disk.fill().unwrap();
    is_denied(gateway.mqtt_port, &files[1], "meter-8", "trib/1/nobody/batch").unwrap();
    wait_for("the trail to fail", PATIENCE, || {
        (metric(&gateway, "tributary_audit_failures_total") > 0.0).then_some(())
    });
    assert_eq!(list(&gateway, "meter-8").len(), 0);
    disk.free().unwrap();
    wait_for("what was kept meanwhile", PATIENCE, || list(&gateway, "meter-8").into_iter().next());
    assert!(metric(&gateway, "tributary_audit_dropped_total") == 0.0, "nothing was lost");
    stop(&mut gateway);
    assert!(whole(&gateway).contains("checkpoints that agree: 1"));
}

fn metric(gateway: &Gateway, name: &str) -> f64 {
    let text = ureq::get(format!("{}/metrics", gateway.http)).call().unwrap().body_mut().read_to_string().unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
}

#[test]
fn gateways_that_share_a_server_keep_one_trail_and_each_knows_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("postgres"), Edition::Plain15)) else { return };
    let pki = Pki::create(&folder.path().join("pki"));
    let own = pki.server();
    let shared = Shared::prepare(&server, "trail", &folder.path().join("shared"), &own).unwrap();
    let tables = [String::new(), String::new()];
    let mut cloud = Cloud::start_many(&folder.path().join("cloud"), &own, &shared, &tables);
    let names: Vec<String> = (0..6).map(|place| format!("meter-{place}")).collect();
    let files: Vec<Files> = names.iter().map(|name| pki.device(name)).collect();
    let ports = [cloud.gateway.mqtt_port, cloud.others[0].mqtt_port];
    std::thread::scope(|scope| {
        for ((name, files), port) in names.iter().zip(&files).zip(ports.iter().cycle()) {
            scope.spawn(move || is_denied(*port, files, name, "trib/1/nobody/batch").unwrap());
        }
    });
    for gateway in cloud.gateways() {
        wait_for("all denials, whoever asks", PATIENCE, || (all(gateway) == names.len()).then_some(()));
        whole(gateway);
    }
    let mut gateways: Vec<&mut Gateway> = cloud.gateways().collect();
    gateways.iter_mut().for_each(|gateway| stop(gateway));
    let other = gateways[1].checkpoints();
    let verified = gateways[0].ask(&["audit", "verify", "--checkpoints", text(&other)]);
    // Both have seen the same last entry, or the first to stop an earlier one: each line is one that agrees.
    assert!(verified.status.success() && said(&verified).contains("checkpoints that agree: "), "{verified:?}");
    for gateway in &gateways {
        assert_eq!(std::fs::read_to_string(gateway.checkpoints()).unwrap().lines().count(), 1, "at its end");
    }
    let admin = server.admin_of("trail").unwrap();
    admin.run("alter table audit disable trigger user").unwrap();
    admin.run("delete from audit where sequence = 6").unwrap();
    let verified = gateways[0].ask(&["audit", "verify"]);
    assert!(verified.status.code() == Some(1) && said(&verified).contains("entry 6 was cut off"), "{verified:?}");
}

#[test]
fn readings_are_committed_while_somebody_on_the_server_holds_the_trail_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("postgres"), Edition::Plain15)) else { return };
    let pki = Pki::create(&folder.path().join("pki"));
    let own = pki.server();
    let shared = Shared::prepare(&server, "held", &folder.path().join("shared"), &own).unwrap();
    let cloud = Cloud::start_many(&folder.path().join("cloud"), &own, &shared, &[String::new()]);
    let (gateway, files) = (&cloud.gateway, [pki.device("meter-7"), pki.device("meter-8")]);
    let mut speaker = Speaker::connect(gateway.mqtt_port, &files[0], "meter-7").unwrap();
    let mut commit = |number: u32| {
        let pack = format!("[{{\"n\":\"power\",\"u\":\"W\",\"v\":{number},\"t\":{}}}]", 1_772_323_200 + number);
        speaker.publish(proto::Channel::Senml, pack.into_bytes(), false).unwrap();
        speaker.settle().unwrap();
    };
    (0..50).for_each(&mut commit);
    // As a gateway would that stands still in the middle of an append.
    let holder = server.admin_of("held").unwrap();
    holder.run("select pg_advisory_lock(7264193503)").unwrap();
    is_denied(gateway.mqtt_port, &files[1], "meter-8", "trib/1/nobody/batch").unwrap();
    let judge = server.admin_of("held").unwrap();
    // One wait of the trail's, told by when it began; it gives up after 5 s and begins anew.
    let wait = || {
        let since = "select query_start::text from pg_stat_activity where application_name = 'tributary audit' \
                     and wait_event_type = 'Lock'";
        judge.rows(since).unwrap().first().and_then(|row| row[0].clone())
    };
    wait_for("the trail to be held up", PATIENCE, wait);
    let (others, is_over) = (server.admin_of("held").unwrap(), AtomicBool::new(false));
    let (within_one, beside) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let waiting = "select count(*) from pg_locks join pg_stat_activity using (pid) where not granted \
                           and classid::bigint << 32 | objid::bigint = 7264193503 and application_name <> 'tributary audit'";
            let look = || others.number(waiting).unwrap();
            std::iter::repeat_with(look).take_while(|_| !is_over.load(Ordering::Relaxed)).max().unwrap_or_default()
        });
        let within_one = (50..100).filter(|number| {
            let before = wait();
            commit(*number);
            before.is_some() && wait() == before
        });
        let within_one = within_one.count();
        is_over.store(true, Ordering::Relaxed);
        (within_one, looking.join().unwrap())
    });
    println!("{within_one} of 50 commits began and ended within one wait of the trail's");
    assert!(within_one >= 5, "{within_one} of 50 commits did not wait for the trail");
    assert_eq!(beside, 0, "somebody else waits for what the trail waits for");
    assert_eq!(server.admin_of("held").unwrap().number("select count(*) from reading").unwrap(), 100);
    wait_for("the trail to fail", PATIENCE, || (metric(gateway, "tributary_audit_failures_total") > 0.0).then_some(()));
    assert_eq!(list(gateway, "meter-8").len(), 0);
    drop(holder);
    wait_for("what was kept meanwhile", PATIENCE, || list(gateway, "meter-8").into_iter().next());
    whole(gateway);
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
