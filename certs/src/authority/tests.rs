//! The authority as a caller of the library sees it, in invented time.

use std::collections::BTreeSet;
use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rcgen::{CertificateParams, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer;

use super::*;
use crate::key_file::KeyFileError;
use crate::{identity, pem_file};

const DAY: u64 = super::time::DAY;

/// Days after an instant in 2026.
fn day(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000 + days * DAY)
}

fn authority() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(&folder.path().join("ca"), "Test authority", 3650, day(0)).unwrap();
    (folder, authority)
}

fn request(algorithm: &'static SignatureAlgorithm) -> (KeyPair, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(vec!["somebody-else".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, pem.into_bytes())
}

fn revoked_serials(authority: &Authority) -> BTreeSet<String> {
    let crls = pem_file::read_crls(&authority.crl_path()).unwrap();
    identity::revoked_serials(&crls[0]).unwrap()
}

fn crl_number(authority: &Authority) -> String {
    let crls = pem_file::read_crls(&authority.crl_path()).unwrap();
    let (_, crl) = x509_parser::parse_x509_crl(&crls[0]).unwrap();
    crl.crl_number().unwrap().to_string()
}

#[test]
fn a_device_certificate_has_the_profile_and_nothing_more() {
    let (_folder, authority) = authority();
    let issued = authority.issue_device("meter-7", 90, day(1)).unwrap();
    let (rest, leaf) = X509Certificate::from_der(&issued.leaf.der).unwrap();
    let (_, anchor) = X509Certificate::from_der(authority.anchor()).unwrap();
    assert!(rest.is_empty());
    leaf.verify_signature(Some(anchor.public_key())).unwrap();
    assert_eq!(leaf.issuer(), anchor.subject());
    assert_eq!(leaf.signature_algorithm.algorithm, OID_SIG_ECDSA_WITH_SHA256);
    assert_eq!(leaf.subject().to_string(), "CN=meter-7");
    assert_eq!(identity::device_id(&issued.leaf.der), Ok("meter-7".into()));
    assert_eq!(identity::serial(&issued.leaf.der), Ok(issued.leaf.record.serial.to_string()));
    assert_eq!(leaf.raw_serial().len(), 16);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "digital signature alone");
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any && extended.other.is_empty());
    let constraints = leaf.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);
    assert!(leaf.extensions().iter().any(|extension| matches!(
        extension.parsed_extension(),
        ParsedExtension::AuthorityKeyIdentifier(id) if id.key_identifier.as_ref().unwrap().0 == authority.key_id
    )));
    let (from, until) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    assert_eq!(until - from + 1, 90 * 86_400);
    assert_eq!(from, 1_780_000_000 + 86_400 - 300);
    assert_eq!(authority.list().unwrap(), [issued.leaf.record]);
}

#[test]
fn a_server_certificate_has_all_its_names_and_is_for_servers_only() {
    let (_folder, authority) = authority();
    let issued = authority.issue_server(&["gateway.example.org", "127.0.0.1", "::1"], 397, day(1)).unwrap();
    let (_, leaf) = X509Certificate::from_der(&issued.leaf.der).unwrap();
    let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
    let ipv6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let expected = [
        GeneralName::DNSName("gateway.example.org"),
        GeneralName::IPAddress(&[127, 0, 0, 1]),
        GeneralName::IPAddress(&ipv6),
    ];
    assert_eq!(names.as_slice(), expected);
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth && !extended.any);
    assert!(identity::device_id(&issued.leaf.der).is_err());
}

#[test]
fn the_key_that_comes_with_a_certificate_is_its_key() {
    let (_folder, authority) = authority();
    let issued = authority.issue_device("meter-7", 1, day(0)).unwrap();
    let key = KeyPair::from_pem(&issued.key_pem).unwrap();
    let (_, leaf) = X509Certificate::from_der(&issued.leaf.der).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
}

#[test]
fn the_authority_may_sign_leaves_and_lists_and_nothing_below_them() {
    let (_folder, authority) = authority();
    let (_, anchor) = X509Certificate::from_der(authority.anchor()).unwrap();
    let constraints = anchor.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca);
    assert_eq!(constraints.path_len_constraint, Some(0));
    let usage = anchor.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
}

#[test]
fn a_request_gives_its_key_and_neither_names_nor_powers() {
    let (_folder, authority) = authority();
    let (key, csr) = request(&PKCS_ECDSA_P256_SHA256);
    let leaf = authority.sign_csr(&csr, "meter-8", 30, day(0)).unwrap();
    assert_eq!(identity::device_id(&leaf.der), Ok("meter-8".into()));
    let (_, leaf) = X509Certificate::from_der(&leaf.der).unwrap();
    assert_eq!(leaf.public_key().raw, key.subject_public_key_info());
    assert!(!leaf.is_ca());
}

