//! What rustls makes of a leaf, the authority that issued it and the root above: the verifiers that the gateway and the
//! agent use, in invented time.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};
use tempfile::TempDir;
use tributary_certs::authority::{Authority, Reason, Role, Which};
use tributary_certs::pem_file;

/// Days after an instant in 2026.
fn day(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000 + days * 86_400)
}

fn tls(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

struct World {
    folder: TempDir,
    root: Authority,
    issuing: Authority,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Authority::create_root(&folder.path().join("root"), "Root", 7300, day(0)).unwrap();
        let issuing =
            Authority::create_below(&folder.path().join("ca"), &folder.path().join("root"), "Issuing", 1826, day(0))
                .unwrap();
        Self { folder, root, issuing }
    }

    fn anchors(&self) -> Arc<RootCertStore> {
        let mut anchors = RootCertStore::empty();
        anchors.add(self.root.anchor().clone()).unwrap();
        Arc::new(anchors)
    }

    /// The certificates that a file with this text shows.
    fn shown(&self, pem: &str) -> Vec<CertificateDer<'static>> {
        let path = self.folder.path().join("shown.crt");
        fs::write(&path, pem).unwrap();
        pem_file::read_certificates(&path).unwrap()
    }

    fn device(&self, id: &str, now: SystemTime) -> Vec<CertificateDer<'static>> {
        self.shown(&self.issuing.issue_device(id, 90, now).unwrap().leaf.pem)
    }

    /// What a gateway that read the issuing authority's `ca.crl` says to a client.
    fn admit(&self, shown: &[CertificateDer<'_>], now: SystemTime) -> Result<(), Error> {
        self.admit_by(pem_file::read_crls(&self.issuing.crl_path()).unwrap(), shown, now)
    }

    fn admit_by(
        &self,
        crls: Vec<CertificateRevocationListDer<'static>>,
        shown: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), Error> {
        let mut verifier = WebPkiClientVerifier::builder_with_provider(self.anchors(), Arc::new(default_provider()));
        if !crls.is_empty() {
            verifier = verifier.with_crls(crls).enforce_revocation_expiration();
        }
        verifier.build().unwrap().verify_client_cert(&shown[0], &shown[1..], tls(now)).map(|_| ())
    }

    /// What a device says to a server that it calls by `name`.
    fn trust(&self, shown: &[CertificateDer<'_>], name: &str, now: SystemTime) -> Result<(), Error> {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(self.anchors(), provider).build().unwrap();
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(&shown[0], &shown[1..], &name, &[], tls(now)).map(|_| ())
    }

    fn take_the_roots_list_along(&self, now: SystemTime) {
        self.issuing.install_root_crl(&self.root.crl_path(), now).unwrap();
    }
}

const UNKNOWN_ISSUER: Error = Error::InvalidCertificate(CertificateError::UnknownIssuer);
const UNKNOWN_STATUS: Error = Error::InvalidCertificate(CertificateError::UnknownRevocationStatus);
const REVOKED: Error = Error::InvalidCertificate(CertificateError::Revoked);

#[test]
fn a_device_and_a_server_below_a_root_are_trusted_by_those_who_know_the_root_alone() {
    let world = World::new();
    let device = world.device("meter-7", day(1));
    assert_eq!(device.len(), 2, "the leaf and what stands above it");
    world.admit(&device, day(1)).unwrap();
    let server = world.issuing.issue_server(&["gateway.example.org"], 397, day(1)).unwrap();
    let server = world.shown(&server.leaf.pem);
    world.trust(&server, "gateway.example.org", day(1)).unwrap();
    assert!(world.trust(&server, "other.example.org", day(1)).is_err());
    assert!(world.trust(&device, "meter-7", day(1)).is_err(), "a device is no server");
    assert!(world.admit(&server, day(1)).is_err(), "a server is no device");
}

#[test]
fn a_leaf_that_is_shown_without_the_authority_that_issued_it_is_refused_on_both_sides() {
    let world = World::new();
    let device = world.device("meter-7", day(1));
    assert_eq!(world.admit(&device[..1], day(1)), Err(UNKNOWN_ISSUER));
    let server = world.issuing.issue_server(&["localhost"], 90, day(1)).unwrap();
    assert_eq!(world.trust(&world.shown(&server.leaf.pem)[..1], "localhost", day(1)), Err(UNKNOWN_ISSUER));
}

#[test]
fn a_revoked_authority_takes_all_that_it_issued_along_and_its_successor_works() {
    let world = World::new();
    let device = world.device("meter-7", day(1));
    let [row] = world.root.list().unwrap().try_into().unwrap();
    assert_eq!((row.role, row.subject.as_str()), (Role::Authority, "Issuing"));
    assert!(world.root.revoke(Which::Device("Issuing"), Reason::Superseded, day(2)).is_err());
    world.root.revoke(Which::Authority(row.serial), Reason::KeyCompromise, day(2)).unwrap();
    world.admit(&device, day(2)).unwrap();
    world.take_the_roots_list_along(day(2));
    assert_eq!(world.admit(&device, day(2)), Err(REVOKED));

    let (successor, root) = (world.folder.path().join("ca2"), world.folder.path().join("root"));
    let successor = Authority::create_below(&successor, &root, "Issuing", 1826, day(2)).unwrap();
    let device = world.shown(&successor.issue_device("meter-7", 90, day(2)).unwrap().leaf.pem);
    let crls = pem_file::read_crls(&successor.crl_path()).unwrap();
    world.admit_by(crls, &device, day(2)).unwrap();
}

#[test]
fn a_revoked_leaf_below_a_root_is_refused_and_its_neighbour_is_not() {
    let world = World::new();
    let [bad, good] = ["meter-7", "meter-8"].map(|id| world.device(id, day(1)));
    world.issuing.revoke(Which::Device("meter-7"), Reason::KeyCompromise, day(1)).unwrap();
    assert_eq!(world.admit(&bad, day(1)), Err(REVOKED));
    world.admit(&good, day(1)).unwrap();
}

#[test]
fn nobody_is_admitted_by_one_of_the_two_revocation_lists_alone_or_by_one_that_ran_out() {
    let world = World::new();
    let device = world.device("meter-7", day(1));
    let both = pem_file::read_crls(&world.issuing.crl_path()).unwrap();
    assert_eq!(both.len(), 2, "its own and the root's");
    for alone in &both {
        assert_eq!(world.admit_by(vec![alone.clone()], &device, day(1)), Err(UNKNOWN_STATUS));
    }
    world.admit_by(both.into_iter().rev().collect(), &device, day(1)).unwrap();
    // The root's list lives a year; the other is renewed meanwhile.
    world.issuing.crl(90, day(300)).unwrap();
    let device = world.device("meter-7", day(300));
    world.admit(&device, day(300)).unwrap();
    let refused = world.admit(&device, day(366)).unwrap_err();
    assert!(refused.to_string().contains("revocation list expired"), "{refused}");
    world.root.crl(365, day(366)).unwrap();
    world.take_the_roots_list_along(day(366));
    world.admit(&device, day(366)).unwrap();
}

/// A leaf below an authority that the issuing one signed, though it may not: its key signs what it is given.
#[test]
fn an_authority_below_the_one_below_the_root_is_refused_for_the_length_of_the_path() {
    let world = World::new();
    let key = |path: &str| KeyPair::from_pem(&fs::read_to_string(world.folder.path().join(path)).unwrap()).unwrap();
    let issuing = Issuer::from_ca_cert_der(world.issuing.intermediate().unwrap(), key("ca/ca.key")).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Third");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let third_key = KeyPair::generate().unwrap();
    let third = params.signed_by(&third_key, &issuing).unwrap();
    let issuer = Issuer::new(params, third_key);
    let mut params = CertificateParams::new(vec!["meter-7".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    let shown = [leaf.der().clone(), third.der().clone(), world.issuing.intermediate().unwrap().clone()];
    let refused = world.admit_by(Vec::new(), &shown, day(1)).unwrap_err();
    assert!(refused.to_string().contains("PathLenConstraintViolated"), "{refused}");

    // The same leaf by the one that may sign it is admitted, so nothing else is wrong with it.
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuing).unwrap();
    world.admit_by(Vec::new(), &[leaf.der().clone(), shown[2].clone()], day(1)).unwrap();
}
