//! Who is let in.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tributary_gateway::audit::Auditor;
use tributary_gateway::enrol::cuts::{Cut, CutOff, Standing};
use tributary_gateway::enrol::{Claimant, Claims};
use tributary_gateway::ingest::Verdict;
use tributary_gateway::ingest::listener::{BindError, Listener, Settings};

use crate::pki::Pki;
use crate::rig::{Raw, Rig, connect, device, identify, publish, topic};
use proto::{Channel, Instant};

/// Connects with `client` and says hello. Under TLS 1.3 the refusal comes after the client's own handshake.
async fn is_refused(rig: &Rig, client: std::sync::Arc<rustls::ClientConfig>) -> bool {
    let Ok(mut raw) = Raw::connect(rig.address, client).await else { return true };
    let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &connect(4, "meter-7", 60, None)).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(crate::rig::PATIENCE, raw.stream.read_to_end(&mut answer)).await.expect("an end");
    answer.is_empty()
}

#[tokio::test]
async fn only_a_certificate_of_our_authority_for_clients_and_in_date_is_let_in() {
    let mut rig = Rig::start().await;
    let other = Pki::new();
    let refused = [
        rig.pki.client(None),
        rig.pki.client(Some(other.device("meter-7"))),
        rig.pki.client(Some(rig.pki.leaf("meter-7", 8, ServerAuth, 2100))),
        rig.pki.client(Some(rig.pki.leaf("meter-7", 9, ClientAuth, 2020))),
    ];
    for (number, client) in refused.into_iter().enumerate() {
        assert!(is_refused(&rig, client).await, "case {number}");
        assert_eq!(rig.counters.handshakes_failed.get(), number as u64 + 1);
    }
    let (_meter, _link) = rig.connect("meter-7", 4).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_in_the_handshake_and_never_resumed() {
    let mut rig = Rig::start().await;
    let client = rig.pki.client(Some(rig.pki.device("meter-7")));
    for _ in 0..2 {
        let mut raw = Raw::connect(rig.address, client.clone()).await.unwrap();
        raw.send(&connect(4, "meter-7", 60, None)).await;
        raw.packet().await;
        rig.opened().await;
        assert_eq!(raw.stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        raw.send(&[0xE0, 0]).await;
        rig.closed().await;
    }
    rig.control.set_tls(rig.pki.server(vec![rig.pki.crl(&[99])]));
    assert!(
        !is_refused(&rig, rig.pki.client(Some(rig.pki.device("meter-8")))).await
            || rig.counters.handshakes_failed.get() == 0
    );
    rig.control.set_tls(rig.pki.server(vec![rig.pki.crl(&[8])]));
    let (_meter, _link) = rig.connect("meter-7", 4).await;
    rig.control.set_tls(rig.pki.server(vec![rig.pki.crl(&[7])]));
    assert!(is_refused(&rig, client).await);
    assert_eq!(rig.counters.handshakes_failed.get(), 1);
    rig.stop().await;
}

/// Longer than all that expired here has been so.
const GRACE: Duration = Duration::from_secs(40 * 365 * 86_400);

#[tokio::test]
async fn an_expired_certificate_may_ask_for_the_next_one_within_the_grace_and_nothing_else() {
    let mut rig = Rig::start().await;
    rig.control.set_tls(rig.pki.server_with(vec![rig.pki.crl(&[])], Claims::with_grace(GRACE)));
    let client = rig.pki.client(Some(rig.pki.leaf("meter-7", 9, ClientAuth, 2025)));
    for (version, answer) in [(4, vec![0, 5]), (5, vec![0, 0x87, 0])] {
        for id in ["meter-7", "meter-8", ""] {
            let mut raw = Raw::connect(rig.address, client.clone()).await.unwrap();
            raw.send(&connect(version, id, 60, None)).await;
            assert_eq!(raw.packet().await, (0x20, answer.clone()), "{id}");
        }
    }
    let session = "claim-0011223344";
    let mut raw = Raw::connect(rig.address, client).await.unwrap();
    raw.send(&connect(5, session, 60, None)).await;
    assert_eq!(raw.packet().await.1[..2], [0, 0]);
    rig.opened().await;
    for (id, topic) in
        (1..).zip([topic("meter-7", Channel::Batch), topic("meter-7", Channel::Enrol), topic(session, Channel::Batch)])
    {
        raw.send(&publish(5, &topic, Some(id), 0, b"x")).await;
        assert_eq!(raw.packet().await, (0x40, [&id.to_be_bytes()[..], &[0x87]].concat()), "{topic}");
    }
    raw.send(&publish(5, &topic(session, Channel::Enrol), Some(9), 0, b"please")).await;
    let arrival = rig.arrived().await;
    assert_eq!(arrival.claim, Some(Claimant::Expired { device: device("meter-7"), serial: "09".into() }));
    arrival.ticket.settle(Verdict::Settled);
    raw.packet().await;
    let closed = rig.control.revoke(["09".to_owned()].into());
    assert_eq!(closed.len(), 1, "revoked, it is cut off like any other");
    rig.stop().await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_where_anything_else_is_wrong_with_it() {
    let rig = Rig::start().await;
    let other = Pki::new();
    let good = || rig.pki.leaf("meter-7", 9, ClientAuth, 2025);
    let list = || vec![rig.pki.crl(&[])];
    let cases = [
        ("without a grace", Duration::ZERO, list(), good()),
        ("after it", Duration::from_secs(86_400), list(), good()),
        ("revoked", GRACE, vec![rig.pki.crl(&[9])], good()),
        ("the list has expired too, and was good then", GRACE, vec![rig.pki.crl_until(&[], 2026)], good()),
        ("no list of its issuer", GRACE, vec![other.crl(&[])], good()),
        ("of another authority", GRACE, list(), other.leaf("meter-7", 9, ClientAuth, 2025)),
        ("for servers", GRACE, list(), rig.pki.leaf("meter-7", 9, ServerAuth, 2025)),
        ("a claim that many share", GRACE, list(), rig.pki.leaf("claim-fleet", 9, ClientAuth, 2025)),
        ("no device", GRACE, list(), rig.pki.leaf("not.a.device", 9, ClientAuth, 2025)),
    ];
    for (number, (case, grace, crls, leaf)) in (1..).zip(cases) {
        rig.control.set_tls(rig.pki.server_with(crls, Claims::with_grace(grace)));
        assert!(is_refused(&rig, rig.pki.client(Some(leaf))).await, "{case}");
        assert_eq!(rig.counters.handshakes_failed.get(), number, "{case}: in the handshake");
    }
    rig.stop().await;
}

#[tokio::test]
async fn the_client_id_must_be_the_device_that_the_certificate_names() {
    let mut rig = Rig::start().await;
    for (version, answer) in [(4, vec![0, 0x02]), (5, vec![0, 0x85, 0])] {
        for id in ["meter-8", "METER-7", "meter-7/1", "mosq-x"] {
            let mut raw = rig.tls("meter-7").await;
            raw.send(&connect(version, id, 60, None)).await;
            assert_eq!(raw.packet().await, (0x20, answer.clone()), "{id}");
            assert!(raw.is_closed().await);
        }
    }
    // None at all is given the device's. Of MQTT 3.1.1 only with a clean session.
    let mut raw = rig.tls("meter-7").await;
    raw.send(&connect(5, "", 60, None)).await;
    let (_, body) = raw.packet().await;
    assert!(body.windows(10).any(|part| part == b"\x12\0\x07meter-7"), "assigned: {body:?}");
    rig.opened().await;
    raw.send(&[0xE0, 0]).await;
    rig.closed().await;
    let mut raw = rig.tls("meter-7").await;
    let mut unclean = connect(4, "", 60, None);
    unclean[9] = 0;
    raw.send(&unclean).await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 2]));
    rig.stop().await;
}

