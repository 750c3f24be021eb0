//! What receipts are signed with, so that a device believes them whoever carries them.

use std::path::Path;

use anyhow::Context;
use proto::DeviceId;
use proto::message::{Receipt, Signature};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::PrivateKeyDer;

use crate::named::Named;

/// An Ed25519 key (RFC 8032), whose public half devices learn when they enrol.
#[derive(Debug)]
pub struct ReceiptKey(Ed25519KeyPair);

impl ReceiptKey {
    /// The key in `file`: PKCS#8 in PEM, mode 0600, as `openssl genpkey -algorithm ed25519` makes it.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it is no such key.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        Self::of(file).named_by("receipts.key_file")
    }

    fn of(file: &Path) -> anyhow::Result<Self> {
        let key = certs::read_private_key(file)?;
        let wrong = || {
            let file = file.display();
            format!("{file} is no Ed25519 key; make one with `openssl genpkey -algorithm ed25519 -out {file}`")
        };
        let PrivateKeyDer::Pkcs8(pkcs8) = &key else { anyhow::bail!(wrong()) };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8.secret_pkcs8_der());
        Ok(Self(pair.ok().with_context(wrong)?))
    }

    /// Its public half.
    ///
    /// # Panics
    /// Never: such keys have 32 bytes.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(self.0.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Signs what `receipt` says to `device`.
    pub(super) fn sign(&self, device: &DeviceId, receipt: &mut Receipt) {
        let signature = self.0.sign(&receipt.to_be_signed(device));
        let (mut first, mut second) = ([0; 32], [0; 32]);
        let bytes = first.iter_mut().chain(&mut second);
        bytes.zip(signature.as_ref()).for_each(|(to, from)| *to = *from);
        receipt.signature = Some(Signature(first, second));
    }
}
