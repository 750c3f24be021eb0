//! Holds an image against what the gateway had said until then, and against itself.

use std::collections::BTreeMap;
use std::path::Path;

use gateway::ingest::judge::judge;
use gateway::ingest::{Arrival, ConnectionId, Ticket};
use gateway::store::Ledger as _;
use gateway::store::sqlite::Store;
use proto::Channel;

use super::ears::Claim;
use super::feed::{Feed, Identity, Truth};
use super::image::{Image, Place, now};
use crate::rig::Fault;

/// After how many of the cuts everything is sent again, about: it takes longer than all else.
const SENT_AGAIN_EVERY: usize = 6;

/// Told of everything that is wrong.
pub(crate) type Blame<'b> = dyn FnMut(Fault, String) + 'b;

/// Opens the image in `folder` as the gateway does after the power is back, and judges what it finds.
pub(super) fn image(feed: &Feed, cut: usize, folder: &Path, blame: &mut Blame<'_>) -> anyhow::Result<()> {
    let mut store = match Store::open(&folder.join("gateway.db"), now) {
        Ok(store) => store,
        Err(error) => {
            blame(Fault::Lost, format!("the store does not open again: {error}"));
            return Ok(());
        }
    };
    let Some(image) = read(folder, blame) else { return Ok(()) };
    agrees_with_itself(&feed.truth, &image, blame);
    for heard in feed.heard.iter().filter(|heard| heard.mark <= cut) {
        for (identity, claim) in &heard.claims {
            said(&image, identity, *claim, blame);
        }
    }
    if cut.is_multiple_of(SENT_AGAIN_EVERY) { send_again(feed, &mut store, folder, blame) } else { Ok(()) }
}

/// Devices send all of it once more: then all of it is there, and nothing twice.
fn send_again(feed: &Feed, store: &mut Store, folder: &Path, blame: &mut Blame<'_>) -> anyhow::Result<()> {
    for (device, payload) in &feed.frames {
        let arrival = Arrival {
            claim: None,
            device: device.parse()?,
            connection: ConnectionId(99),
            channel: Channel::Batch,
            packet_id: Some(1),
            resent: true,
            payload: payload.clone().into(),
            ticket: Ticket::unasked(),
        };
        let recorded = store.writer.record(&judge(&arrival, now()).items);
        if let Err(error) = recorded {
            blame(Fault::Lost, format!("nothing can be recorded any more: {error}"));
            return Ok(());
        }
    }
    let Some(image) = read(folder, blame) else { return Ok(()) };
    agrees_with_itself(&feed.truth, &image, blame);
    for identity in feed.truth.keys().filter(|identity| !image.settled.contains_key(&place(identity))) {
        blame(Fault::Lost, format!("{identity:?} was sent again after the cut, and is not there"));
    }
    Ok(())
}

fn read(folder: &Path, blame: &mut Blame<'_>) -> Option<Image> {
    let image = Image::read(folder);
    image.map_err(|error| blame(Fault::Lost, format!("the database is damaged: {error}"))).ok()
}

/// An identity as the database has it.
pub(crate) fn place(identity: &Identity) -> Place {
    (identity.0.to_owned(), identity.1.to_vec(), identity.2)
}

/// The ledger has what it says, and says what it has; each batch is there as a whole, once, as it was offered.
pub(crate) fn agrees_with_itself(offered: &BTreeMap<Identity, Truth>, image: &Image, blame: &mut Blame<'_>) {
    for (identity, truth) in offered {
        let place = place(identity);
        let (state, readings) = (image.settled.get(&place).copied(), image.readings.get(&place));
        match (truth, state, readings) {
            (Truth::Readings(offered), Some(0), Some(stored)) => compare(identity, offered, stored, blame),
            (Truth::Readings(_), Some(0), None) => {
                blame(Fault::Lost, format!("the ledger has {identity:?} as stored, and no reading of it is there"));
            }
            (Truth::Aside(bytes), Some(1), None) => match image.aside.get(&place) {
                Some(kept) if kept == bytes => {}
                Some(_) => blame(Fault::Mutated, format!("the bytes of {identity:?} were not kept as they came")),
                None => {
                    blame(Fault::Lost, format!("the ledger has {identity:?} as quarantined, and no bytes are there"));
                }
            },
            (_, None, None) => {}
            (_, None, Some(_)) => {
                blame(
                    Fault::Doubled,
                    format!("readings of {identity:?} are there, and the ledger will take them again"),
                );
            }
            (_, Some(state), _) => blame(Fault::Phantom, format!("{identity:?} is settled as {state}")),
        }
    }
    let known = |place: &&Place| !offered.keys().any(|identity| self::place(identity) == **place);
    for place in image.readings.keys().chain(image.settled.keys()).filter(known) {
        blame(Fault::Phantom, format!("{place:?} was never offered"));
    }
}

fn compare(identity: &Identity, offered: &[(i64, u64)], stored: &[(i64, u64)], blame: &mut Blame<'_>) {
    if offered == stored {
        return;
    }
    let fault = match stored.len().cmp(&offered.len()) {
        std::cmp::Ordering::Less => Fault::Lost,
        std::cmp::Ordering::Equal => Fault::Mutated,
        std::cmp::Ordering::Greater => Fault::Doubled,
    };
    blame(fault, format!("{} of the {} readings of {identity:?} are there", stored.len(), offered.len()));
}

fn said(image: &Image, identity: &Identity, claim: Claim, blame: &mut Blame<'_>) {
    let state = image.settled.get(&place(identity)).copied();
    let true_still = match claim {
        Claim::Stored => state == Some(0),
        Claim::Quarantined => matches!(state, Some(0 | 1)),
        Claim::Settled => state.is_some(),
    };
    if !true_still {
        blame(Fault::EarlyReceipt, format!("{identity:?} was said to be {claim:?}, and is {state:?}"));
    }
}