#[test]
fn a_request_that_was_altered_is_refused_wherever_it_is_signed() {
    let (_folder, authority) = authority();
    let (_, csr) = request(&PKCS_ECDSA_P256_SHA256);
    let der = {
        use rustls_pki_types::pem::PemObject;
        rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(&csr).unwrap().to_vec()
    };
    let (_, parsed) = x509_parser::certification_request::X509CertificationRequest::from_der(&der).unwrap();
    // Between what is signed and the signature stands the name of the algorithm, which neither covers.
    let signature = der.len() - parsed.signature_value.data.len();
    let signed = 4 + parsed.certification_request_info.raw.len(); // behind the outer header
    for place in (0..signed).chain(signature..der.len()) {
        let mut altered = der.clone();
        altered[place] ^= 0x01;
        let pem = to_pem(&altered);
        assert!(matches!(authority.sign_csr(&pem, "meter-8", 30, day(0)), Err(AuthorityError::Request(_))), "{place}");
    }
    authority.sign_csr(&to_pem(&der), "meter-8", 30, day(0)).unwrap();
    assert_eq!(authority.list().unwrap().len(), 1, "the refused ones left no row");
}

/// PEM of a signing request, by an encoder of this test's own.
fn to_pem(der: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = b"-----BEGIN CERTIFICATE REQUEST-----\n".to_vec();
    for chunk in der.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|place| u32::from(chunk.get(place).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        let digits = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
        text.extend_from_slice(&digits[..=chunk.len()]);
        text.extend_from_slice(&b"=="[..3 - chunk.len()]);
    }
    text.extend_from_slice(b"\n-----END CERTIFICATE REQUEST-----\n");
    text
}

#[test]
fn a_request_for_another_kind_of_key_is_refused() {
    let (_folder, authority) = authority();
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let refused = authority.sign_csr(&request(algorithm).1, "meter-8", 30, day(0));
        assert!(matches!(refused, Err(AuthorityError::Request(RequestError::WrongKey))));
    }
    let large = authority.sign_csr(&[b'-'; 20_000], "meter-8", 30, day(0));
    assert!(matches!(large, Err(AuthorityError::Request(RequestError::TooLarge { bytes: 20_000 }))));
}

#[test]
fn names_and_lives_beyond_the_profile_are_refused() {
    let (_folder, authority) = authority();
    assert!(authority.issue_device("meter-7", 91, day(0)).is_err());
    assert!(authority.issue_device("meter-7", 0, day(0)).is_err());
    assert!(authority.issue_device("Meter 7", 90, day(0)).is_err());
    assert!(authority.issue_server(&["localhost"], 398, day(0)).is_err());
    assert!(authority.issue_server(&["*.example.org"], 90, day(0)).is_err());
    assert!(authority.crl(91, day(0)).is_err());
    assert_eq!(authority.list().unwrap(), []);
}

#[test]
fn no_certificate_outlives_its_authority_or_comes_before_it() {
    let (_folder, authority) = authority();
    authority.issue_device("meter-7", 90, day(3560)).unwrap();
    assert!(matches!(authority.issue_device("meter-7", 90, day(3561)), Err(AuthorityError::Outlived { .. })));
    assert!(matches!(authority.issue_device("meter-7", 1, day(3650)), Err(AuthorityError::NotNow { .. })));
    let early = day(0) - Duration::from_secs(DAY);
    assert!(matches!(authority.issue_device("meter-7", 1, early), Err(AuthorityError::NotNow { .. })));
}

#[test]
fn revoking_a_device_lists_all_it_has_and_spares_the_others() {
    let (_folder, authority) = authority();
    let [old, first, second] = [(1, 0), (90, 2), (90, 60)]
        .map(|(days, when)| authority.issue_device("meter-7", days, day(when)).unwrap().leaf.record.serial);
    authority.issue_device("meter-8", 90, day(60)).unwrap();
    authority.issue_server(&["meter-7"], 90, day(60)).unwrap();
    assert_eq!(revoked_serials(&authority), BTreeSet::new());
    let revoked = authority.revoke(Which::Device("meter-7"), Reason::KeyCompromise, day(61)).unwrap();
    assert_eq!(revoked.iter().map(|record| record.serial).collect::<Vec<_>>(), [old, first, second]);
    // The first had expired: it could still be shown to ask for another.
    assert_eq!(revoked_serials(&authority), [old, first, second].map(|serial| serial.to_string()).into());

    let again = authority.revoke(Which::Serial(first), Reason::Superseded, day(62)).unwrap();
    assert_eq!(again, [], "revoking twice changes nothing");
    let reasons: Vec<_> = authority.list().unwrap().iter().filter_map(|record| record.revoked).collect();
    assert!(reasons.iter().all(|revoked| revoked.reason == Reason::KeyCompromise));
    let unknown = authority.revoke(Which::Device("meter-9"), Reason::Superseded, day(62));
    assert!(matches!(unknown, Err(AuthorityError::Unknown)));
}

