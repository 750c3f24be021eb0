//! Whom a certificate names: exactly one DNS name, which is the device id.
//!
//! The common name is for people and for brokers that read nothing else; it is never looked at here. Whether the
//! certificate is genuine, in date and not revoked is the TLS verifier's part, before this one; what the verifier lets
//! pass and a device's certificate must not be is refused here: for other uses too, of an RSA key, able to sign others.

use std::collections::BTreeSet;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// A certificate that names no device, or a revocation list that cannot be read.
///
/// The name itself is left out: it is the peer's text, and this goes to logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Larger than any certificate of ours could be.
    #[error("certificate of {bytes} bytes is larger than {CERTIFICATE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not one whole DER certificate.
    #[error("certificate is not well-formed DER")]
    Malformed,
    /// Not one whole DER revocation list.
    #[error("revocation list is not well-formed DER")]
    MalformedCrl,
    /// A revocation list that is for a part of what its authority has issued.
    #[error(
        "revocation list is for a part of its authority's certificates (it has an issuing distribution point), and nobody \
         could tell which; have the authority write one list of all"
    )]
    PartialCrl,
    /// It does not say that it is for clients, or says that it is for more.
    #[error("certificate is not for TLS clients alone; its extended key usage must be clientAuth and nothing else")]
    OtherUse,
    /// It says what it is for, and that is not servers.
    #[error(
        "certificate is not for TLS servers (its extended key usage lacks serverAuth), and whoever connects refuses it; issue \
         one with `tributary-certs issue --server`"
    )]
    NotForServers,
    /// Its key may not sign a handshake, or may sign certificates or revocation lists.
    #[error(
        "certificate's key usage is not that of a device: digitalSignature, and no signing of certificates or lists"
    )]
    OtherKeyUse,
    /// Neither ECDSA nor Ed25519.
    #[error("certificate has a key of a kind that devices may not have; use ECDSA P-256, P-384 or Ed25519")]
    WeakKey,
    /// A certificate between the device's and the root's is not one of an authority.
    #[error("a certificate in the chain may not sign certificates")]
    NotAnIssuer,
    /// No subject alternative name; a common name alone is not an identity.
    #[error("certificate has no subject alternative name; issue it with `tributary-certs issue --device` or `sign`")]
    NoName,
    /// More than one subject alternative name.
    #[error("certificate has {count} subject alternative names where a device has exactly one")]
    ManyNames {
        /// How many there are.
        count: usize,
    },
    /// The one name is an address, a URI or another kind.
    #[error("certificate's subject alternative name is not a DNS name")]
    NotDns,
    /// The one DNS name has not the shape of a device id.
    #[error("certificate's DNS name is not a device id: 1 to 63 of a-z, 0-9 and -, not beginning with -")]
    NotADeviceId,
}

/// The device id that a DER certificate names.
///
/// Fails unless the certificate has exactly one subject alternative name, of type DNS and of the shape of a device id;
/// and unless it is for TLS clients alone and has a key that signs handshakes and nothing else.
pub fn device_id(certificate_der: &[u8]) -> Result<String, IdentityError> {
    let certificate = parse(certificate_der)?;
    check_use(&certificate)?;
    // An error here is an extension that is there twice or does not decode.
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Malformed)?;
    let names = names.ok_or(IdentityError::NoName)?;
    match names.value.general_names.as_slice() {
        [] => Err(IdentityError::NoName),
        [GeneralName::DNSName(name)] if is_device_id(name) => Ok((*name).to_owned()),
        [GeneralName::DNSName(_)] => Err(IdentityError::NotADeviceId),
        [_] => Err(IdentityError::NotDns),
        several => Err(IdentityError::ManyNames { count: several.len() }),
    }
}

/// Fails if one of a chain's `issuers`, DER, states what its key is for and that is not signing certificates.
///
/// TLS verifiers look at whether it is an authority, how deep, and not at this.
pub fn check_issuers<'a>(issuers: impl IntoIterator<Item = &'a [u8]>) -> Result<(), IdentityError> {
    for der in issuers {
        let certificate = parse(der)?;
        let usage = certificate.key_usage().map_err(|_| IdentityError::Malformed)?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(IdentityError::NotAnIssuer);
        }
    }
    Ok(())
}

/// Fails if a DER certificate says what it is for and that is not TLS servers, as a device's does: its clients would refuse
/// it (RFC 5280, section 4.2.1.12).
pub fn check_server(certificate_der: &[u8]) -> Result<(), IdentityError> {
    let certificate = parse(certificate_der)?;
    let purposes = certificate.extended_key_usage().map_err(|_| IdentityError::Malformed)?;
    if purposes.is_none_or(|purposes| purposes.value.server_auth) { Ok(()) } else { Err(IdentityError::NotForServers) }
}