/// The TLS alert that `client` is sent away with. Its CONNECT is under way before that.
async fn alert(rig: &Rig, client: std::sync::Arc<rustls::ClientConfig>) -> Option<rustls::AlertDescription> {
    let ended = match Raw::connect(rig.address, client).await {
        Err(error) => error, // under TLS 1.2
        Ok(mut raw) => {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &connect(5, "meter-7", 60, None)).await;
            let answer =
                tokio::time::timeout(crate::rig::PATIENCE, raw.stream.read_u8()).await.expect("an end in time");
            answer.expect_err("no byte of MQTT")
        }
    };
    match ended.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn a_certificate_of_ours_that_is_no_devices_ends_with_the_handshake_expired_or_not() {
    use rcgen::ExtendedKeyUsagePurpose::{Any, CodeSigning};
    use rustls::AlertDescription::{AccessDenied, CertificateExpired, UnsupportedCertificate};
    let rig = Rig::start().await;
    let mut failed = 0;
    for (grace, year) in [(Duration::ZERO, 2100), (GRACE, 2025)] {
        rig.control.set_tls(rig.pki.server_with(vec![rig.pki.crl(&[])], Claims::with_grace(grace)));
        for (name, uses, wanted) in [
            ("not.a.device", ClientAuth, AccessDenied),
            ("meter-7", Any, UnsupportedCertificate),
            ("meter-7", CodeSigning, UnsupportedCertificate),
        ] {
            // Who is nobody has no grace.
            let wanted = if year == 2100 { wanted } else { CertificateExpired };
            let client = rig.pki.client(Some(rig.pki.leaf(name, 3, uses.clone(), year)));
            assert_eq!(alert(&rig, client).await, Some(wanted), "{name} for {uses:?} until {year}");
            failed += 1;
        }
    }
    assert_eq!((rig.counters.handshakes_failed.get(), rig.counters.connects_refused.get()), (failed, 0));
    rig.stop().await;
}

