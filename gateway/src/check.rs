//! `check-config`: opens all that the settings name and `run` needs, as it does, and changes nothing.
//!
//! Passwords of whoever is not `run` are not looked at: they need not be where the gateway is. No server is asked.

use crate::config::{Config, StoreKind};
use crate::enrol::{self, Claims};
use crate::ingest::broker;
use crate::ingest::signing::ReceiptKey;
use crate::named::{check_file, check_folder_of};
use crate::{opening, renewal};

/// Fails with the first file, folder or key that `run` would refuse, for the user that this is.
pub(crate) fn files(config: &Config) -> anyhow::Result<()> {
    renewal::read(&renewal::Files::of(config), &Claims::default())?;
    renewal::read_http(&config.http)?;
    if let Some(receipts) = &config.receipts {
        ReceiptKey::read(&receipts.key_file)?;
    }
    if let Some(authority) = &config.authority {
        enrol::authority::open(authority)?;
    }
    match config.store.kind {
        StoreKind::Sqlite => check_folder_of(&config.store.path, "store.path")?,
        StoreKind::Postgres => drop(config.store.postgres.ingest()?),
    }
    check_file(&config.audit_checkpoints(), "audit.checkpoint_file")?;
    config.timeseries.as_ref().map(opening::sink_of).transpose()?;
    config.broker()?.as_ref().map_or(Ok(()), broker::check_files)
}
