//! `[audit]`

use std::path::PathBuf;

use serde::Deserialize;

use super::{Config, StoreKind};
use crate::audit::trim::Keep;

/// What somebody did last month is not over.
const DAYS_MIN: u32 = 30;
const DAYS_MAX: u32 = 36_500;
/// Some 6 MiB.
const ENTRIES_MIN: u32 = 10_000;

/// Where the gateway keeps what it must keep, when nobody says otherwise.
const STATE: &str = "/var/lib/tributary";

/// The audit trail.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Where it is written down every minute how far the trail has come.
    pub checkpoint_file: Option<PathBuf>,
    /// Days that an entry is kept.
    pub keep_days: u32,
    /// Entries that are kept at most.
    pub entries_max: u32,
}

impl Default for Audit {
    fn default() -> Self {
        let Keep { days, entries_max } = Keep::default();
        Self { checkpoint_file: None, keep_days: days, entries_max }
    }
}

impl Audit {
    /// The first setting that cannot work, and why.
    pub(super) fn first_fault(&self) -> Option<(&'static str, &'static str)> {
        if !(DAYS_MIN..=DAYS_MAX).contains(&self.keep_days) {
            return Some(("audit.keep_days", "must be from 30 to 36500"));
        }
        let is_few = self.entries_max < ENTRIES_MIN;
        is_few.then_some(("audit.entries_max", "must be at least 10000"))
    }

    /// Which entries are kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        Keep { days: self.keep_days, entries_max: self.entries_max }
    }
}

impl Config {
    /// The file of the audit trail's checkpoints: as it is set; else beside the SQLite database; else in the folder that
    /// systemd gives the gateway for its state.
    #[must_use]
    pub fn audit_checkpoints(&self) -> PathBuf {
        match (&self.audit.checkpoint_file, self.store.kind) {
            (Some(file), _) => file.clone(),
            (None, StoreKind::Sqlite) => self.store.path.with_extension("audit"),
            (None, StoreKind::Postgres) => {
                let folders = std::env::var_os("STATE_DIRECTORY").unwrap_or_default();
                let first = std::env::split_paths(&folders).find(|folder| !folder.as_os_str().is_empty());
                first.unwrap_or_else(|| STATE.into()).join("gateway.audit")
            }
        }
    }
}
