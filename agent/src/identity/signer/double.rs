//! A double of a token: its key is in memory, and it waits where it is told to.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::{Receiver, Token, TokenError};

pub(in crate::identity) struct TokenDouble {
    key: EcdsaKeyPair,
    has_key: bool,
    hold: Option<Receiver<()>>,
}

impl TokenDouble {
    /// One without a key.
    pub(in crate::identity) fn empty() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { key, has_key: false, hold: None }
    }

    /// One that signs nothing before the other end of `hold` is dropped.
    pub(in crate::identity) fn held(hold: Receiver<()>) -> Self {
        Self { hold: Some(hold), ..Self::empty() }
    }

    /// Its public key.
    pub(in crate::identity) fn public(&self) -> [u8; 65] {
        self.key.public_key().as_ref().try_into().unwrap()
    }
}

impl Token for TokenDouble {
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError> {
        Ok(self.has_key.then(|| self.public()))
    }

    fn make(&mut self) -> Result<[u8; 65], TokenError> {
        self.has_key = true;
        Ok(self.public())
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        if !self.has_key {
            return Err(TokenError::Failed { action: "sign", why: "it has no key".to_owned() });
        }
        if let Some(hold) = &self.hold {
            let _ = hold.recv();
        }
        let signed = self.key.sign(&SystemRandom::new(), message).unwrap();
        Ok(signed.as_ref().try_into().unwrap())
    }
}
