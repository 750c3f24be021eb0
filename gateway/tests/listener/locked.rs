//! The whole gateway above a database that another program has locked.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proto::Channel;
use rcgen::ExtendedKeyUsagePurpose;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tributary_gateway::config::Config;

use crate::pki::Pki;
use crate::rig::{Raw, connect, publish, topic};

/// Longer than the listener's grace and SQLite's patience with a lock together.
const PATIENCE: Duration = Duration::from_secs(30);

fn configuration(pki: &Pki, store: &std::path::Path) -> Config {
    let own = pki.leaf("localhost", 1, ExtendedKeyUsagePurpose::ServerAuth, 2100);
    std::fs::set_permissions(&own.key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let [certificate, key, authority] =
        [own.certificate_file, own.key_file, pki.root_file()].map(|file| file.display().to_string());
    toml::from_str(&format!(
        "[listener]\naddress = '127.0.0.1:0'\ncertificate_file = '{certificate}'\nkey_file = '{key}'\n\
         authority_file = '{authority}'\n[http]\naddress = '127.0.0.1:0'\n[store]\npath = '{}'",
        store.display()
    ))
    .unwrap()
}

#[tokio::test]
async fn a_gateway_that_is_told_to_end_ends_although_its_store_takes_nothing() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("gateway.db");
    let (stop, (ready, is_ready)) = (CancellationToken::new(), oneshot::channel());
    let announce = |addresses| ready.send(addresses).expect("somebody waits");
    let running = tokio::spawn(tributary_gateway::run(configuration(&pki, &path), stop.clone(), announce));
    let addresses = timeout(PATIENCE, is_ready).await.unwrap().expect("it starts");
    let mut meter = Raw::connect(addresses.mqtt, pki.client(Some(pki.device("meter-7")))).await.unwrap();
    meter.send(&connect(4, "meter-7", 60, None)).await;
    assert_eq!(meter.packet().await, (0x20, vec![0, 0]));
    let other = rusqlite::Connection::open(&path).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("begin immediate").unwrap();
    meter.send(&publish(4, &topic("meter-7", Channel::Batch), Some(1), 0, b"no frame")).await;
    assert!(meter.is_quiet().await, "no PUBACK");
    stop.cancel();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, meter.stream.read_to_end(&mut rest)).await.expect("it hangs up"); // well or with a reset
    assert!(rest.is_empty(), "nor one in the end: {rest:?}");
    timeout(PATIENCE, running).await.expect("it ends").unwrap().unwrap();
    other.execute_batch("rollback").unwrap();
    let kept: i64 = other.query_row("select count(*) from quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0, "what was not acknowledged is with the device");
}
