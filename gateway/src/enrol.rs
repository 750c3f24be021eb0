//! How devices come to their certificates: claims, the operator's word, issue and renewal.
//!
//! A device connects with a claim, which is a certificate too, and may then do nothing but ask on `enrol`. The [`desk`]
//! decides by what the [`registry`] knows and has the authority issue; a device that has a certificate asks for its next
//! one in the same way over its own connection. The same request is answered in the same way as often as it comes.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

pub mod authority;
pub mod desk;
pub mod registry;
pub mod watch;

pub use desk::Desk;
pub use registry::Registry;

/// Who asks for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// Whoever was told the code of this public key.
    Code([u8; 32]),
    /// One of many that share a claim: its name alone says nothing.
    Shared,
    /// A device that has one already.
    Device,
}

/// The public keys of the codes that may be shown now. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<RwLock<HashSet<[u8; 32]>>>);

impl Claims {
    /// From now on it is these.
    pub fn set(&self, keys: HashSet<[u8; 32]>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The key of a DER certificate, if a code that may be shown now has it.
    #[must_use]
    pub fn of(&self, certificate: &[u8]) -> Option<[u8; 32]> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        certs::identity::ed25519_key(certificate).filter(|key| known.contains(key))
    }
}
