//! `[uplink]` and `[uplink.key]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::uplink::{KeyName, KeySettings, Pace, Settings, TokenSettings, mqtt};

/// `[uplink]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// The gateway's name, as in its certificate.
    pub host: String,
    /// Its MQTT port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whom to trust, PEM.
    pub authority_file: PathBuf,
    /// This device's certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM, mode 0600. Either this or `key`.
    pub key_file: Option<PathBuf>,
    /// Its private key in a token.
    pub key: Option<TokenKey>,
    /// The public key that receipts must be signed with, if they must.
    pub receipt_key_file: Option<PathBuf>,
    /// The template of AWS IoT's fleet provisioning, where AWS IoT gives this device its certificate.
    pub provisioning_template: Option<String>,
    /// The first wait before another connection, in seconds.
    #[serde(default = "default_reconnect_s_min")]
    pub reconnect_s_min: f64,
    /// The longest such wait, in seconds.
    #[serde(default = "default_reconnect_s_max")]
    pub reconnect_s_max: f64,
    /// Seconds without traffic after which the client pings.
    #[serde(default = "default_keep_alive_s")]
    pub keep_alive_s: u16,
    /// Publishes a second, both ways together; 0 for no limit.
    #[serde(default)]
    pub publishes_per_s_max: u32,
    /// Bytes a second; 0 for no limit.
    #[serde(default)]
    pub bytes_per_s_max: u32,
    /// Frames sent and not yet confirmed.
    #[serde(default = "default_window_frames_max")]
    pub window_frames_max: usize,
}

impl Uplink {
    /// The first setting that cannot work, and why.
    pub(super) fn first_fault(&self) -> Option<(&'static str, &'static str)> {
        let waits = [self.reconnect_s_min, self.reconnect_s_max];
        if !waits.iter().all(|wait| (0.01..=86_400.0).contains(wait)) || waits[0] > waits[1] {
            return Some(("uplink.reconnect_s_min", "must be from 0.01 s up to `uplink.reconnect_s_max`"));
        }
        if !(1..=1_200).contains(&self.keep_alive_s) {
            return Some(("uplink.keep_alive_s", "must be from 1 to 1200"));
        }
        if !(1..=mqtt::FRAMES_MAX).contains(&self.window_frames_max) {
            return Some(("uplink.window_frames_max", "must be from 1 to 32"));
        }
        // Its form is that of the API reference, CreateProvisioningTemplate.
        if self.provisioning_template.as_ref().is_some_and(|name| {
            !(1..=36).contains(&name.len())
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        }) {
            return Some(("uplink.provisioning_template", "must be 1 to 36 letters, digits, `_` and `-`"));
        }
        if self.host.is_empty() || self.port == 0 {
            return Some(("uplink.host", "and `uplink.port` must say where the gateway is"));
        }
        self.fault_of_key()
    }

    fn fault_of_key(&self) -> Option<(&'static str, &'static str)> {
        if self.key_file.is_some() == self.key.is_some() {
            let wrong = "or the table `uplink.key` must say where the key is: just one of them";
            return Some(("uplink.key_file", wrong));
        }
        let key = self.key.as_ref()?;
        if key.name().is_none() {
            return Some(("uplink.key", "needs just one of `label`, a text, and `id`, in hexadecimal"));
        }
        if !cfg!(feature = "pkcs11") {
            let wrong = "is for programs that are built with the feature `pkcs11`; use `uplink.key_file`";
            return Some(("uplink.key", wrong));
        }
        None
    }

    fn key_settings(&self) -> Option<KeySettings> {
        match (&self.key_file, &self.key) {
            (Some(file), None) => Some(KeySettings::File(file.clone())),
            (None, Some(key)) => {
                let TokenKey { module, token, pin_file, .. } = key.clone();
                Some(KeySettings::Token(TokenSettings { module, token, key: key.name()?, pin_file }))
            }
            _ => None,
        }
    }

    /// For the uplink. There is some for every configuration that was found faultless.
    pub(super) fn settings(self) -> Option<Settings> {
        let key = self.key_settings()?;
        let pace = Pace {
            reconnect_min: Duration::from_secs_f64(self.reconnect_s_min),
            reconnect_max: Duration::from_secs_f64(self.reconnect_s_max),
            keep_alive: Duration::from_secs(self.keep_alive_s.into()),
            publishes_per_s_max: self.publishes_per_s_max,
            bytes_per_s_max: self.bytes_per_s_max,
            window_frames: self.window_frames_max,
            ..Pace::default()
        };
        Some(Settings {
            host: self.host,
            port: self.port,
            authority_file: self.authority_file,
            certificate_file: self.certificate_file,
            key,
            receipt_key_file: self.receipt_key_file,
            provisioning_template: self.provisioning_template,
            pace,
        })
    }
}

/// `[uplink.key]`: either a label or an id.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TokenKey {
    /// The PKCS#11 module, a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The key's label.
    pub label: Option<String>,
    /// The key's id, in hexadecimal.
    pub id: Option<String>,
    /// A file with the PIN, mode 0600.
    pub pin_file: PathBuf,
}

impl TokenKey {
    /// What tells it from the others, if that is said as it should be.
    fn name(&self) -> Option<KeyName> {
        match (&self.label, &self.id) {
            (Some(label), None) => (!label.is_empty()).then(|| KeyName::Label(label.clone())),
            (None, Some(id)) => {
                let pairs = id.as_bytes().chunks(2).map(|pair| {
                    let pair =
                        std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
                    u8::from_str_radix(pair, 16).ok()
                });
                pairs.collect::<Option<Vec<u8>>>().filter(|id| !id.is_empty()).map(KeyName::Id)
            }
            _ => None,
        }
    }
}

/// MQTT over TLS as registered with IANA.
fn default_port() -> u16 {
    8883
}

fn default_reconnect_s_min() -> f64 {
    Pace::default().reconnect_min.as_secs_f64()
}

fn default_reconnect_s_max() -> f64 {
    Pace::default().reconnect_max.as_secs_f64()
}

fn default_keep_alive_s() -> u16 {
    u16::try_from(Pace::default().keep_alive.as_secs()).unwrap_or(u16::MAX)
}

fn default_window_frames_max() -> usize {
    Pace::default().window_frames
}
