//! Where an InfluxDB is, and who we are there.

use std::path::PathBuf;

/// Where readings go. All of them are points of the measurement `reading`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `https://host:8086`; whatever path a proxy needs is kept.
    pub url: String,
    /// Which API, where in it, and who we are.
    pub access: Access,
    /// Authorities that sign the server's certificate, PEM; without it, those of the system.
    pub authority_file: Option<PathBuf>,
    /// Whether readings and secrets may go unencrypted to another machine.
    pub plain_http: bool,
}

/// One of InfluxDB's two ways to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Version 1.
    V1 {
        /// The database.
        database: String,
        /// The user, and the file of the password (mode 0600), where it asks for one.
        user: Option<(String, PathBuf)>,
    },
    /// Version 2.
    V2 {
        /// The organization.
        org: String,
        /// The bucket.
        bucket: String,
        /// The file of the token (mode 0600).
        token_file: PathBuf,
    },
}
