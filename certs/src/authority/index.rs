//! What was issued and what became of it: one JSON line a certificate, after one line about the file itself.
//!
//! The file is rewritten whole and swapped in, by the holder of the lock alone. Rows leave 90 days after their
//! certificate expired, so it grows with the fleet and not with time: 10 000 devices that renew every 60 days keep
//! some 30 000 rows of about 170 bytes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::serial::Serial;
use super::time::{DAY, UnixTime};
use crate::files::{self, FileError};

/// One issued certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its serial number.
    pub serial: Serial,
    /// What it is for.
    pub role: Role,
    /// A device's id; a server's names and addresses, with commas; an authority's name.
    pub subject: String,
    /// First second of its life.
    pub not_before: UnixTime,
    /// Last second of its life.
    pub not_after: UnixTime,
    /// When and why it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revoked>,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A device, a client of the gateway.
    Device,
    /// A gateway or broker, a server to devices.
    Server,
    /// An authority below a root.
    Authority,
}

/// When and why a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
}

/// Why a certificate is revoked: those reasons of RFC 5280 (section 5.3.1) that fit a device or a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No reason stated.
    Unspecified,
    /// The private key may be in other hands: lost, stolen, copied.
    KeyCompromise,
    /// Another certificate has taken its place.
    Superseded,
    /// The device or server is out of use.
    CessationOfOperation,
    /// It may no longer do what it did.
    PrivilegeWithdrawn,
}

/// What a certificate is at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its life has not begun.
    NotYetValid,
    /// In its life and not revoked.
    Valid,
    /// Its life is over; if it was revoked before, that no longer matters.
    Expired,
    /// Revoked within its life.
    Revoked,
}

impl Record {
    /// What the certificate is at `now`.
    pub fn state(&self, now: UnixTime) -> State {
        match () {
            () if now > self.not_after => State::Expired,
            () if self.revoked.is_some() => State::Revoked,
            () if now < self.not_before => State::NotYetValid,
            () => State::Valid,
        }
    }
}

