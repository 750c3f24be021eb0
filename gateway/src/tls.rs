//! What both doors with TLS have in common.

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum TlsMin {
    /// 1.2 and 1.3: clients on old devices speak no other.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3 alone.
    #[serde(rename = "1.3")]
    Tls13,
}

static FROM_12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static FROM_13: [&SupportedProtocolVersion; 1] = [&TLS13];

impl TlsMin {
    /// This version and those after it.
    #[must_use]
    pub fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => &FROM_12,
            Self::Tls13 => &FROM_13,
        }
    }
}
