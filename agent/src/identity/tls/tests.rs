//! Real handshakes with certificates of chosen validity, on devices of chosen clocks.

use std::path::Path;
use std::time::{Duration, SystemTime};

use certs::Authority;
use certs::key_file::create_private;
use proto::Instant;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;
use crate::identity::check::faults;
use crate::identity::configs::provider;
use crate::uplink::{KeySettings, Pace};

const DAY: Duration = Duration::from_secs(86_400);

#[allow(clippy::disallowed_methods, reason = "certificates that are valid now need to know when that is")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A gateway's side, with a certificate for `name` of one day from `from`, and a device that trusts the authority in
/// `folder/trusted`.
struct Rig {
    settings: Settings,
    gateway: Arc<ServerConfig>,
    _folder: tempfile::TempDir,
}

fn rig(name: &str, from: SystemTime, is_trusted: bool) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let authority =
        |name: &str| Authority::create(&folder.path().join(name), name, 3_000, now() - 1_000 * DAY).unwrap();
    let (trusted, other) = (authority("trusted"), authority("other"));
    let gateway = if is_trusted { &trusted } else { &other }.issue_server(&[name], 1, from).unwrap();
    let device = trusted.issue_device("meter-7", 1, now()).unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = |file: &str, pem: &str| {
        let path = folder.path().join(file);
        create_private(&path, pem.as_bytes()).unwrap();
        path
    };
    let settings = Settings {
        host: "localhost".to_owned(),
        port: 8883,
        authority_file: folder.path().join("trusted/ca.crt"),
        certificate_file: write("device.crt", &device.leaf.pem),
        key: KeySettings::File(key("device.key", &device.key_pem)),
        receipt_key_file: None,
        provisioning_template: None,
        pace: Pace::default(),
    };
    let gateway_key = certs::read_private_key(&key("gateway.key", &gateway.key_pem)).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![gateway.leaf.der], gateway_key)
        .unwrap();
    server.send_tls13_tickets = 2;
    Rig { settings, gateway: Arc::new(server), _folder: folder }
}

/// Shakes hands over memory; the error is the device's.
fn shake(config: Arc<ClientConfig>, gateway: &Arc<ServerConfig>) -> Result<rustls::HandshakeKind, rustls::Error> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut device = ClientConnection::new(config, name).unwrap();
    let mut gateway = ServerConnection::new(gateway.clone()).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        device.write_tls(&mut wire).unwrap();
        gateway.read_tls(&mut wire.as_slice()).unwrap();
        let _ = gateway.process_new_packets();
        let mut wire = Vec::new();
        gateway.write_tls(&mut wire).unwrap();
        device.read_tls(&mut wire.as_slice()).unwrap();
        device.process_new_packets()?;
    }
    Ok(device.handshake_kind().unwrap())
}

fn instant(at: SystemTime) -> Instant {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Instant(i64::try_from(since.as_micros()).unwrap())
}

#[test]
fn a_device_in_1970_connects_once_by_the_certificates_own_time_and_then_by_what_it_learned() {
    let rig = rig("localhost", now() - Duration::from_secs(60), true);
    let clock = Arc::new(BootClock::in_1970());
    let tls = Tls::open(&rig.settings, clock.clone()).unwrap();
    assert_eq!(shake(tls.current(), &rig.gateway).unwrap(), rustls::HandshakeKind::Full);
    clock.learn(clock.now(), instant(now()));
    assert_eq!(shake(tls.current(), &rig.gateway).unwrap(), rustls::HandshakeKind::Full, "shown again, not resumed");
    assert_eq!(shake(tls.current(), &rig.gateway).unwrap(), rustls::HandshakeKind::Resumed, "as always from then on");
}

#[test]
fn an_expired_certificate_is_refused_as_soon_as_the_time_is_known() {
    let rig = rig("localhost", now() - 3 * DAY, true);
    let clock = Arc::new(BootClock::in_1970());
    let tls = Tls::open(&rig.settings, clock.clone()).unwrap();
    shake(tls.current(), &rig.gateway).unwrap();
    clock.learn(clock.now(), instant(now()));
    let refused = shake(tls.current(), &rig.gateway).unwrap_err();
    assert!(refused.to_string().contains("expired"), "{refused}");
    let set = Tls::open(&rig.settings, Arc::new(BootClock::start([1; 8]))).unwrap();
    assert!(shake(set.current(), &rig.gateway).is_err(), "nor by a device whose clock was set all along");
}

#[test]
fn without_a_time_name_and_authority_are_judged_as_strictly_as_ever() {
    let from = now() - Duration::from_secs(60);
    for rig in [rig("elsewhere", from, true), rig("localhost", from, false)] {
        let tls = Tls::open(&rig.settings, Arc::new(BootClock::in_1970())).unwrap();
        assert!(shake(tls.current(), &rig.gateway).is_err());
    }
}

#[test]
fn a_wall_clock_that_was_wrong_at_start_and_is_right_by_now_costs_no_connection() {
    let rig = rig("localhost", now() - Duration::from_secs(60), true);
    for wrong in [now() - 200 * DAY, now() + 4_000 * DAY] {
        let clock = Arc::new(BootClock::in_1970());
        clock.learn(clock.now(), instant(wrong));
        let tls = Tls::open(&rig.settings, clock).unwrap();
        shake(tls.current(), &rig.gateway).unwrap();
    }
}

