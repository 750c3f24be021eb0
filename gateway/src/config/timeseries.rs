//! `[timeseries]`: a time-series store beside the relational one.

use std::path::PathBuf;

use serde::Deserialize;

use crate::store::influx::{self, Access};

/// `[timeseries]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "type")]
pub enum TimeSeries {
    /// InfluxDB, by the API of its version 1.
    #[serde(rename = "influx-1")]
    Influx1(Influx1),
    /// InfluxDB, by the API of its version 2.
    #[serde(rename = "influx-2")]
    Influx2(Influx2),
}

/// `type = "influx-1"`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Influx1 {
    /// `https://host:8086`
    pub url: String,
    /// The database; it must be there.
    pub database: String,
    /// Who we are there; without it, nobody.
    pub user: Option<String>,
    /// The user's password, mode 0600.
    pub password_file: Option<PathBuf>,
    /// Authorities that sign the server's certificate, PEM; without it, those of the system.
    pub authority_file: Option<PathBuf>,
    /// Whether readings and the password may go unencrypted to another machine.
    #[serde(default)]
    pub plain_http: bool,
}

/// `type = "influx-2"`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Influx2 {
    /// `https://host:8086`
    pub url: String,
    /// The organization.
    pub org: String,
    /// The bucket; it must be there.
    pub bucket: String,
    /// A token that may write and read the bucket, mode 0600.
    pub token_file: PathBuf,
    /// Authorities that sign the server's certificate, PEM; without it, those of the system.
    pub authority_file: Option<PathBuf>,
    /// Whether readings and the token may go unencrypted to another machine.
    #[serde(default)]
    pub plain_http: bool,
}

impl TimeSeries {
    /// The setting that cannot work, and why.
    pub(super) fn first_fault(&self) -> Option<(String, String)> {
        match self {
            Self::Influx1(Influx1 { user, password_file, .. }) if user.is_some() != password_file.is_some() => {
                let why = "and `password_file` go together: give both or neither";
                Some(("timeseries.user".to_owned(), why.to_owned()))
            }
            _ => None,
        }
    }
}

impl Influx1 {
    /// As the store wants it.
    #[must_use]
    pub fn settings(&self) -> influx::Settings {
        let Self { url, database, user, password_file, authority_file, plain_http } = self.clone();
        let access = Access::V1 { database, user: user.zip(password_file) };
        influx::Settings { url, access, authority_file, plain_http }
    }
}

impl Influx2 {
    /// As the store wants it.
    #[must_use]
    pub fn settings(&self) -> influx::Settings {
        let Self { url, org, bucket, token_file, authority_file, plain_http } = self.clone();
        influx::Settings { url, access: Access::V2 { org, bucket, token_file }, authority_file, plain_http }
    }
}