/// An index that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line is not what this version writes.
    #[error("line {line} of {} is not understood; restore the index from a copy, nothing was changed", path.display())]
    Malformed {
        /// The index.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no room for another row.
    #[error("{} would grow beyond {INDEX_BYTES_MAX} bytes; start a second authority for further devices", path.display())]
    Full {
        /// The index.
        path: PathBuf,
    },
    /// It is not an index, or one of a later version.
    #[error("{} is not an index of version {VERSION}; use the version of tributary-certs that wrote it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// The whole index, in the order of issue.
#[derive(Debug, PartialEq)]
pub(crate) struct Index {
    /// The number of the last revocation list; a list that reuses a number may be taken for the older one.
    pub(crate) crl_number: u64,
    pub(crate) records: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    tributary_certs_index: u32,
    crl_number: u64,
}

impl Index {
    pub(crate) fn read(path: &Path) -> Result<Self, IndexError> {
        let (bytes, _) = files::read(path, INDEX_BYTES_MAX)?;
        let malformed = |line| move |source| IndexError::Malformed { path: path.into(), line, source };
        let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        let foreign = || IndexError::Foreign { path: path.into() };
        let (_, head) = lines.next().ok_or_else(foreign)?;
        let head: Head = serde_json::from_slice(head).map_err(malformed(1))?;
        if head.tributary_certs_index != VERSION {
            return Err(foreign());
        }
        let records = lines
            .map(|(place, line)| serde_json::from_slice(line).map_err(malformed(place + 1)))
            .collect::<Result<_, _>>()?;
        Ok(Self { crl_number: head.crl_number, records })
    }

    /// Writes the index in the place of the old one, without the rows that nobody needs any more at `now`.
    pub(crate) fn write(&mut self, path: &Path, now: UnixTime) -> Result<(), IndexError> {
        self.records.retain(|record| record.not_after >= now.minus(KEPT_EXPIRED));
        let malformed = |line| move |source| IndexError::Malformed { path: path.into(), line, source };
        let head = Head { tributary_certs_index: VERSION, crl_number: self.crl_number };
        let mut text = serde_json::to_string(&head).map_err(malformed(1))?;
        text.push('\n');
        for (place, record) in self.records.iter().enumerate() {
            text.push_str(&serde_json::to_string(record).map_err(malformed(place + 2))?);
            text.push('\n');
        }
        if text.len() as u64 > INDEX_BYTES_MAX {
            return Err(IndexError::Full { path: path.into() });
        }
        // Device ids are in it, so it is for its owner alone.
        Ok(files::replace(path, text.as_bytes(), 0o600)?)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Device => "device",
            Self::Server => "server",
            Self::Authority => "authority",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotYetValid => "not-yet-valid",
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

impl Reason {
    /// Every reason, in the order in which help texts list them.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is no reason for a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason; one of: unspecified, key-compromise, superseded, cessation-of-operation, privilege-withdrawn")]
pub struct NotAReason;

impl FromStr for Reason {
    type Err = NotAReason;

    fn from_str(text: &str) -> Result<Self, NotAReason> {
        Self::ALL.into_iter().find(|reason| reason.name() == text).ok_or(NotAReason)
    }
}

const VERSION: u32 = 1;
/// Some 390 000 rows.
const INDEX_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Seconds for which a row outlives its certificate: a quarter, for people who look into what happened.
const KEPT_EXPIRED: u64 = 90 * DAY;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(not_after: u64, revoked: Option<Revoked>) -> Record {
        let time = |seconds: u64| UnixTime::try_from(seconds).unwrap();
        let serial = Serial::draw().unwrap();
        let (role, subject) = (Role::Device, "meter-7".into());
        Record { serial, role, subject, not_before: time(1000), not_after: time(not_after), revoked }
    }

    #[test]
    fn the_index_reads_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let at = UnixTime::try_from(2000_u64).unwrap();
        let records = Reason::ALL.map(|reason| record(3000, Some(Revoked { at, reason }))).into_iter();
        let mut index = Index { crl_number: 7, records: records.chain([record(3000, None)]).collect() };
        index.write(&path, at).unwrap();
        assert_eq!(Index::read(&path).unwrap(), index);
    }

    #[test]
    fn a_row_leaves_ninety_days_after_its_certificate_expired() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index { crl_number: 1, records: vec![record(3000, None), record(3001, None)] };
        index.write(&path, UnixTime::try_from(3001 + 90 * DAY).unwrap()).unwrap();
        assert_eq!(index.records.len(), 1);
        assert_eq!(Index::read(&path).unwrap(), index);
    }

    #[test]
    fn a_damaged_index_is_refused_with_the_line_and_not_read_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index { crl_number: 1, records: vec![record(3000, None), record(3001, None)] };
        index.write(&path, UnixTime::try_from(1000_u64).unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 20]).unwrap();
        assert!(matches!(Index::read(&path), Err(IndexError::Malformed { line: 3, .. })));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Index::read(&path), Err(IndexError::Foreign { .. })));
        std::fs::write(&path, r#"{"tributary_certs_index":2,"crl_number":1}"#).unwrap();
        assert!(matches!(Index::read(&path), Err(IndexError::Foreign { .. })));
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let at = |seconds: u64| UnixTime::try_from(seconds).unwrap();
        let mut record = record(3000, None);
        let states = [999, 1000, 3000, 3001].map(|now| record.state(at(now)));
        assert_eq!(states, [State::NotYetValid, State::Valid, State::Valid, State::Expired]);
        record.revoked = Some(Revoked { at: at(2000), reason: Reason::Superseded });
        assert_eq!(
            [2000, 3000, 3001].map(|now| record.state(at(now))),
            [State::Revoked, State::Revoked, State::Expired]
        );
    }
}