#[test]
fn all_that_is_wrong_with_files_is_said_with_setting_file_and_what_to_do_and_what_is_right_is_not() {
    let rig = rig("localhost", now(), true);
    let said = |settings: &Settings, device: &str| -> Vec<String> {
        faults(settings, &device.parse().unwrap()).iter().map(|fault| format!("{fault:#}")).collect()
    };
    let mut settings = rig.settings.clone();
    assert_eq!(said(&settings, "meter-7"), Vec::<String>::new());
    let of_another = said(&settings, "meter-8");
    assert_eq!(of_another.len(), 1, "{of_another:?}");
    assert!(of_another[0].contains("is the certificate of meter-7, and `device.id` is meter-8"), "{of_another:?}");

    settings.authority_file = "/nowhere/ca.crt".into();
    settings.certificate_file = "/nowhere/device.crt".into();
    settings.receipt_key_file = Some("/nowhere/receipts.pub".into());
    let of_all = said(&settings, "meter-7");
    for (place, setting, remedy) in [
        (0, "`uplink.authority_file`: cannot open /nowhere/ca.crt", "copy the gateway's ca.crt"),
        (1, "`uplink.certificate_file`: cannot open /nowhere/device.crt", "run `tributary-agent enrol` first"),
        (2, "`uplink.receipt_key_file`: cannot open /nowhere/receipts.pub", "`enrol` brings it"),
    ] {
        let said = &of_all[place];
        assert!(said.starts_with(setting) && said.contains(remedy), "{said}");
        assert_eq!(said.matches("No such file").count(), 1, "{said}");
    }
    settings = Settings { key: KeySettings::File("/nowhere/device.key".into()), ..rig.settings.clone() };
    let of_key = said(&settings, "meter-7").join("");
    assert!(of_key.starts_with("`uplink.key_file`: cannot open /nowhere/device.key"), "{of_key}");
}

async fn config(tls: &Tls) -> Arc<ClientConfig> {
    tls.config().await.unwrap()
}

fn key_file(rig: &Rig) -> &Path {
    let KeySettings::File(file) = &rig.settings.key else { panic!("it is in a file") };
    file
}

/// Puts `other`'s file in the place of `rig`'s, as an installation does: whole, by its name.
fn install(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).unwrap();
    std::fs::rename(new, to).unwrap();
}

#[tokio::test]
async fn files_that_were_replaced_are_used_from_the_next_connection_on_once_they_go_together() {
    let from = now() - Duration::from_secs(60);
    let (old, new) = (rig("localhost", from, true), rig("localhost", from, true));
    let clock = Arc::new(BootClock::start([1; 8]));
    let tls = Tls::open(&old.settings, clock).unwrap();
    let same = config(&tls).await;
    assert!(Arc::ptr_eq(&same, &config(&tls).await), "nothing changed, so nothing was read");
    shake(same.clone(), &old.gateway).unwrap();
    assert!(shake(same, &new.gateway).is_err(), "another authority's");

    let both = [&old, &new].map(|rig| std::fs::read(&rig.settings.authority_file).unwrap()).concat();
    std::fs::write(&old.settings.authority_file, both).unwrap();
    shake(config(&tls).await, &old.gateway).unwrap();
    shake(config(&tls).await, &new.gateway).unwrap();

    let shown = |config: &Arc<ClientConfig>| {
        config.client_auth_cert_resolver.resolve(&[], &[rustls::SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap().cert
            [0]
        .clone()
    };
    let [was, is] = [&old, &new].map(|rig| certs::read_certificates(&rig.settings.certificate_file).unwrap().remove(0));
    install(&new.settings.certificate_file, &old.settings.certificate_file);
    assert_eq!(shown(&config(&tls).await), was, "the key is still that of the old certificate");
    install(key_file(&new), key_file(&old));
    assert_eq!(shown(&config(&tls).await), is);

    std::fs::write(&old.settings.authority_file, std::fs::read(&new.settings.authority_file).unwrap()).unwrap();
    assert!(shake(config(&tls).await, &old.gateway).is_err(), "the old authority is no longer trusted");
    shake(config(&tls).await, &new.gateway).unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_change_nothing_and_are_read_again_when_they_change_again() {
    let rig = rig("localhost", now() - Duration::from_secs(60), true);
    let tls = Tls::open(&rig.settings, Arc::new(BootClock::start([1; 8]))).unwrap();
    let used = config(&tls).await;
    for file in [&*rig.settings.authority_file, &rig.settings.certificate_file, key_file(&rig)] {
        let sound = std::fs::read(file).unwrap();
        for broken in [Some(&sound[..sound.len() / 2]), Some(b"".as_slice()), None] {
            match broken {
                Some(bytes) => std::fs::write(file, bytes).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
            assert!(Arc::ptr_eq(&used, &config(&tls).await), "{}", file.display());
        }
        certs::files::create(file, &sound, 0o600).unwrap();
        let again = config(&tls).await;
        assert!(!Arc::ptr_eq(&used, &again), "read again");
        shake(again, &rig.gateway).unwrap();
        tls.held().configs.usual = used.clone();
    }
}
