//! How devices come to their certificates: claims, the operator's word, issue and renewal.
//!
//! A device connects with a claim, which is a certificate too, and may then do nothing but ask on `enrol`. The [`desk`]
//! decides by what the [`registry`] knows and has the authority issue; a device that has a certificate asks for its next
//! one in the same way over its own connection. The same request is answered in the same way as often as it comes.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use proto::DeviceId;
use proto::enrol::is_claim;

pub mod authority;
pub mod cuts;
pub mod desk;
pub mod registry;
pub mod watch;

pub use cuts::Cuts;
pub use desk::Desk;
pub use registry::Registry;

/// Who asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// Whoever was told the code of this public key.
    Code([u8; 32]),
    /// One of many that share a claim, whose certificate has this name: it alone says nothing of who asks.
    Shared(DeviceId),
    /// A device that has one already.
    Device,
    /// A device whose certificate has expired, of late enough.
    Expired {
        /// Whom it named.
        device: DeviceId,
        /// Its serial number, as `certs::identity::serial` writes it.
        serial: String,
    },
}

/// What may be shown now to ask for a certificate, beside one that is good; and which are good no more. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The public keys of codes.
    codes: Arc<RwLock<HashSet<[u8; 32]>>>,
    /// How long after its end a device's certificate is still good for asking for the next one.
    grace: Duration,
    cuts: Cuts,
}

impl Claims {
    /// No codes yet; certificates that expired at most `grace` ago.
    #[must_use]
    pub fn with_grace(grace: Duration) -> Self {
        Self { grace, ..Self::default() }
    }

    /// Who is cut off.
    #[must_use]
    pub fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// From now on the codes are these.
    pub fn set(&self, keys: HashSet<[u8; 32]>) {
        *self.codes.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// The last second (since 1970) of a DER certificate of a device that expired before second `now`, and not too long
    /// before. Not of a claim that many share: its end is the operator's means against copies of it.
    #[must_use]
    pub fn expired(&self, certificate: &[u8], now: u64) -> Option<u64> {
        let until = u64::try_from(certs::life(certificate)?.1).ok()?;
        let is_within = until < now && now - until <= self.grace.as_secs();
        let device: DeviceId = certs::identity::device_id(certificate).ok()?.parse().ok()?;
        (is_within && !is_claim(&device)).then_some(until)
    }

    /// The key of a DER certificate, if a code that may be shown now has it.
    #[must_use]
    pub fn of(&self, certificate: &[u8]) -> Option<[u8; 32]> {
        let known = self.codes.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        certs::identity::ed25519_key(certificate).filter(|key| known.contains(key))
    }
}
