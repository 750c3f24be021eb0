//! Who this device is: its certificate, its key, and whom it trusts.

use self::signer::TokenError;
use crate::unusable::Unusable;

pub mod check;
pub mod claim;
mod configs;
pub mod enrol;
pub mod expired;
pub mod keep;
pub mod key;
mod operator;
#[cfg(feature = "pkcs11")]
mod pkcs11;
pub mod receipts;
pub mod renewal;
pub mod signer;
mod tls;
pub mod trust;
mod validity;

pub use self::key::Key;
pub use self::tls::Tls;

/// Why the device cannot show who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file that cannot be used; the message names it and its setting, and says what to do.
    #[error(transparent)]
    File(#[from] Unusable),
    /// Certificate and key do not fit together, or are of a kind that TLS does not take.
    #[error("{certificate} and {key} cannot be used together")]
    Tls {
        /// The certificate's file.
        certificate: String,
        /// The key's file, or which key of a token.
        key: String,
        /// What the TLS library says.
        source: rustls::Error,
    },
    /// A certificate that nobody can be judged by.
    #[error("{file} cannot be used to judge the gateway by")]
    Trust {
        /// The authority's file.
        file: String,
        /// What the TLS library says.
        source: rustls::Error,
    },
    /// The TLS library cannot do what is asked of it.
    #[error("TLS cannot be set up")]
    Library(#[source] rustls::Error),
    /// The token that has the key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is no thread for it.
    #[error("no thread for the token")]
    Thread(#[source] std::io::Error),
    /// This program knows no tokens.
    #[error("`uplink.key` is for programs that are built with the feature `pkcs11`; use `uplink.key_file`")]
    NoTokens,
    /// Reading them was given up.
    #[error("the files were not read to the end")]
    Unread(#[source] tokio::task::JoinError),
}
