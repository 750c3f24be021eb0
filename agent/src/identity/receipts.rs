//! Whether a receipt is the gateway's, whoever carried it.

use std::path::Path;

use anyhow::Context;
use proto::DeviceId;
use proto::message::Receipt;
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::unusable::Unusable;

/// The Ed25519 public key that the gateway signs receipts with (RFC 8032), as the device learnt it when it enrolled.
#[derive(Clone, Debug)]
pub struct ReceiptKey(UnparsedPublicKey<[u8; 32]>);

/// A key's text: two digits a byte, and a line's end.
const TEXT_BYTES_MAX: u64 = 128;
/// What names its file.
const SETTING: &str = "uplink.receipt_key_file";

impl ReceiptKey {
    /// The key in `file`: 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it cannot be read, or is something else.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let unusable = |error| Unusable::new(SETTING, &error, "`enrol` brings it where the gateway signs receipts");
        let (bytes, _) = certs::files::read(file, TEXT_BYTES_MAX).map_err(unusable)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
        let digits = u8_pairs(text);
        let key = digits.and_then(|digits| <[u8; 32]>::try_from(digits).ok());
        key.map(Self::of).with_context(|| format!("`{SETTING}`: {} is not 64 hexadecimal digits", file.display()))
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(key: [u8; 32]) -> Self {
        Self(UnparsedPublicKey::new(&ED25519, key))
    }

    /// As it is kept in a file.
    #[must_use]
    pub fn text(key: &[u8; 32]) -> String {
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        digits + "\n"
    }

    /// Whether the gateway said `receipt` to `device`.
    #[must_use]
    pub fn is_genuine(&self, device: &DeviceId, receipt: &Receipt) -> bool {
        let Some(signature) = receipt.signature else { return false };
        self.0.verify(&receipt.to_be_signed(device), &[signature.0, signature.1].concat()).is_ok()
    }
}

fn u8_pairs(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proto::message::Signature;
    use proto::{Epoch, Instant};
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            nonce: None,
            gateway_time: Instant(1),
            epoch: Epoch([2; 8]),
            ranges: Vec::new(),
            continued: false,
            refused: Vec::new(),
            signature: None,
        }
    }

    fn id(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    #[test]
    fn only_what_the_gateway_signed_for_this_very_device_is_genuine() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let key = ReceiptKey::of(pair.public_key().as_ref().try_into().unwrap());
        let signed = |pair: &Ed25519KeyPair, mut receipt: Receipt| {
            let signature = pair.sign(&receipt.to_be_signed(&id("a")));
            let (first, second) = signature.as_ref().split_at(32);
            receipt.signature = Some(Signature(first.try_into().unwrap(), second.try_into().unwrap()));
            receipt
        };
        let genuine = signed(&pair, receipt());
        assert!(key.is_genuine(&id("a"), &genuine));
        assert!(!key.is_genuine(&id("b"), &genuine), "said to another device");
        assert!(!key.is_genuine(&id("a"), &receipt()), "not signed");
        assert!(!key.is_genuine(&id("a"), &Receipt { gateway_time: Instant(2), ..genuine.clone() }), "altered");
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        assert!(!key.is_genuine(&id("a"), &signed(&other, receipt())), "by another");
    }

    #[test]
    fn a_key_is_read_back_from_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts.pub");
        let key: [u8; 32] = std::array::from_fn(|place| u8::try_from(place * 8).unwrap());
        std::fs::write(&path, ReceiptKey::text(&key)).unwrap();
        assert_eq!(ReceiptKey::read(&path).unwrap().0.as_ref(), key);
        for wrong in ["", "a5", &"zz".repeat(32), &"a5".repeat(33)] {
            std::fs::write(&path, wrong).unwrap();
            assert!(ReceiptKey::read(&path).unwrap_err().to_string().contains("64 hexadecimal digits"), "{wrong}");
        }
    }
}
