//! Why an authority cannot do what was asked.

use std::path::PathBuf;

use super::index::IndexError;
use super::kind::Kind;
use super::lock::LockError;
use super::profile::ProfileError;
use super::request::RequestError;
use super::time::{TimeOutOfRange, UnixTime};
use crate::files::FileError;
use crate::key_file::KeyFileError;
use crate::pem_file::PemFileError;

/// An authority that cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The private key file is missing or open to others.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A PEM file is missing or wrong.
    #[error(transparent)]
    Pem(#[from] PemFileError),
    /// The index is missing or damaged.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Another process is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The signing request is refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A name or a life that no certificate gets.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The clock, or a life that was asked for, is beyond what a certificate can state.
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
    /// A file of the folder is not what an authority has there, or does not go with the others.
    #[error("{} {why}; restore the folder from a copy", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The authority's own certificate is not valid now.
    #[error("the authority is valid from {not_before} to {not_after}, which is not now; is the clock right?")]
    NotNow {
        /// First second of its life.
        not_before: UnixTime,
        /// Last second of its life.
        not_after: UnixTime,
    },
    /// A certificate would outlive its authority, and be refused from then on.
    #[error("the authority ends {not_after}, before the certificate would; ask for fewer days or make a new authority")]
    Outlived {
        /// Last second of the authority's life.
        not_after: UnixTime,
    },
    /// A root was asked for a leaf, or another authority for an authority.
    #[error("{}", match kind {
        Kind::Root => "this is a root: it signs authorities and nothing else; make one below it with `tributary-certs init --under`",
        Kind::Alone | Kind::Issuing => "this authority signs devices and servers; only a root signs authorities (`tributary-certs init --root`)",
    })]
    NotItsPart {
        /// What it is.
        kind: Kind,
    },
    /// What a root sent back for an authority below it cannot be installed.
    #[error("{}: {why}", path.display())]
    NotForThis {
        /// The file that was to be installed.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such certificate in the index.
    #[error("no such certificate was issued here, or it expired; see `tributary-certs list`")]
    Unknown,
    /// The system's random source failed.
    #[error("no random numbers from the system")]
    Random(#[from] getrandom::Error),
    /// A certificate or list could not be made or signed.
    #[error("cannot {action}")]
    Signing {
        /// What was attempted, as a verb.
        action: &'static str,
        /// What went wrong.
        source: rcgen::Error,
    },
}
