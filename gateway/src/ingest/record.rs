//! Recording that no single item can hold up: a commit that fails is cut in halves until what fails stands alone, and
//! that is quarantined.

use proto::{Channel, DeviceId, Epoch, Instant, Range};
use tracing::error;

use crate::store::sqlite::{StoreError, Writer};
use crate::store::{Item, Outcome, Quarantine, SettledRanges};

/// What the pipeline needs of a store's writing side.
pub trait Ledger: Send {
    /// Records all of `items` in one durable transaction, or none.
    ///
    /// # Errors
    /// See [`StoreError::is_unavailable`].
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError>;
    /// All that is settled of an epoch.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn settled(&mut self, device: &DeviceId, epoch: Epoch) -> Result<SettledRanges, StoreError>;
    /// What is settled around `range`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, range: Range) -> Result<SettledRanges, StoreError>;
}

impl Ledger for Writer {
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        Self::record(self, items)
    }

    fn settled(&mut self, device: &DeviceId, epoch: Epoch) -> Result<SettledRanges, StoreError> {
        Self::settled(self, device, epoch)
    }

    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, range: Range) -> Result<SettledRanges, StoreError> {
        Self::settled_around(self, device, epoch, range)
    }
}

/// Records `items`, and what cannot be recorded as quarantined.
///
/// # Errors
/// Only when the store is unavailable. Part of `items` may then have been recorded; recording them again changes
/// nothing.
pub fn record(ledger: &mut dyn Ledger, items: &[Item], now: Instant) -> Result<Vec<Outcome>, StoreError> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    match ledger.record(items) {
        Err(error) if error.is_unavailable() => Err(error),
        Err(_) if items.len() > 1 => {
            let (left, right) = items.split_at(items.len() / 2);
            let mut outcomes = record(ledger, left, now)?;
            outcomes.extend(record(ledger, right, now)?);
            Ok(outcomes)
        }
        Err(cause) => match items.first().and_then(|item| aside(item, &cause, now)) {
            Some(aside) => ledger.record(&[aside]),
            None => {
                // A hello or a sign of life that cannot be noted: the next one will be.
                error!(error = %cause, "a message without readings could not be recorded");
                Ok(vec![Outcome::Known])
            }
        },
        recorded => recorded,
    }
}

/// `item` as something to keep aside, if it carries readings.
fn aside(item: &Item, cause: &StoreError, arrived: Instant) -> Option<Item> {
    let reason = format!("the store refused it: {cause}");
    error!(%reason, "quarantined what the store would not take");
    let quarantine = match item {
        Item::Batch(batch) => Quarantine {
            device: batch.device.clone(),
            channel: Channel::Batch,
            identity: Some((batch.epoch, batch.number, batch.hash)),
            arrived,
            reason,
            bytes: batch.body.clone(),
        },
        Item::Quarantine(already) => Quarantine { reason, arrived, ..already.clone() },
        _ => return None,
    };
    Some(Item::Quarantine(quarantine))
}
