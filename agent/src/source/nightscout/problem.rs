//! What can be wrong with a site. No message says which site it is, or repeats what it said.

use std::time::Duration;

/// Why a site, or one collection of it, could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// No connection.
    #[error("cannot connect: {0}; check `url` and that the site is up")]
    Connect(String),
    /// It is on this machine or in this network.
    #[error(
        "`url` means a machine of this network or this machine itself; set `allow_private_addresses = true` if that is meant"
    )]
    Private,
    /// No TLS.
    #[error("no safe connection: {0}")]
    Tls(String),
    /// A file that is needed cannot be used.
    #[error("{0}")]
    File(String),
    /// Too slow.
    #[error("{what} took more than {limit_s} s; the site is slow or gone")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit_s: u64,
    },
    /// The connection ended in the middle.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// An answer that is too long.
    #[error("an answer of more than {bytes_max} bytes; raise `answer_bytes_max` if records are that large")]
    TooLarge {
        /// The most that is taken.
        bytes_max: usize,
    },
    /// An answer in a form that was not asked for.
    #[error("an answer that cannot be unpacked")]
    Packed,
    /// It is somewhere else.
    #[error("the site says that it is at another address, which is not followed; set `url` to it")]
    Redirected,
    /// It does not know us.
    #[error("the site refuses the token or secret (401); check `token_file` or `api_secret_file`")]
    Unauthorized,
    /// We may not read that.
    #[error("the site does not let us read {0} (403); give the token a role that may, such as `readable`")]
    Forbidden(&'static str),
    /// There is nothing.
    #[error("nothing is there (404); is `url` that of a Nightscout site?")]
    Missing,
    /// Another status.
    #[error("the site answers with status {status}")]
    Status {
        /// Which one.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Something else than was asked for.
    #[error("the answer about {what} is not what a Nightscout site says: {problem}")]
    Nonsense {
        /// What was asked for.
        what: &'static str,
        /// What is wrong, without repeating it.
        problem: String,
    },
}

impl Problem {
    /// Whether it concerns what was asked for, and not the site: then the next thing may be asked for at once.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Forbidden(_) | Self::Nonsense { .. } | Self::Missing)
            || matches!(self, Self::Status { status: 400..=428 | 430..=499, .. })
    }

    /// Whether fewer records at once may be answered.
    pub(super) fn is_of_size(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Status { status: 400, .. })
    }

    /// How long the site asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
