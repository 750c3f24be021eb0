//! A store that cannot be used is refused in words that say what to do, and in none that say the password; one that fills
//! its disk is told nothing that it does not have.

mod rights;
mod timescale;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::database::Shared;
use harness::device::Shape;
use harness::oracle::Allowed;
use harness::pki::Files;
use harness::servers::postgres::roles::{INGEST, MIGRATE, QUERY};
use harness::servers::{Edition, Postgres, free_port, or_skip};
use harness::small_disk::SmallDisk;
use harness::{Cloud, Gateway, Pki, World, wait_for};

/// For a gateway to give up.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(40);
/// For what was held up to arrive.
const SOON: Duration = Duration::from_secs(90);

/// The gateway's words, having refused to `run` or to `migrate`: it has ended by itself, as one that failed.
fn refusal(gateway: &Gateway, what: &str, table: &str) -> String {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let (before, _) = text.split_once("[store]").unwrap();
    let config = gateway.config().with_extension("bad.toml");
    std::fs::write(&config, format!("{before}{table}")).unwrap();
    let mut command = Command::new(harness::binary("tributary-gateway"));
    command.args([what, "--config"]).arg(&config).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > REFUSAL_DEADLINE {
            child.kill().unwrap();
            panic!("it runs: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(status.code(), Some(1), "{status}: {said}");
    println!("{what}: {}", said.lines().last().unwrap_or_default());
    said
}

/// Fails unless the gateway refuses `what` with all of `words`, and no password.
fn refuses(gateway: &Gateway, server: &Postgres, what: &str, table: &str, words: &[&str]) {
    let said = refusal(gateway, what, table);
    for word in words {
        assert!(said.contains(word), "{what}: no `{word}` in: {said}");
    }
    let of_roles = [INGEST, MIGRATE, QUERY].map(|role| server.password_of(role));
    let secrets = of_roles.iter().map(String::as_str).chain([server.password(), "open-sesame"]);
    secrets.for_each(|secret| assert!(!said.contains(secret), "{what}: a password in: {said}"));
}

/// `table` with another value for a setting that is in it, or with one more.
fn with(table: &str, setting: &str, value: &str) -> String {
    let others = table.lines().filter(|line| line.split_once(" = ").is_none_or(|(name, _)| name != setting));
    others.map(|line| format!("{line}\n")).collect::<String>() + &format!("{setting} = {value}\n")
}

/// A file that only its owner may read.
fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A gateway that has not started, on a database of `server` that nothing is wrong with.
fn good(folder: &Path, server: &Postgres) -> (Files, Gateway, Shared) {
    let files = Pki::create(&folder.join("pki")).server();
    let mut gateway = Gateway::prepare(&folder.join("gateway"), files.clone(), "");
    let shared = Shared::prepare(server, "cloud", &folder.join("shared"), &files).unwrap();
    gateway.store = Some(shared.table().to_owned());
    assert!(gateway.command("check-config").status.success());
    (files, gateway, shared)
}

#[test]
fn a_postgres_that_cannot_be_used_is_refused_with_what_to_do_and_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("server"), Edition::Plain15)) else { return };
    let (_, mut gateway, shared) = good(folder.path(), &server);
    let wrong = folder.path().join("wrong");
    private(&wrong, "open-sesame\n");
    let expect = |what: &str, table: &str, words: &[&str]| {
        println!("{what}:");
        refuses(&gateway, &server, "run", table, words);
    };
    let good = shared.table();
    let with = |setting: &str, value: &str| with(good, setting, value);
    let nobody = with("host", "\"no-such-host.invalid\"") + "tls = \"disable\"\n";
    expect("an unknown host", &nobody, &["no-such-host.invalid", "check `host`"]);
    expect(
        "a port where nobody listens",
        &with("port", &free_port().to_string()),
        &["refused", "check `host`, `port`"],
    );
    expect("a wrong password", &with("password_file", &format!("{wrong:?}")), &["password", "password_file"]);
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = ["`store.postgres.password_file`", "mode 0644", "chmod 600", "replace the secret"];
    expect("a password that others may read", &with("password_file", &format!("{wrong:?}")), &open);
    expect("an unknown user", &with("user", "\"mallory\""), &["mallory", "check `user`"]);
    expect("an unknown database", &with("database", "\"nowhere\""), &["nowhere", "migrate"]);
    server.database("empty").unwrap();
    expect("no schema", &with("database", "\"empty\""), &["no tables yet", "tributary-gateway migrate"]);

    let admin = server.admin_of("cloud").unwrap();
    let newest = admin.number("select max(version) from migration").unwrap();
    admin.run(&format!("update migration set version = 1000 where version = {newest}")).unwrap();
    expect("a newer schema", good, &["schema 1000", "newer gateway"]);
    admin.run("delete from migration where version = 1000").unwrap();
    expect("an older schema", good, &[&format!("schema {}", newest - 1), "tributary-gateway migrate"]);
    admin.run(&format!("insert into migration (version) values ({newest})")).unwrap();

    for (setting, words) in [
        ("default_transaction_read_only = on", ["read-only", "turn that off"]),
        ("synchronous_commit = off", ["synchronous_commit = off", "turn it on"]),
    ] {
        let name = setting.split(' ').next().unwrap();
        admin.run(&format!("alter database cloud set {setting}")).unwrap();
        expect(setting, good, &words);
        admin.run(&format!("set default_transaction_read_only = off; alter database cloud reset {name}")).unwrap();
    }
    admin.run("alter system set fsync = off").unwrap();
    admin.run("select pg_reload_conf()").unwrap();
    wait_for("fsync to be off", Duration::from_secs(20), || {
        (server.admin().ok()?.value("show fsync").ok()? == "off").then_some(())
    });
    expect("fsync = off", good, &["fsync = off", "turn it on"]);
    admin.run("alter system reset fsync").unwrap();
    admin.run("select pg_reload_conf()").unwrap();

    drop(admin);
    server.pause();
    expect("a server that does not answer", good, &["no answer within", "check `host` and `port`"]);
    server.resume();
    gateway.restart(); // nothing was wrong with the rest
}

#[test]
fn a_postgres_whose_disk_is_full_is_told_nothing_that_it_does_not_have_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = match SmallDisk::mount(&folder.path().join("disk"), 192) {
        Ok(disk) => disk,
        Err(reason) => return println!("skipped: {reason}"),
    };
    std::fs::set_permissions(&disk.path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some(mut server) = or_skip(Postgres::start(&disk.path.join("server"), Edition::Plain15)) else { return };
    let pki = Pki::create(&folder.path().join("pki"));
    let files = pki.server();
    let shared = Shared::prepare(&server, "cloud", &folder.path().join("shared"), &files).unwrap();
    let cloud = Cloud::start_many(&folder.path().join("cloud"), &files, &shared, &[String::new()]);
    let mut world = World::around(folder.path(), 1, pki, cloud);
    let device = world.add("meter-1", &Shape::default());
    device.input.offer(2_000).unwrap();
    device.start();
    world.cloud.wait_for_first("meter-1", SOON);
    disk.fill().unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        world.devices[0].input.send();
        disk.fill().unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    disk.free().unwrap();
    server.restart().unwrap(); // it may have given up
    world.devices[0].input.send();
    assert!(world.devices[0].early_receipts(&world.cloud).unwrap().is_empty());
    assert!(world.settle(SOON).unwrap(), "not all arrived:\n{}", world.devices[0].log_tail());
    let ruling = world.judge(Allowed::default()).unwrap();
    println!("{ruling}");
    assert!(ruling.is_clean() && ruling.named == 0, "{ruling}");
}
