//! How a device comes to its certificate: what it asks for on `enrol`, and the answer on `enrol/answer`.
//!
//! Asked again with the same key, the answer is the same: so nothing is lost by a lost answer, or a power cut.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::DeviceId;
use crate::message::message;
use crate::wire::{self, DecodeError, Nonce, at_most};

/// Bytes of a signing request. Those of a P-256 key take about 200.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024;
/// Bytes of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 4 * 1024;
/// Certificates of a chain, and trust anchors, in one answer.
pub const CERTIFICATES_MAX: usize = 4;

/// What a session of a claim is named: this and something random, as client id and in its topics. No device may have
/// such an id.
pub const CLAIM_PREFIX: &str = "claim-";

/// Whether `id` is that of a claim's session, and of no device.
#[must_use]
pub fn is_claim(id: &DeviceId) -> bool {
    id.as_str().starts_with(CLAIM_PREFIX)
}

/// A device's request for a certificate: its first, with a claim, or its next, over its own connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrol {
    /// Ties the answer to the request.
    pub nonce: Nonce,
    /// Who it wants to be: with a certificate of its own, who that names.
    pub device: DeviceId,
    /// A PKCS#10 request in DER, signed with the key that the certificate is to be about.
    #[serde(deserialize_with = "at_most::<REQUEST_BYTES_MAX, _, _>")]
    pub request: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// The request's.
    pub nonce: Nonce,
    /// The answer itself.
    pub outcome: Outcome,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// Here it is.
    Issued(Issued),
    /// The operator has to allow it. Asked again after so many seconds, the answer may be another.
    Waiting(u32),
    /// No, and asking again does not help.
    Refused(EnrolRefusal),
    /// Not now: asked again after so many seconds, the answer may be another.
    Later(u32),
}

/// A certificate, and what its owner has to know beside it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Issued {
    /// The device's certificate in DER, and then those that lead from it to an anchor, without the anchor.
    #[serde(deserialize_with = "at_most::<CERTIFICATES_MAX, _, _>")]
    pub chain: Vec<Certificate>,
    /// Whom the device is to trust from now on.
    #[serde(deserialize_with = "at_most::<CERTIFICATES_MAX, _, _>")]
    pub anchors: Vec<Certificate>,
    /// The Ed25519 public key that receipts are signed with, where they are.
    pub receipt_key: Option<[u8; 32]>,
}

/// A certificate in DER.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certificate(#[serde(deserialize_with = "at_most::<CERTIFICATE_BYTES_MAX, _, _>")] pub Vec<u8>);

/// Why there is no certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum EnrolRefusal {
    /// The request is not a sound one for a key of the kind that certificates here are about.
    Request,
    /// The claim was used, with another key.
    ClaimUsed,
    /// The claim is over, or is for another device.
    Claim,
    /// The operator does not want this device.
    NotAllowed,
    /// Nobody here issues certificates.
    NoAuthority,
    /// The certificate it asks with names another device than it wants to be.
    OtherDevice,
}

message!(Enrol "enrolment", Enrolled "answer to an enrolment");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_session_is_told_from_a_device_by_its_id() {
        for (id, claims) in [("claim-0a1b", true), ("claim-", true), ("claim", false), ("claims", false), ("a", false)]
        {
            assert_eq!(is_claim(&id.parse().unwrap()), claims, "{id}");
        }
    }

    #[test]
    fn what_is_longer_than_its_bound_is_no_message() {
        let of =
            |bytes| Enrol { nonce: Nonce([0; 8]), device: "a".parse().unwrap(), request: alloc::vec![0x30; bytes] };
        assert!(Enrol::decode(&of(REQUEST_BYTES_MAX).encode()).is_ok());
        assert!(Enrol::decode(&of(REQUEST_BYTES_MAX + 1).encode()).is_err());
        let chain = |count, bytes| {
            let chain = (0..count).map(|_| Certificate(alloc::vec![0x30; bytes])).collect();
            let issued = Issued { chain, anchors: Vec::new(), receipt_key: None };
            Enrolled { nonce: Nonce([0; 8]), outcome: Outcome::Issued(issued) }.encode()
        };
        assert!(Enrolled::decode(&chain(CERTIFICATES_MAX, CERTIFICATE_BYTES_MAX)).is_ok());
        assert!(Enrolled::decode(&chain(CERTIFICATES_MAX + 1, 1)).is_err());
        assert!(Enrolled::decode(&chain(1, CERTIFICATE_BYTES_MAX + 1)).is_err());
    }
}
