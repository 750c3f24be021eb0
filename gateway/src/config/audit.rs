//! `[audit]`

use std::path::PathBuf;

use serde::Deserialize;

use super::{Config, StoreKind};

/// Where the gateway keeps what it must keep, when nobody says otherwise.
const STATE: &str = "/var/lib/tributary";

/// The audit trail.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Where it is written down every minute how far the trail has come.
    pub checkpoint_file: Option<PathBuf>,
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