/// A device's certificate serves one purpose: a stolen one must not pass for a server, nor make others.
fn check_use(certificate: &X509Certificate<'_>) -> Result<(), IdentityError> {
    let purposes = certificate.extended_key_usage().map_err(|_| IdentityError::Malformed)?;
    let for_clients = purposes.is_some_and(|purposes| {
        let of = purposes.value;
        let others = [of.any, of.server_auth, of.code_signing, of.email_protection, of.time_stamping, of.ocsp_signing];
        of.client_auth && !others.contains(&true) && of.other.is_empty()
    });
    if !for_clients {
        return Err(IdentityError::OtherUse);
    }
    let usage = certificate.key_usage().map_err(|_| IdentityError::Malformed)?;
    if usage.is_some_and(|usage| {
        let of = usage.value;
        !of.digital_signature() || of.key_cert_sign() || of.crl_sign()
    }) {
        return Err(IdentityError::OtherKeyUse);
    }
    let algorithm = &certificate.public_key().algorithm.algorithm;
    if [OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519].contains(algorithm) { Ok(()) } else { Err(IdentityError::WeakKey) }
}

/// Whether a text is a device id: `[a-z0-9][a-z0-9-]{0,62}`, which is one DNS label and one topic level.
pub fn is_device_id(text: &str) -> bool {
    let shape = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    shape && (1..=63).contains(&text.len()) && !text.starts_with('-')
}

/// The public key of a DER certificate that is about an Ed25519 key (RFC 8410); none for any other.
pub fn ed25519_key(certificate_der: &[u8]) -> Option<[u8; 32]> {
    let certificate = parse(certificate_der).ok()?;
    let info = certificate.public_key();
    let is_ed25519 = info.algorithm.algorithm == x509_parser::oid_registry::OID_SIG_ED25519;
    is_ed25519.then(|| info.subject_public_key.data.as_ref().try_into().ok()).flatten()
}

/// The serial number of a DER certificate in lower-case hexadecimal, two digits a byte, without a sign byte.
pub fn serial(certificate_der: &[u8]) -> Result<String, IdentityError> {
    Ok(hex(parse(certificate_der)?.raw_serial()))
}

