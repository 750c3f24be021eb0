//! `[listener]` and `[http]`: where devices and people come in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::Config;
use super::authority::{Authority, Issuer};
use crate::tls::TlsMin;
use crate::{api, ingest::listener};

/// The least bytes a second that a device may be allowed: two of the largest frames.
const BYTES_PER_S_MIN: u32 = 256 * 1024;

/// `[listener]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port for MQTT over TLS.
    #[serde(default = "default_address", deserialize_with = "address")]
    pub address: SocketAddr,
    /// The gateway's certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM, mode 0600.
    pub key_file: PathBuf,
    /// The authorities that sign devices, PEM.
    pub authority_file: PathBuf,
    /// Their revocation lists, PEM; see [`Config::lists`].
    pub crl_file: Option<PathBuf>,
    /// The oldest version of TLS that is spoken.
    #[serde(default)]
    pub tls_min: TlsMin,
    /// Devices connected at once.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    /// Packets a second of one device.
    #[serde(default = "default_publishes")]
    pub device_publishes_per_s_max: u32,
    /// Bytes a second of one device.
    #[serde(default = "default_bytes")]
    pub device_bytes_per_s_max: u32,
}

/// Where to listen: names could mean several addresses, or others tomorrow.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        let form = "an address and a port, such as 127.0.0.1:8883 or [::1]:8883; names are not taken here";
        D::Error::custom(format!("{text:?} is not {form}"))
    })
}

fn default_address() -> SocketAddr {
    listener::Settings::default().address
}

fn default_connections_max() -> usize {
    listener::Settings::default().connections_max
}

fn default_publishes() -> u32 {
    listener::Settings::default().device_publishes_per_s_max
}

fn default_bytes() -> u32 {
    listener::Settings::default().device_bytes_per_s_max
}

impl Listener {
    /// The first setting that cannot work, and why.
    pub(super) fn first_fault(&self) -> Option<(&'static str, String)> {
        if self.connections_max == 0 {
            return Some(("connections_max", "must be at least 1".to_owned()));
        }
        if self.device_publishes_per_s_max == 0 {
            return Some(("device_publishes_per_s_max", "must be at least 1".to_owned()));
        }
        (self.device_bytes_per_s_max < BYTES_PER_S_MIN).then(|| {
            ("device_bytes_per_s_max", format!("must be at least {BYTES_PER_S_MIN}, or large frames wait for long"))
        })
    }

    /// As the listener takes them.
    pub(super) fn settings(&self) -> listener::Settings {
        let &Self { address, connections_max, device_publishes_per_s_max, device_bytes_per_s_max, .. } = self;
        let defaults = listener::Settings::default();
        listener::Settings { address, connections_max, device_publishes_per_s_max, device_bytes_per_s_max, ..defaults }
    }
}

/// The revocation lists that the listener goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lists {
    /// What `listener.crl_file` names. It says all there is to say: whoever is of an authority without a list is refused.
    Named(PathBuf),
    /// The list of our own authority, where nobody names any. Of others' devices it says nothing, and they are let in.
    Own(PathBuf),
}

impl Lists {
    /// PEM.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Named(file) | Self::Own(file) => file,
        }
    }

    /// What says so.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Named(_) => "listener.crl_file",
            Self::Own(_) => "authority.path",
        }
    }
}

impl Config {
    /// The revocation lists that the listener goes by: those that are named; else our own authority's, which is renewed here;
    /// else none, and no certificate is refused for being on a list.
    #[must_use]
    pub fn lists(&self) -> Option<Lists> {
        let named = self.listener.crl_file.clone().map(Lists::Named);
        named.or_else(|| self.own_list().map(Lists::Own))
    }

    /// The list of our own authority, if there is one.
    #[must_use]
    pub fn own_list(&self) -> Option<PathBuf> {
        match self.authority.as_ref().map(Authority::issuer) {
            Some(Ok(Issuer::Own(folder, _))) => Some(folder.join("ca.crl")),
            _ => None,
        }
    }
}

/// `[http]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port of dashboard and API. Loopback only, until there are accounts.
    #[serde(deserialize_with = "address")]
    pub address: SocketAddr,
    /// A certificate chain, PEM: with it, people come in by HTTPS and not without.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM, mode 0600.
    pub key_file: Option<PathBuf>,
    /// The oldest version of TLS that is spoken then.
    pub tls_min: TlsMin,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            certificate_file: None,
            key_file: None,
            tls_min: TlsMin::default(),
        }
    }
}

impl Http {
    /// The first setting that cannot work, and why.
    pub(super) fn first_fault(&self) -> Option<(&'static str, String)> {
        if let Err(error) = api::check_address(self.address) {
            return Some(("address", error.to_string()));
        }
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => Some(("key_file", "must be there beside `http.certificate_file`".to_owned())),
            (None, Some(_)) => Some(("certificate_file", "must be there beside `http.key_file`".to_owned())),
            _ => None,
        }
    }
}
