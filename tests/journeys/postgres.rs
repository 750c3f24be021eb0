//! Readings on their way into PostgreSQL.

use std::path::Path;
use std::time::Duration;

use harness::pty::Port;
use harness::servers::{Edition, Postgres, Sql, or_skip};
use harness::{Agent, Gateway, Pki, wait_for};

const ROLES: &str = include_str!("../../gateway/src/store/postgres/roles.sql");

/// A database as an administrator makes it, and the gateway's settings for it.
fn prepare(server: &Postgres, folder: &Path) -> (Sql, String) {
    let admin = Sql::connect(&server.database("tributary").unwrap()).unwrap();
    admin.run(ROLES).unwrap();
    let mut settings = format!("[store]\nkind = \"postgres\"\n[store.postgres]\nport = {}\n", server.port);
    for (role, setting) in [("tributary_ingest", "password_file"), ("tributary_migrate", "migrate_password_file")] {
        admin.run(&format!("alter role {role} password 'secret of {role}'")).unwrap();
        let file = folder.join(role);
        std::fs::write(&file, format!("secret of {role}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        settings.push_str(&format!("{setting} = {file:?}\n"));
    }
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
    let devices = gateway.get("/api/v1/devices").unwrap();
    assert!(devices.to_string().contains("meter-7"), "{devices}");
}

#[test]
fn readings_reach_postgres_and_their_device_hears_of_it() {
    readings_arrive(Edition::Plain15);
}
