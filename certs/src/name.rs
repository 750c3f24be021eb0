//! The name in a certificate, read without all the rest of it: what a small device needs to know of a claim.

use crate::der::{Der, SEQUENCE};

/// The one name of a DER certificate whose only subject alternative name is a DNS name (RFC 5280, section 4.2.1.6); none
/// of any other. Whether it is genuine, and may be used like that, is for whoever it is shown to.
#[must_use]
pub fn dns_name(certificate_der: &[u8]) -> Option<&str> {
    let mut body = Der::of_certificate(certificate_der)?;
    for _ in 0..5 {
        body.take(SEQUENCE)?; // how it is signed, by whom, when it is valid, the subject, its key
    }
    let mut extensions = Der(Der(body.take(EXTENSIONS)?).take(SEQUENCE)?);
    let mut names = None;
    while !extensions.0.is_empty() {
        let mut extension = Der(extensions.take(SEQUENCE)?);
        let is_names = extension.take(OBJECT_IDENTIFIER)? == ALTERNATIVE_NAME;
        let _ = extension.take(BOOLEAN); // whether it is critical, where it is
        let value = extension.take(OCTET_STRING)?;
        if is_names && names.replace(value).is_some() {
            return None;
        }
    }
    let mut names = Der(Der(names?).take(SEQUENCE)?);
    let name = names.take(DNS_NAME)?;
    std::str::from_utf8(name).ok().filter(|_| names.0.is_empty())
}

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const DNS_NAME: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17.
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

#[cfg(test)]
#[cfg(feature = "authority")]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn it_is_the_name_that_a_whole_parser_reads_in_what_our_authority_issues() {
        let folder = tempfile::tempdir().unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let authority = crate::Authority::create(&folder.path().join("ca"), "test", 300, at).unwrap();
        for id in ["a", "claim-01234567", &"m".repeat(63)] {
            let der = authority.issue_device(id, 30, at).unwrap().leaf.der;
            assert_eq!(dns_name(&der), Some(id));
            assert_eq!(crate::identity::device_id(&der).as_deref(), Ok(id));
        }
    }

    #[test]
    fn a_certificate_with_no_name_another_kind_of_name_or_several_has_none() {
        let address = SanType::IpAddress("127.0.0.1".parse().unwrap());
        assert_eq!(dns_name(&certificate(vec![dns("a")])), Some("a"));
        for names in [vec![], vec![address.clone()], vec![dns("a"), dns("b")], vec![dns("a"), address]] {
            assert_eq!(dns_name(&certificate(names.clone())), None, "{names:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_name_and_does_no_harm() {
        let mut der = certificate(vec![dns("claim-7")]);
        for end in 0..der.len() {
            assert_eq!(dns_name(&der[..end]), None, "cut at {end}");
        }
        let sound = der.clone();
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                der[at] ^= flip;
                let _ = dns_name(&der); // some other name, or none
                der[at] = sound[at];
            }
        }
        der.push(0);
        assert_eq!(dns_name(&der), None, "something behind it");
    }
}
