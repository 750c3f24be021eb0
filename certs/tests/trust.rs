//! What rustls makes of the certificates: the verifiers that the gateway and the agent use, in invented time.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use tempfile::TempDir;
use tributary_certs::authority::{Authority, Reason, Which};
use tributary_certs::pem_file;

/// Days after an instant in 2026.
fn day(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000 + days * 86_400)
}

fn tls(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

fn authority() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), "Test", 3650, day(0)).unwrap();
    (folder, authority)
}

fn roots(authorities: &[&Authority]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.anchor().clone()).unwrap();
    }
    Arc::new(roots)
}

/// What a gateway that read the revocation list says to a client.
fn admit(authority: &Authority, leaf: &CertificateDer<'_>, now: SystemTime) -> Result<(), Error> {
    admit_by(&[authority], leaf, now)
}

/// The same for a gateway that trusts several authorities.
fn admit_by(authorities: &[&Authority], leaf: &CertificateDer<'_>, now: SystemTime) -> Result<(), Error> {
    let crls = authorities.iter().flat_map(|authority| pem_file::read_crls(&authority.crl_path()).unwrap());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authorities), Arc::new(default_provider()))
        .with_crls(crls)
        .enforce_revocation_expiration()
        .build()
        .unwrap();
    verifier.verify_client_cert(leaf, &[], tls(now)).map(|_| ())
}

/// What a device says to a server that it calls by `name`.
fn trust(authority: &Authority, leaf: &CertificateDer<'_>, name: &str, now: SystemTime) -> Result<(), Error> {
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(&[authority]), provider).build().unwrap();
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(leaf, &[], &name, &[], tls(now)).map(|_| ())
}

#[test]
fn a_device_is_admitted_from_five_minutes_before_its_issue_until_it_expires() {
    let (_folder, authority) = authority();
    let leaf = authority.issue_device("meter-7", 5, day(0)).unwrap().leaf.der;
    admit(&authority, &leaf, day(0) - Duration::from_secs(300)).unwrap();
    admit(&authority, &leaf, day(4)).unwrap();
    let refused = admit(&authority, &leaf, day(5)).unwrap_err();
    let expired =
        CertificateError::ExpiredContext { time: tls(day(5)), not_after: tls(day(5) - Duration::from_secs(301)) };
    assert_eq!(refused, Error::InvalidCertificate(expired));
}

#[test]
fn a_revoked_device_is_refused_and_the_others_are_not() {
    let (_folder, authority) = authority();
    let [bad, good] = ["meter-7", "meter-8"].map(|id| authority.issue_device(id, 90, day(0)).unwrap().leaf.der);
    admit(&authority, &bad, day(1)).unwrap();
    authority.revoke(Which::Device("meter-7"), Reason::KeyCompromise, day(1)).unwrap();
    assert_eq!(admit(&authority, &bad, day(1)), Err(Error::InvalidCertificate(CertificateError::Revoked)));
    admit(&authority, &good, day(1)).unwrap();
}

#[test]
fn a_revocation_list_that_ran_out_admits_nobody_until_it_is_renewed() {
    let (_folder, authority) = authority();
    let leaf = authority.issue_device("meter-7", 90, day(0)).unwrap().leaf.der;
    assert!(admit(&authority, &leaf, day(8)).is_err());
    authority.crl(7, day(8)).unwrap();
    admit(&authority, &leaf, day(8)).unwrap();
}

#[test]
fn a_server_is_trusted_by_each_of_its_names_and_no_other() {
    let (_folder, authority) = authority();
    let leaf = authority.issue_server(&["gateway.example.org", "127.0.0.1"], 397, day(0)).unwrap().leaf.der;
    trust(&authority, &leaf, "gateway.example.org", day(1)).unwrap();
    trust(&authority, &leaf, "127.0.0.1", day(1)).unwrap();
    assert!(trust(&authority, &leaf, "other.example.org", day(1)).is_err());
    assert!(trust(&authority, &leaf, "127.0.0.2", day(1)).is_err());
}

#[test]
fn a_device_is_no_server_and_a_server_no_device() {
    let (_folder, authority) = authority();
    let device = authority.issue_device("localhost", 90, day(0)).unwrap().leaf.der;
    let server = authority.issue_server(&["localhost"], 90, day(0)).unwrap().leaf.der;
    assert!(trust(&authority, &device, "localhost", day(1)).is_err());
    assert!(admit(&authority, &server, day(1)).is_err());
}

#[test]
fn a_device_of_another_authority_is_refused_though_the_authority_has_the_same_name() {
    let ((_one, ours), (_two, theirs)) = (authority(), authority());
    let leaf = theirs.issue_device("meter-7", 90, day(0)).unwrap().leaf.der;
    assert!(admit(&ours, &leaf, day(1)).is_err());
}

#[test]
fn an_old_and_a_new_authority_of_one_name_are_trusted_side_by_side() {
    let ((_one, old), (_two, new)) = (authority(), authority());
    for authority in [&old, &new] {
        let [good, bad] = ["good", "bad"].map(|id| authority.issue_device(id, 90, day(0)).unwrap().leaf.der);
        authority.revoke(Which::Device("bad"), Reason::Superseded, day(1)).unwrap();
        admit_by(&[&old, &new], &good, day(1)).unwrap();
        let refused = admit_by(&[&old, &new], &bad, day(1));
        assert_eq!(refused, Err(Error::InvalidCertificate(CertificateError::Revoked)));
    }
}
