//! The key that a certificate is about, read without all the rest of it.

use crate::der::{Der, SEQUENCE};

/// The public key of a DER certificate, as it stands there (RFC 5280, section 4.1.2.7): 65 bytes of a point where it is of
/// P-256. None of what is no certificate.
#[must_use]
pub fn public_key(certificate_der: &[u8]) -> Option<&[u8]> {
    let mut body = Der::of_certificate(certificate_der)?;
    for _ in 0..4 {
        body.take(SEQUENCE)?; // how it is signed, by whom, when it is valid, the subject
    }
    let mut info = Der(body.take(SEQUENCE)?);
    info.take(SEQUENCE)?; // of which kind it is
    let (unused, key) = info.take(BIT_STRING)?.split_first()?;
    (*unused == 0 && info.0.is_empty()).then_some(key)
}

const BIT_STRING: u8 = 0x03;

#[cfg(test)]
#[cfg(feature = "authority")]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
    };

    use super::*;

    #[test]
    fn it_is_the_key_that_the_certificate_was_made_for_of_each_kind_that_devices_may_have() {
        for (kind, bytes) in [(&PKCS_ECDSA_P256_SHA256, 65), (&PKCS_ECDSA_P384_SHA384, 97), (&PKCS_ED25519, 32)] {
            let key = KeyPair::generate_for(kind).unwrap();
            let certificate = CertificateParams::default().self_signed(&key).unwrap();
            assert_eq!(public_key(certificate.der()), Some(key.der_bytes()));
            assert_eq!(key.der_bytes().len(), bytes);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_key_and_does_no_harm() {
        let certificate = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let sound = certificate.der().to_vec();
        for end in 0..sound.len() {
            assert_eq!(public_key(&sound[..end]), None, "cut at {end}");
        }
        let mut der = sound.clone();
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                der[at] ^= flip;
                let _ = public_key(&der); // some other key, or none
                der[at] = sound[at];
            }
        }
        der.push(0);
        assert_eq!(public_key(&der), None, "something behind it");
    }
}