#[test]
fn each_revocation_list_has_a_higher_number() {
    let (_folder, authority) = authority();
    assert_eq!(crl_number(&authority), "1");
    for number in 2..300 {
        authority.crl(7, day(0)).unwrap();
        assert_eq!(crl_number(&authority), number.to_string());
    }
}

#[test]
fn a_revocation_list_is_due_at_half_its_life_or_when_it_is_not_the_last_one() {
    let (_folder, authority) = authority();
    assert!(!authority.crl_due(day(3)).unwrap());
    assert!(authority.crl_due(day(4)).unwrap());
    let old = fs::read(authority.crl_path()).unwrap();
    authority.crl(7, day(4)).unwrap();
    assert!(!authority.crl_due(day(4)).unwrap());
    // As after a power cut between index and list.
    fs::write(authority.crl_path(), &old).unwrap();
    assert!(authority.crl_due(day(0)).unwrap());
    fs::write(authority.crl_path(), &old[..old.len() / 2]).unwrap();
    assert!(authority.crl_due(day(0)).unwrap());
    fs::remove_file(authority.crl_path()).unwrap();
    assert!(authority.crl_due(day(0)).unwrap());
}

#[test]
fn a_list_that_is_due_is_written_once_and_one_that_is_not_stays() {
    let (_folder, authority) = authority();
    let read = || fs::read(authority.crl_path()).unwrap();
    let first = read();
    assert!(!authority.crl_if_due(7, day(3)).unwrap());
    assert_eq!(read(), first);
    assert!(authority.crl_if_due(7, day(4)).unwrap());
    assert_ne!(read(), first);
    assert!(!authority.crl_if_due(7, day(4)).unwrap());
}

#[test]
fn an_authority_is_not_overwritten_not_even_what_is_left_of_one() {
    let (folder, _authority) = authority();
    let dir = folder.path().join("ca");
    for left in ["ca.key", "index", "ca.crt", "ca.crl"] {
        let again = Authority::create(&dir, "Another", 3650, day(0));
        assert!(matches!(again, Err(AuthorityError::File(FileError::Exists { .. }))), "{left} is there");
        fs::remove_file(dir.join(left)).unwrap();
    }
    Authority::create(&dir, "Another", 3650, day(0)).unwrap();
}

#[test]
fn an_authority_opens_only_with_its_own_private_key() {
    let (folder, _authority) = authority();
    let dir = folder.path().join("ca");
    Authority::open(&dir).unwrap();
    set_permissions(dir.join("ca.key"), Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Authority::open(&dir), Err(AuthorityError::Key(KeyFileError::TooOpen { .. }))));
    set_permissions(dir.join("ca.key"), Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.join("ca.key"), new_key().unwrap().serialize_pem()).unwrap();
    assert!(matches!(Authority::open(&dir), Err(AuthorityError::NotAnAuthority { .. })));
}

#[test]
fn a_leaf_does_not_open_as_an_authority() {
    let (folder, authority) = authority();
    let dir = folder.path().join("ca");
    let issued = authority.issue_device("meter-7", 90, day(0)).unwrap();
    fs::write(dir.join("ca.crt"), issued.leaf.pem).unwrap();
    fs::write(dir.join("ca.key"), issued.key_pem.as_bytes()).unwrap();
    assert!(matches!(Authority::open(&dir), Err(AuthorityError::NotAnAuthority { .. })));
}

#[test]
fn a_fleet_gets_a_key_and_a_certificate_each_and_all_are_in_the_index() {
    let (_folder, authority) = authority();
    let names: Vec<String> = (0..50).map(|place| format!("meter-{place}")).collect();
    let made = authority.issue_devices(names.iter().map(String::as_str), 30, day(1)).unwrap();
    let named: Vec<String> = made.iter().map(|made| identity::device_id(&made.leaf.der).unwrap()).collect();
    assert_eq!(named, names);
    let keys: BTreeSet<&str> = made.iter().map(|made| made.key_pem.as_str()).collect();
    assert_eq!(keys.len(), 50, "no two have the same key");
    let issued: Vec<Record> = made.into_iter().map(|made| made.leaf.record).collect();
    assert_eq!(authority.list().unwrap(), issued);
    assert!(authority.issue_devices(["fine", "not/fine"], 30, day(1)).is_err());
    assert_eq!(authority.list().unwrap().len(), 50, "all of a fleet or none");
}
