//! Roles that may not do what they have to: from the start, or from some moment on.

use std::time::{Duration, Instant};

use harness::database::Shared;
use harness::device::Shape;
use harness::oracle::Allowed;
use harness::servers::postgres::roles::{INGEST, MIGRATE, QUERY};
use harness::servers::{Edition, Postgres, or_skip};
use harness::{Cloud, Gateway, Pki, World, wait_for};

use super::{SOON, good, private, refuses, with};

/// How long a right is missing while readings come in: the gateway tries again twice a second.
const WITHOUT: Duration = Duration::from_secs(4);
/// What the gateway says of a store that takes nothing.
const COMPLAINT: &str = "the store takes nothing";

#[test]
fn a_role_that_may_not_is_told_what_it_lacks_and_who_grants_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("server"), Edition::Plain15)) else { return };
    let (files, gateway, shared) = good(folder.path(), &server);
    let mut good_one = Gateway::prepare(&folder.path().join("good"), files.clone(), "");
    good_one.store = gateway.store.clone();
    let admin = server.admin_of("cloud").unwrap();

    // `table` with another role in it, and that one's password.
    let by = |table: &str, setting: &str, role: &str| {
        let file = folder.path().join(format!("{setting} of {role}"));
        private(&file, &server.password_of(role));
        let table = with(table, setting, &format!("{role:?}"));
        with(&table, &setting.replace("user", "password_file"), &format!("{file:?}"))
    };
    let says = |what: &str, table: &str, words: &[&str]| refuses(&gateway, &server, what, table, words);
    let good = shared.table();

    // One that reads only, and one that may nothing but come in.
    let fix = ["roles.sql", "superuser", "make `user` that role"];
    says(
        "run",
        &by(good, "user", QUERY),
        &[&["role tributary_query lacks insert on table reading"][..], &fix].concat(),
    );
    server.login("visitor", &server.password_of("visitor")).unwrap();
    admin.run("grant connect on database cloud to visitor").unwrap();
    says("run", &by(good, "user", "visitor"), &[&["role visitor lacks insert on table reading"][..], &fix].concat());
    admin.run("revoke usage on schema public from public").unwrap();
    says("run", &by(good, "user", "visitor"), &["lacks usage on schema public", "rights more"]);
    server.login("outsider", &server.password_of("outsider")).unwrap();
    says("run", &by(good, "user", "outsider"), &["permission denied for database", "roles.sql"]);

    // The right one, with one right less; roles.sql grants it again.
    for (lost, on) in [
        ("delete", "table rollup_mark"),
        ("usage", "sequence commit_number"),
        ("execute", "function ensure_reading_room"),
    ] {
        admin.run(&format!("revoke {lost} on {} from {INGEST}", on.trim_start_matches("table "))).unwrap();
        says("run", good, &[&format!("role {INGEST} lacks {lost} on {on}; "), "roles.sql", "superuser"]);
        server.make_roles("cloud").unwrap();
        good_one.restart_and_stop();
    }
    let who = format!("has_table_privilege('{INGEST}', 'migration', 'insert')");
    assert_eq!(admin.value(&format!("select {who}")).unwrap(), "f", "and no more than that");

    // Tables may be made and changed by their owner alone.
    server.database("empty").unwrap();
    server.make_roles("empty").unwrap();
    let empty = with(good, "database", "\"empty\"");
    let words =
        ["tributary_ingest may not make tables in schema public", "`migrate_user` tributary_migrate", "roles.sql"];
    says("migrate", &by(&empty, "migrate_user", INGEST), &words);
    let words =
        ["belong to tributary_migrate", "tributary_ingest may not change them", "`migrate_user` tributary_migrate"];
    says("migrate", &by(good, "migrate_user", INGEST), &words);

    // Tables that the superuser made.
    let mut of_superuser = Gateway::prepare(&folder.path().join("other"), files, "");
    let own = folder.path().join("superuser");
    private(&own, server.password());
    let table = with(&with(&empty, "migrate_user", "\"postgres\""), "migrate_password_file", &format!("{own:?}"));
    of_superuser.store = Some(table);
    assert!(of_superuser.command("migrate").status.success());
    says("migrate", &empty, &[&format!("{MIGRATE} may not change what is there"), "belong to postgres", "owner to"]);
    says(
        "run",
        &empty,
        &["lacks insert on table reading", "belong to postgres", "owner to tributary_migrate", "roles.sql"],
    );
}

