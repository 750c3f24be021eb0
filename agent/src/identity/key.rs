//! Where the device's private key is, and what signs with it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroize;

use super::IdentityError;
use super::signer::{Token, TokenError, TokenKey};
use crate::uplink::KeySettings;

/// A private key: a file, which others take its place in, or a token, which keeps its own for good. Clones are the same.
#[derive(Clone, Debug)]
pub enum Key {
    /// In a file: PEM, mode 0600.
    File(PathBuf),
    /// In a token, of which this is the thread.
    Token(TokenKey),
}

impl Key {
    /// The key that the settings name. Nothing is read or asked of a token yet.
    ///
    /// # Errors
    /// When this program knows no tokens, or there is no thread for one.
    pub fn open(settings: &KeySettings) -> Result<Self, IdentityError> {
        match settings {
            KeySettings::File(file) => Ok(Self::File(file.clone())),
            #[cfg(feature = "pkcs11")]
            KeySettings::Token(token) => {
                let name = format!("the key in token {:?}", token.token);
                Self::in_token(&name, super::pkcs11::Pkcs11Token::new(token.clone()))
            }
            #[cfg(not(feature = "pkcs11"))]
            KeySettings::Token(_) => Err(IdentityError::NoTokens),
        }
    }

    /// The key in `token`, called `name` where something is wrong with it.
    ///
    /// # Errors
    /// When there is no thread for the token.
    pub fn in_token(name: &str, token: impl Token) -> Result<Self, IdentityError> {
        TokenKey::new(name, token).map(Self::Token).map_err(IdentityError::Thread)
    }

    /// Its file, if it is in one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Token(_) => None,
        }
    }

    /// Waits until it can sign, and answers whether it is known to be another than before. Blocks for as long as
    /// [`TokenKey::ready`]; a file is looked at by whoever reads it.
    pub(super) fn ready(&self) -> Result<bool, TokenError> {
        match self {
            Self::File(_) => Ok(false),
            Self::Token(token) => token.ready(),
        }
    }

    /// It and the `chain` of its certificates.
    pub(super) fn certified(&self, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, Unfit> {
        let certified = match self {
            Self::Token(token) => CertifiedKey::new(chain, Arc::new(token.clone())),
            Self::File(file) => {
                let mut key = certs::read_private_key(file).map_err(Unfit::File)?;
                let signing = rustls::crypto::ring::sign::any_supported_type(&key);
                // The text of the file is wiped by who read it. What signs from now on is within the library, and stays.
                key.zeroize();
                CertifiedKey::new(chain, signing.map_err(Unfit::Tls)?)
            }
        };
        match certified.keys_match() {
            // A token that does not show its public key is found out by the gateway.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(source) => Err(Unfit::Tls(source)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Token(token) => f.write_str(token.name()),
        }
    }
}

/// Why a key does not go with a chain.
pub(super) enum Unfit {
    /// Its file cannot be used.
    File(certs::PemFileError),
    /// It is of another kind, or another certificate's.
    Tls(rustls::Error),
}