/// Fails if a DER revocation list says of itself that it is for some certificates only (RFC 5280, section 5.2.5).
///
/// TLS verifiers take such a part for the whole where a certificate does not name the part that it is in, and so miss its
/// revocation in another.
pub fn check_whole(crl_der: &[u8]) -> Result<(), IdentityError> {
    let (_, crl) = CertificateRevocationList::from_der(crl_der).map_err(|_| IdentityError::MalformedCrl)?;
    let is_part = crl.extensions().iter().any(|it| it.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
    if is_part { Err(IdentityError::PartialCrl) } else { Ok(()) }
}

/// The serial numbers that a DER revocation list revokes, written as [`serial`] writes them.
///
/// For cutting sessions that are already open; the list's signature and dates are the TLS verifier's part.
pub fn revoked_serials(crl_der: &[u8]) -> Result<BTreeSet<String>, IdentityError> {
    match CertificateRevocationList::from_der(crl_der) {
        Ok(([], crl)) => Ok(crl.iter_revoked_certificates().map(|revoked| hex(revoked.raw_serial())).collect()),
        _ => Err(IdentityError::MalformedCrl),
    }
}

/// The last second (since 1970) at which a DER revocation list is to be believed; none if it does not say.
pub fn list_ends(crl_der: &[u8]) -> Result<Option<i64>, IdentityError> {
    match CertificateRevocationList::from_der(crl_der) {
        Ok(([], crl)) => Ok(crl.next_update().map(|time| time.timestamp())),
        _ => Err(IdentityError::MalformedCrl),
    }
}

pub(crate) fn parse(certificate_der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    if certificate_der.len() > CERTIFICATE_BYTES_MAX {
        return Err(IdentityError::TooLarge { bytes: certificate_der.len() });
    }
    match X509Certificate::from_der(certificate_der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(IdentityError::Malformed),
    }
}

pub(crate) fn hex(integer: &[u8]) -> String {
    // DER puts a zero byte before a positive number whose first bit is set.
    let magnitude = match integer {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    magnitude.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ours take about 500 bytes; 16 KiB is what a TLS record holds.
const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
#[cfg(feature = "authority")]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        signed(|params| params.subject_alt_names = names)
    }

    /// A good one but for what `change` does.
    fn signed(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![dns("meter-7")];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn one_dns_name_of_device_shape_is_the_identity() {
        assert_eq!(device_id(&certificate(vec![dns("meter-7")])), Ok("meter-7".into()));
    }

    #[test]
    fn every_other_set_of_names_is_refused() {
        let uri = SanType::URI("urn:tributary:device:meter-7".try_into().unwrap());
        let ip = SanType::IpAddress([127, 0, 0, 1].into());
        assert_eq!(device_id(&certificate(vec![])), Err(IdentityError::NoName));
        assert_eq!(device_id(&certificate(vec![uri.clone()])), Err(IdentityError::NotDns));
        assert_eq!(device_id(&certificate(vec![ip])), Err(IdentityError::NotDns));
        let two = Err(IdentityError::ManyNames { count: 2 });
        assert_eq!(device_id(&certificate(vec![dns("a"), dns("b")])), two);
        assert_eq!(device_id(&certificate(vec![dns("a"), dns("a")])), two);
        assert_eq!(device_id(&certificate(vec![dns("a"), uri])), two);
        let long = "x".repeat(64);
        for name in ["", "-a", "A", "a.b", "*", "a b", "a/b", "a+", "a#", "a\0b", "meter-7.", &long] {
            assert_eq!(device_id(&certificate(vec![dns(name)])), Err(IdentityError::NotADeviceId), "{name:?}");
        }
    }

    #[test]
    fn a_certificate_for_more_than_a_device_does_is_refused() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
        use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign};
        for purposes in [&[][..], &[Any], &[ServerAuth], &[ClientAuth, Any], &[ClientAuth, ServerAuth, CodeSigning]] {
            let der = signed(|params| params.extended_key_usages = purposes.to_vec());
            assert_eq!(device_id(&der), Err(IdentityError::OtherUse), "{purposes:?}");
        }
        for usages in [&[KeyAgreement][..], &[DigitalSignature, KeyCertSign], &[DigitalSignature, CrlSign]] {
            let der = signed(|params| params.key_usages = usages.to_vec());
            assert_eq!(device_id(&der), Err(IdentityError::OtherKeyUse), "{usages:?}");
        }
        let unstated = signed(|params| params.key_usages = vec![]);
        assert_eq!(device_id(&unstated), Ok("meter-7".into()));
    }

    #[test]
    fn a_certificate_is_for_servers_if_it_says_so_or_does_not_say() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
        let judged = |purposes: &[ExtendedKeyUsagePurpose]| {
            check_server(&signed(|params| params.extended_key_usages = purposes.to_vec()))
        };
        for purposes in [&[][..], &[ServerAuth], &[ClientAuth, ServerAuth]] {
            assert_eq!(judged(purposes), Ok(()), "{purposes:?}");
        }
        for purposes in [&[ClientAuth][..], &[Any]] {
            assert_eq!(judged(purposes), Err(IdentityError::NotForServers), "{purposes:?}");
        }
    }

    #[test]
    fn an_issuer_that_says_it_signs_other_things_is_none() {
        let may = signed(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
        let may_not = signed(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
        assert_eq!(check_issuers([may.as_slice()]), Ok(()));
        assert_eq!(check_issuers([may.as_slice(), may_not.as_slice()]), Err(IdentityError::NotAnIssuer));
    }

    #[test]
    fn two_extensions_of_names_are_refused_and_not_just_the_first_read() {
        let other = [&[0x30, 0x09, 0x82, 0x07][..], b"meter-8"].concat();
        let twice = CustomExtension::from_oid_content(&[2, 5, 29, 17], other);
        let der = signed(|params| params.custom_extensions = vec![twice]);
        assert_eq!(device_id(&der), Err(IdentityError::Malformed));
    }

    #[test]
    fn bytes_that_are_not_one_whole_certificate_are_refused() {
        let mut der = certificate(vec![dns("meter-7")]);
        assert_eq!(device_id(&[]), Err(IdentityError::Malformed));
        for end in 0..der.len() {
            assert_eq!(device_id(&der[..end]), Err(IdentityError::Malformed), "cut at {end}");
        }
        der.push(0);
        assert_eq!(device_id(&der), Err(IdentityError::Malformed));
        assert_eq!(device_id(&[0x30; 20_000]), Err(IdentityError::TooLarge { bytes: 20_000 }));
        assert_eq!(revoked_serials(&der), Err(IdentityError::MalformedCrl));
    }

    #[test]
    fn a_revocation_list_for_a_part_is_told_from_a_whole_one() {
        use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};
        let point = CrlDistributionPoint { uris: vec!["http://lists.example/1.crl".to_owned()] };
        let part = |scope| Some(CrlIssuingDistributionPoint { distribution_point: point.clone(), scope });
        assert_eq!(check_whole(&list(None)), Ok(()));
        for scope in [None, Some(CrlScope::UserCertsOnly), Some(CrlScope::CaCertsOnly)] {
            assert_eq!(check_whole(&list(part(scope))), Err(IdentityError::PartialCrl));
        }
        assert_eq!(check_whole(&[0x30, 0]), Err(IdentityError::MalformedCrl));
    }

    fn list(issuing_distribution_point: Option<rcgen::CrlIssuingDistributionPoint>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
        let issuer = rcgen::Issuer::new(params, KeyPair::generate().unwrap());
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2025, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&issuer).unwrap().der().to_vec()
    }

    #[test]
    fn the_shape_of_a_device_id_has_both_edges() {
        for good in ["a", "0", "meter-7", "a-", "a--b", &"x".repeat(63)] {
            assert!(is_device_id(good), "{good}");
        }
        for bad in ["", "-", "-a", "ä", "a_b", &"x".repeat(64)] {
            assert!(!is_device_id(bad), "{bad}");
        }
    }
}