#[test]
fn a_right_that_is_revoked_stops_acknowledgements_is_said_once_and_is_made_up_for_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = or_skip(Postgres::start(&folder.path().join("server"), Edition::Plain15)) else { return };
    let pki = Pki::create(&folder.path().join("pki"));
    let files = pki.server();
    let shared = Shared::prepare(&server, "cloud", &folder.path().join("shared"), &files).unwrap();
    let cloud = Cloud::start_many(&folder.path().join("cloud"), &files, &shared, &[String::new()]);
    let mut world = World::around(folder.path(), 1, pki, cloud);
    let device = world.add("meter-1", &Shape::default());
    device.input.offer(500).unwrap();
    device.start();
    world.cloud.wait_for_first("meter-1", SOON);
    let admin = server.admin_of("cloud").unwrap();
    assert_eq!((failing(&world.cloud.gateway), is_ready(&world.cloud.gateway)), (Some("0".into()), true));

    admin.run(&format!("revoke insert on reading from {INGEST}")).unwrap();
    let readings = || admin.number("select count(*) from reading").unwrap();
    wait_for("the gateway to notice", SOON, || {
        world.devices[0].input.send();
        (failing(&world.cloud.gateway)? == "1").then_some(())
    });
    let (there, began) = (readings(), Instant::now());
    while began.elapsed() < WITHOUT {
        world.devices[0].input.send();
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!is_ready(&world.cloud.gateway), "who operates it can see it");
    assert_eq!(readings(), there, "nothing is written");
    assert!(world.devices[0].early_receipts(&world.cloud).unwrap().is_empty());
    let log = world.cloud.gateway.process.as_ref().unwrap().log_text();
    let said: Vec<&str> = log.lines().filter(|line| line.contains(COMPLAINT)).collect();
    println!("{said:#?}");
    assert_eq!(said.len(), 1, "once, though it was tried at least {} times", WITHOUT.as_secs() * 2 - 2);
    for word in [INGEST, "permission denied for table reading", "roles.sql"] {
        assert!(said[0].contains(word), "no `{word}` in: {}", said[0]);
    }
    assert!(log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count() < 5, "{log}");

    admin.run(&format!("grant insert on reading to {INGEST}")).unwrap();
    world.devices[0].input.send();
    assert!(world.settle(SOON).unwrap(), "not all arrived:\n{}", world.devices[0].log_tail());
    let ruling = world.judge(Allowed::default()).unwrap();
    println!("{ruling}");
    assert!(ruling.is_clean() && ruling.named == 0, "{ruling}");
    assert!(readings() > there);
    assert_eq!((failing(&world.cloud.gateway), is_ready(&world.cloud.gateway)), (Some("0".into()), true));
    let log = world.cloud.gateway.process.as_ref().unwrap().log_text();
    assert!(log.contains("the store takes readings again"), "{log}");
}

/// Whether the store takes nothing, as the gateway's metrics have it.
fn failing(gateway: &Gateway) -> Option<String> {
    let text = ureq::get(format!("{}/metrics", gateway.http)).call().ok()?.body_mut().read_to_string().ok()?;
    text.lines().find_map(|line| line.strip_prefix("tributary_store_failing ").map(str::to_owned))
}

fn is_ready(gateway: &Gateway) -> bool {
    gateway.get("/readyz").is_ok_and(|answer| answer["ready"] == true)
}