#[tokio::test]
async fn a_foreign_version_is_told_no() {
    let rig = Rig::start().await;
    let mut raw = rig.tls("meter-7").await;
    raw.send(b"\x10\x0e\0\x06MQIsdp\x03\x02\0\x3c\0\0").await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 1]));
    assert_eq!(rig.counters.connects_refused.get(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn revoking_cuts_the_live_connection_and_keeps_the_device_out() {
    let mut rig = Rig::start().await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    assert_eq!(rig.control.connected(), ["meter-7".parse().unwrap()]);
    let closed = rig.control.revoke(["07".to_owned()].into());
    assert_eq!(closed, [(device("meter-7"), "07".to_owned())]);
    assert_eq!(meter.packet().await, (0xE0, vec![0x87]));
    assert!(rig.closed().await.contains("revoked"));
    let mut again = rig.tls("meter-7").await;
    again.send(&connect(5, "meter-7", 60, None)).await;
    assert_eq!(again.packet().await, (0x20, vec![0, 0x87, 0]));
    rig.stop().await;
}

#[tokio::test]
async fn a_device_that_is_cut_off_is_out_whichever_of_two_authorities_issued_what_it_shows_until_it_is_issued_another()
{
    let claims = Claims::with_grace(GRACE);
    let mut rig = Rig::start_claimed(64, |_| {}, Auditor::none(), claims.clone()).await;
    let old = Pki::new();
    rig.control.set_tls(rig.pki.server_beside(&[&old], vec![], claims.clone()));
    let of_old = rig.pki.client(Some(old.device("meter-7")));
    let mut raw = Raw::connect(rig.address, of_old.clone()).await.unwrap();
    raw.send(&connect(5, "meter-7", 60, None)).await;
    assert_eq!(raw.packet().await.1[..2], [0, 0], "what an authority issued that is trusted beside the new one");
    let connection = rig.opened().await.connection;

    let cut = Cut { since: Instant(1_790_000_000_000_000), good: std::collections::BTreeSet::new() };
    let said = CutOff::from([(device("meter-7"), Standing { cut: Some(cut), ..Standing::default() })]);
    assert_eq!(claims.cuts().set(said), Some(vec![device("meter-7")]));
    assert_eq!(rig.control.cut_off(), [(device("meter-7"), "07".to_owned())]);
    assert_eq!(raw.packet().await, (0xE0, vec![0x87]));
    assert!(rig.closed().await.contains("revoked"));
    assert!(claims.cuts().is_over(&device("meter-8"), connection), "nor does what it had under way count");
    let expired = old.leaf("meter-7", 12, ClientAuth, 2025);
    let all = [of_old.clone(), rig.pki.client(Some(rig.pki.device("meter-7"))), rig.pki.client(Some(expired))];
    for (number, client) in (1..).zip(all) {
        assert!(is_refused(&rig, client).await, "case {number}");
        assert_eq!(rig.counters.handshakes_failed.get(), number, "in the handshake");
    }
    let (_other, _link) = rig.connect("meter-8", 5).await; // of the same serial number
    claims.cuts().issued(&device("meter-7"), "0b");
    let mut raw =
        Raw::connect(rig.address, rig.pki.client(Some(rig.pki.leaf("meter-7", 11, ClientAuth, 2100)))).await.unwrap();
    raw.send(&connect(5, "meter-7", 60, None)).await;
    assert_eq!(raw.packet().await.1[..2], [0, 0], "its new one");
    rig.opened().await;
    assert!(is_refused(&rig, of_old).await, "and no other");
    rig.stop().await;
}

#[tokio::test]
async fn who_is_cut_off_between_its_handshake_and_its_first_packet_is_not_let_in() {
    let claims = Claims::default();
    let rig = Rig::start_claimed(64, |_| {}, Auditor::none(), claims.clone()).await;
    let mut raw = rig.tls("meter-7").await;
    let cut = Cut { since: Instant(1_790_000_000_000_000), good: std::collections::BTreeSet::new() };
    let said = CutOff::from([(device("meter-7"), Standing { cut: Some(cut), ..Standing::default() })]);
    claims.cuts().set(said).unwrap();
    assert!(rig.control.cut_off().is_empty(), "it has no seat yet");
    raw.send(&connect(5, "meter-7", 60, None)).await;
    assert_eq!(raw.packet().await, (0x20, vec![0, 0x87, 0]));
    rig.stop().await;
}

#[tokio::test]
async fn a_device_publishes_to_its_own_topics_only() {
    let mut rig = Rig::start().await;
    let foreign =
        [topic("meter-8", Channel::Batch), topic("meter-7", Channel::Receipt), "a/b".to_owned(), "$SYS/x".to_owned()];
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    for (id, topic) in (1..).zip(&foreign) {
        meter.send(&publish(5, topic, Some(id), 0, b"x")).await;
        assert_eq!(meter.packet().await, (0x40, [&id.to_be_bytes()[..], &[0x87]].concat()), "{topic}");
    }
    meter.send(&publish(5, &topic("meter-7", Channel::Batch), Some(9), 0, b"mine")).await;
    let mine = rig.arrived().await;
    assert_eq!(mine.payload, b"mine"[..], "the connection stays, nothing else arrived");
    mine.ticket.settle(Verdict::Settled);
    assert_eq!(meter.packet().await, (0x40, vec![0, 9]));
    meter.send(&publish(5, &foreign[0], None, 0, b"x")).await;
    assert_eq!(meter.packet().await, (0xE0, vec![0x87]));
    rig.closed().await;
    for (id, topic) in [(Some(1), &foreign[0]), (None, &foreign[1])] {
        let (mut meter, _link) = rig.connect("meter-7", 4).await;
        meter.send(&publish(4, topic, id, 0, b"x")).await;
        assert!(meter.is_closed().await, "MQTT 3.1.1 has no other way");
        rig.closed().await;
    }
    assert_eq!(rig.counters.publishes_denied.get(), 7);
    rig.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let rig = Rig::start().await;
    let settings = Settings { address: rig.address, ..Settings::default() };
    let (intake, _events) = mpsc::channel(1);
    let error =
        Listener::bind(settings, rig.pki.server(vec![]), identify(), intake, Auditor::none()).await.unwrap_err();
    assert!(matches!(error, BindError::InUse { address } if address == rig.address));
    assert!(error.to_string().contains(&rig.address.to_string()));
    rig.stop().await;
}
