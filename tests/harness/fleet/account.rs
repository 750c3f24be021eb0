//! What the account holds: certificates, their tokens, and things.

use std::collections::BTreeMap;

/// Whether a certificate lets anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody, yet.
    PendingActivation,
    /// Who has its key.
    Active,
}

/// A certificate of the account.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// DER.
    pub der: Vec<u8>,
    /// PEM.
    pub pem: String,
    /// Whether it lets anybody in.
    pub status: Status,
    /// What proves that who has it may provision it.
    pub token: String,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Those that were made and are there.
    pub certificates: Vec<Certificate>,
    /// How many were ever made.
    pub made: usize,
    /// Things, and the places in [`Account::made`]'s order of the certificates that each has.
    pub things: BTreeMap<String, Vec<Vec<u8>>>,
    /// Sessions that were let in as a device, by thing.
    pub connected: Vec<String>,
}

impl Account {
    /// Adds a certificate, and answers with its token.
    pub(super) fn make(&mut self, der: Vec<u8>, pem: String) -> Certificate {
        self.made += 1;
        let token = format!("token/{}+==", self.made);
        let made = Certificate { der, pem, status: Status::PendingActivation, token };
        self.certificates.push(made.clone());
        made
    }

    /// Makes `thing` with the certificate of `token`; false where the token is not good.
    pub(super) fn provision(&mut self, token: &str, thing: &str, takes_used_tokens: bool) -> bool {
        let Some(certificate) = self.certificates.iter_mut().find(|certificate| certificate.token == token) else {
            return false;
        };
        if certificate.status == Status::Active && !takes_used_tokens {
            return false;
        }
        certificate.status = Status::Active;
        let attached = self.things.entry(thing.to_owned()).or_default();
        if !attached.contains(&certificate.der) {
            attached.push(certificate.der.clone());
        }
        true
    }

    pub(super) fn expire(&mut self) {
        self.certificates.retain(|certificate| certificate.status == Status::Active);
    }

    /// Whether `der` is active and of the thing `name`.
    pub(super) fn lets_in(&self, der: &[u8], name: &str) -> bool {
        let is_active = |certificate: &Certificate| certificate.der == der && certificate.status == Status::Active;
        let is_its = self.things.get(name).is_some_and(|attached| attached.iter().any(|one| one == der));
        is_its && self.certificates.iter().any(is_active)
    }
}
