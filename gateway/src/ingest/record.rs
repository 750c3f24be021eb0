//! Recording that no single item can hold up: a commit that fails is cut in halves until what fails stands alone, and
//! that is quarantined.

use proto::message::{Notice, Refusal};
use proto::{Channel, DeviceId, Instant};
use tracing::error;

use crate::store::{Item, Ledger, Outcome, Quarantine, StoreError};

/// Records `items`, and what cannot be recorded as quarantined. `outcomes` grows by what is durably settled, in the
/// order of the items, so that after an error only the rest need be tried again.
///
/// # Errors
/// Only when the store is unavailable.
pub fn record(
    ledger: &mut dyn Ledger,
    items: &[Item],
    now: Instant,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    match ledger.record(items) {
        Ok(recorded) => outcomes.extend(recorded),
        Err(error) if error.is_unavailable() => return Err(error),
        Err(_) if items.len() > 1 => {
            let (left, right) = items.split_at(items.len() / 2);
            record(ledger, left, now, outcomes)?;
            record(ledger, right, now, outcomes)?;
        }
        Err(cause) => outcomes.push(settle_aside(ledger, items.first(), &cause, now)?),
    }
    Ok(())
}

/// Quarantines the one item that the store would not take.
fn settle_aside(
    ledger: &mut dyn Ledger,
    item: Option<&Item>,
    cause: &StoreError,
    now: Instant,
) -> Result<Outcome, StoreError> {
    let Some(aside) = item.and_then(|item| aside(item, cause, now)) else {
        error!(error = %cause, "what a device holds, or whether it is there, could not be noted; the next time it will be");
        return Ok(Outcome::Known);
    };
    match ledger.record(&[aside]) {
        Ok(recorded) => Ok(recorded.first().copied().unwrap_or(Outcome::Recorded)),
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) => {
            error!(%error, "it could not even be quarantined; its device keeps it");
            Ok(Outcome::Refused(Refusal::QuarantineFull))
        }
    }
}

/// `item` as something to keep aside, unless its device says it again and again.
fn aside(item: &Item, cause: &StoreError, arrived: Instant) -> Option<Item> {
    let reason = format!("the store refused it: {cause}");
    let notice = |device: &DeviceId, reason, notice: Notice| {
        let (device, bytes) = (device.clone(), notice.encode().into());
        Quarantine { device, channel: Channel::Hello, identity: None, arrived, reason, bytes }
    };
    let quarantine = match item {
        Item::Batch(batch) => Quarantine {
            device: batch.device.clone(),
            channel: Channel::Batch,
            identity: Some((batch.epoch, batch.number, batch.hash)),
            arrived,
            reason,
            bytes: batch.body.clone(),
        },
        Item::Pack(pack) => Quarantine {
            device: pack.device.clone(),
            channel: Channel::Senml,
            identity: None,
            arrived,
            reason,
            bytes: pack.payload.clone(),
        },
        Item::Quarantine(already) => Quarantine { reason, arrived, ..already.clone() },
        Item::Gaps { device, gaps } => notice(device, reason, Notice::Gaps(gaps.clone())),
        Item::Clock { device, clock } => notice(device, reason, Notice::Clocks(vec![*clock])),
        Item::Held { .. } | Item::HeldPart { .. } | Item::Contested { .. } | Item::Presence { .. } => return None,
    };
    error!(device.id = %quarantine.device, reason = quarantine.reason, "quarantined what the store would not take");
    Some(Item::Quarantine(quarantine))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SettledRanges;
    use proto::{Clock, DeviceId, Epoch, Lane, Range};

    /// A store that takes nothing with a poisonous batch in it, and knows when it is down.
    #[derive(Default)]
    struct Picky {
        down: bool,
        /// How many more commits it takes.
        commits_left: Option<usize>,
        recorded: Vec<u64>,
        aside: Vec<u64>,
    }

    fn number(item: &Item) -> u64 {
        match item {
            Item::Batch(batch) => batch.number,
            Item::Quarantine(aside) => aside.identity.map_or(0, |(_, number, _)| number),
            _ => 0,
        }
    }

    impl Ledger for Picky {
        fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
            let failure =
                |code| StoreError::from(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
            if self.down || self.commits_left == Some(0) {
                return Err(failure(rusqlite::ffi::SQLITE_FULL));
            }
            let poisonous = |item: &Item| matches!(item, Item::Batch(batch) if batch.number % 10 == 3);
            if items.iter().any(poisonous) {
                return Err(failure(rusqlite::ffi::SQLITE_CONSTRAINT));
            }
            self.commits_left = self.commits_left.map(|left| left - 1);
            for item in items {
                let list = if matches!(item, Item::Batch(_)) { &mut self.recorded } else { &mut self.aside };
                list.push(number(item));
            }
            Ok(vec![Outcome::Recorded; items.len()])
        }

        fn settled_around(&mut self, _: &DeviceId, _: Epoch, _: Range) -> Result<SettledRanges, StoreError> {
            Ok(SettledRanges::default())
        }
    }

    fn batch(number: u64) -> Item {
        Item::Batch(crate::store::Batch {
            device: "meter-7".parse().unwrap(),
            epoch: Epoch([1; 8]),
            number,
            hash: proto::BodyHash([0; 16]),
            lane: Lane::Live,
            clock: Clock::default(),
            arrived: Instant(0),
            columns: vec![],
            body: bytes::Bytes::from_static(b"body"),
        })
    }

    #[test]
    fn a_poisonous_batch_delays_nobody_and_is_kept_aside() {
        let (mut store, mut outcomes) = (Picky::default(), Vec::new());
        let items: Vec<Item> = (1..=40).map(batch).collect();
        record(&mut store, &items, Instant(0), &mut outcomes).unwrap();
        assert_eq!(outcomes.len(), 40);
        assert_eq!(store.aside, [3, 13, 23, 33]);
        assert_eq!(store.recorded.len(), 36);
    }

    #[test]
    fn a_store_that_is_down_blames_no_batch() {
        let (mut store, mut outcomes) = (Picky { down: true, ..Picky::default() }, Vec::new());
        assert!(record(&mut store, &[batch(1), batch(2)], Instant(0), &mut outcomes).is_err());
        assert!(store.aside.is_empty() && outcomes.is_empty());
    }

    #[test]
    fn a_store_that_fails_half_way_is_given_only_the_rest_again() {
        let mut store = Picky { commits_left: Some(3), ..Picky::default() };
        let (items, mut outcomes) = ((1..=40).map(batch).collect::<Vec<_>>(), Vec::new());
        assert!(record(&mut store, &items, Instant(0), &mut outcomes).is_err());
        store.commits_left = None;
        let done = outcomes.len();
        assert!(done > 0 && done < 40, "{done}");
        record(&mut store, &items[done..], Instant(0), &mut outcomes).unwrap();
        assert_eq!(outcomes.len(), 40);
        let mut all = [store.recorded, store.aside].concat();
        all.sort_unstable();
        assert_eq!(all, (1..=40).collect::<Vec<u64>>(), "each once");
    }
}
