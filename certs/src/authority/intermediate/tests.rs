//! Roots and the authorities below them, as a caller of the library sees them, in invented time.

use std::time::Duration;

use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};

use super::super::{ProfileError, Reason, RequestError, Which};
use super::*;
use crate::key_file::KeyFileError;

/// Days after an instant in 2026.
fn day(days: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000 + days * 86_400)
}

fn root() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::create_root(&folder.path().join("root"), "Root", 7300, day(0)).unwrap();
    (folder, root)
}

/// A request of a key of this kind that claims to be all that an authority could be.
fn boastful(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["gateway.example.org".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Boastful");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serialize_request(&KeyPair::generate_for(algorithm).unwrap()).unwrap().pem().unwrap().into_bytes()
}

fn why(refused: Result<Authority, AuthorityError>) -> String {
    refused.unwrap_err().to_string()
}

#[test]
fn a_root_signs_authorities_and_no_leaves_and_one_below_it_signs_leaves_and_no_authorities() {
    let (folder, root) = root();
    let below = Authority::create_below(&folder.path().join("ca"), &folder.path().join("root"), "CA", 1826, day(0));
    let below = below.unwrap();
    let alone = Authority::create(&folder.path().join("alone"), "Alone", 3650, day(0)).unwrap();
    let part = |refused| matches!(refused, Err(AuthorityError::NotItsPart { .. }));
    assert!(part(root.issue_device("meter-7", 90, day(0)).map(|_| ())));
    assert!(part(root.issue_devices(["meter-7"], 90, day(0)).map(|_| ())));
    assert!(part(root.issue_server(&["localhost"], 90, day(0)).map(|_| ())));
    let request = boastful(&rcgen::PKCS_ECDSA_P256_SHA256);
    assert!(part(root.sign_csr(&request, "meter-7", 90, day(0)).map(|_| ())));
    for authority in [&below, &alone] {
        assert!(part(authority.sign_authority(&request, 100, day(0)).map(|_| ())));
        authority.issue_device("meter-7", 90, day(0)).unwrap();
    }
    let below_below = Authority::create_below(&folder.path().join("x"), &folder.path().join("ca"), "X", 1, day(0));
    assert!(part(below_below.map(|_| ())));
    assert!(!folder.path().join("x").exists(), "refused before anything was made");
    assert_eq!([root.kind(), below.kind(), alone.kind()], [Kind::Root, Kind::Issuing, Kind::Alone]);
}

#[test]
fn an_authority_below_a_root_gets_its_profile_whatever_its_request_says() {
    let (_folder, root) = root();
    let signed = root.sign_authority(&boastful(&rcgen::PKCS_ECDSA_P256_SHA256), 1826, day(0)).unwrap();
    let der = {
        use rustls_pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(signed.bundle.as_bytes()).unwrap()
    };
    let certificate = kind::parse(&der).unwrap();
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert!(certificate.subject_alternative_name().unwrap().is_none());
    assert!(certificate.extended_key_usage().unwrap().is_none());
    let life = certificate.validity();
    assert_eq!(life.not_after.timestamp() - life.not_before.timestamp() + 1, 1826 * 86_400);
    assert_eq!(root.list().unwrap(), [signed.record]);
    let top = kind::parse(root.anchor()).unwrap();
    assert_eq!(top.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(1));
    assert_eq!(certificate.issuer(), top.subject());
}

#[test]
fn an_authority_that_would_outlive_its_root_or_live_beyond_five_years_is_refused() {
    let (_folder, root) = root();
    let request = boastful(&rcgen::PKCS_ECDSA_P256_SHA256);
    let life = |days, at| root.sign_authority(&request, days, day(at)).map(|_| ());
    assert!(matches!(life(1827, 0), Err(AuthorityError::Profile(ProfileError::BadLife { days_max: 1826, .. }))));
    life(1826, 7300 - 1826).unwrap();
    assert!(matches!(life(1826, 7300 - 1825), Err(AuthorityError::Outlived { .. })));
    assert!(matches!(life(1, 7301), Err(AuthorityError::NotNow { .. })));
    assert_eq!(root.list().unwrap().len(), 1, "what was refused left no row");
}

#[test]
fn weak_and_foreign_keys_are_refused_and_so_is_the_roots_own() {
    let (folder, root) = root();
    let refused = root.sign_authority(&boastful(&PKCS_ECDSA_P384_SHA384), 100, day(0));
    assert!(matches!(refused, Err(AuthorityError::Request(RequestError::WrongKey))));
    let own = kind::read_key(&folder.path().join("root")).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Again");
    let own = params.serialize_request(&own).unwrap().pem().unwrap();
    let refused = root.sign_authority(own.as_bytes(), 100, day(0));
    assert!(matches!(refused, Err(AuthorityError::Request(RequestError::OwnKey))));
    params.distinguished_name = DistinguishedName::new();
    let nameless = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let refused = root.sign_authority(nameless.as_bytes(), 100, day(0));
    assert!(matches!(refused, Err(AuthorityError::Request(RequestError::NoName))));
}

#[test]
fn the_offline_way_makes_the_same_as_the_short_one_and_the_root_is_not_needed_again() {
    let (folder, root) = root();
    let ca = folder.path().join("ca");
    let request = Authority::request(&ca, "CA").unwrap();
    let key = fs::read(ca.join("ca.key")).unwrap();
    assert_eq!(Authority::request(&ca, "CA").unwrap(), request, "asked for again, as after a power cut");
    assert_eq!(fs::read(ca.join("ca.key")).unwrap(), key, "the key stays");
    let signed = root.sign_authority(&fs::read(request).unwrap(), 1826, day(0)).unwrap();
    let bundle = folder.path().join("bundle");
    fs::write(&bundle, &signed.bundle).unwrap();
    Authority::install(&ca, &bundle, day(1)).unwrap();
    fs::remove_dir_all(folder.path().join("root")).unwrap();

    let below = Authority::open(&ca).unwrap();
    assert_eq!(below.anchor(), root.anchor());
    assert_eq!((below.anchor_print().len(), below.anchor_print()), (40, root.anchor_print()));
    below.issue_device("meter-7", 90, day(2)).unwrap();
    below.crl(7, day(2)).unwrap();
    assert!(matches!(Authority::install(&ca, &bundle, day(1)), Err(AuthorityError::File(FileError::Exists { .. }))));
    assert!(matches!(Authority::request(&ca, "CA"), Err(AuthorityError::File(FileError::Exists { .. }))));
}

#[test]
fn what_does_not_go_with_the_request_is_not_installed() {
    let (folder, root) = root();
    let other = Authority::create_root(&folder.path().join("other"), "Root", 7300, day(0)).unwrap();
    let ca = folder.path().join("ca");
    let request = fs::read(Authority::request(&ca, "CA").unwrap()).unwrap();
    let right = root.sign_authority(&request, 100, day(0)).unwrap();
    let theirs = other.sign_authority(&request, 100, day(0)).unwrap().bundle;
    let strangers = root.sign_authority(&boastful(&rcgen::PKCS_ECDSA_P256_SHA256), 100, day(0)).unwrap().bundle;
    let sections = |bundle: &str| -> Vec<String> {
        bundle.split_inclusive("-----\n").collect::<Vec<_>>().chunks(2).map(<[_]>::concat).collect()
    };
    let (ours, theirs) = (sections(&right.bundle), sections(&theirs));
    let bundle = folder.path().join("bundle");
    let install = |parts: &[&String], at| {
        fs::write(&bundle, parts.iter().map(|part| part.as_str()).collect::<String>()).unwrap();
        Authority::install(&ca, &bundle, day(at))
    };
    assert!(why(install(&[&strangers], 1)).contains("not the certificate of ca.key"));
    assert!(why(install(&[&ours[0], &theirs[1], &ours[2]], 1)).contains("another name"));
    assert!(why(install(&[&ours[0], &ours[1], &theirs[2]], 1)).contains("did not sign"));
    assert!(why(install(&[&ours[0], &ours[1]], 1)).contains("no revocation list"));
    // The last bit of a certificate is of its signature.
    let altered = |pem: &str| {
        use rustls_pki_types::pem::PemObject;
        let mut der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        *der.last_mut().unwrap() ^= 1;
        to_pem("CERTIFICATE", &der)
    };
    assert!(why(install(&[&altered(&ours[0]), &ours[1], &ours[2]], 1)).contains("did not sign ca.crt"));
    assert!(why(install(&[&ours[0], &altered(&ours[1]), &ours[2]], 1)).contains("did not sign itself"));
    assert!(why(install(&[&ours[0], &ours[2]], 1)).contains("not just"));
    assert!(why(install(&[&right.bundle], 101)).contains("not now"));
    root.revoke(Which::Authority(right.record.serial), Reason::KeyCompromise, day(1)).unwrap();
    let newer = fs::read_to_string(root.crl_path()).unwrap();
    assert!(why(install(&[&ours[0], &ours[1], &newer], 1)).contains("has revoked"));
    assert!(!ca.join("ca.crt").exists());
    install(&[&right.bundle], 1).unwrap();
}

/// The authority's own checks stop none of this: whoever has the root's key signs what they like.
#[test]
fn a_folder_whose_authority_outlives_the_root_or_has_a_longer_path_does_not_open() {
    let (folder, root) = root();
    let ca = folder.path().join("ca");
    Authority::create_below(&ca, &folder.path().join("root"), "CA", 1826, day(0)).unwrap();
    let (key, root_key) = (kind::read_key(&ca).unwrap(), kind::read_key(&folder.path().join("root")).unwrap());
    let issuer = Issuer::from_ca_cert_der(root.anchor(), root_key).unwrap();
    let open = |days: i64, path: BasicConstraints| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(path);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = UnixTime::try_from(day(0)).unwrap().date_time();
        params.not_after = params.not_before + time::Duration::days(days);
        fs::write(ca.join("ca.crt"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        Authority::open(&ca)
    };
    open(7299, BasicConstraints::Constrained(0)).unwrap();
    assert!(why(open(7301, BasicConstraints::Constrained(0))).contains("ends before ca.crt does"));
    assert!(why(open(100, BasicConstraints::Constrained(1))).contains("longer path"));
    assert!(why(open(100, BasicConstraints::Unconstrained)).contains("longer path"));
    open(100, BasicConstraints::Constrained(0)).unwrap();
    fs::remove_file(ca.join("root.crt")).unwrap();
    assert!(why(Authority::open(&ca)).contains("root.crt"));
}

#[test]
fn the_roots_list_is_taken_over_when_it_is_newer_and_the_roots_own_and_never_older() {
    let (folder, root) = root();
    let below = Authority::create_below(&folder.path().join("ca"), &folder.path().join("root"), "CA", 1826, day(0));
    let below = below.unwrap();
    let old = folder.path().join("old.crl");
    fs::copy(root.crl_path(), &old).unwrap();
    root.crl(365, day(1)).unwrap();
    assert!(!below.crl_due(day(1)).unwrap());
    below.install_root_crl(&root.crl_path(), day(1)).unwrap();
    let behind = pem_file::read_crls(&below.crl_path()).unwrap();
    assert_eq!(behind[1..], pem_file::read_crls(&root.crl_path()).unwrap());
    let refused = below.install_root_crl(&old, day(1)).unwrap_err().to_string();
    assert!(refused.contains("older"), "{refused}");
    let refused = below.install_root_crl(&root.crl_path(), day(367)).unwrap_err().to_string();
    assert!(refused.contains("run out"), "{refused}");
    let other = Authority::create_root(&folder.path().join("other"), "Root", 7300, day(0)).unwrap();
    let refused = below.install_root_crl(&other.crl_path(), day(1)).unwrap_err().to_string();
    assert!(refused.contains("did not sign"), "{refused}");
    assert!(root.install_root_crl(&root.crl_path(), day(1)).is_err(), "a root has none above it");
    assert_eq!(pem_file::read_crls(&below.crl_path()).unwrap()[1..], behind[1..]);
}

#[test]
fn a_list_without_the_roots_newest_behind_it_is_due_and_each_has_its_own_half_life() {
    let (folder, root) = root();
    let below = Authority::create_below(&folder.path().join("ca"), &folder.path().join("root"), "CA", 1826, day(0));
    let below = below.unwrap();
    assert!(!below.crl_due(day(3)).unwrap() && below.crl_due(day(4)).unwrap());
    assert!(!root.crl_due(day(182)).unwrap() && root.crl_due(day(183)).unwrap());
    let (due, ends) = below.root_crl_ends().unwrap().unwrap();
    assert_eq!([due, ends].map(|at| (at.seconds() - 1_780_000_000) / 86_400), [182, 365]);
    // As after a power cut between the two files that an installation writes.
    root.crl(365, day(1)).unwrap();
    fs::copy(root.crl_path(), folder.path().join("ca/root.crl")).unwrap();
    assert!(below.crl_due(day(1)).unwrap());
    below.crl(7, day(1)).unwrap();
    assert!(!below.crl_due(day(1)).unwrap());
}

#[test]
fn a_key_that_waits_for_its_certificate_is_refused_where_others_can_reach_it() {
    let (folder, _root) = root();
    let ca = folder.path().join("ca");
    Authority::request(&ca, "CA").unwrap();
    fs::set_permissions(ca.join("ca.key"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    assert!(matches!(Authority::request(&ca, "CA"), Err(AuthorityError::Key(KeyFileError::TooOpen { .. }))));
    assert!(Authority::request(&folder.path().join("x"), "two\nlines").is_err());
}
