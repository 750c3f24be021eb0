//! The gateway's store on a failing disk.

use std::collections::BTreeMap;
use std::path::Path;

use gateway::ingest::record::record;
use gateway::store::StoreError;
use gateway::store::sqlite::Store;
use gateway::store::{Batch, Item};
use proto::{BodyHash, Epoch, Lane};
use vfs::{Dice, Watch};

use super::{Blame, persist};
use crate::rig::Fault;
use crate::rigs::commitcut::feed::{Identity, Truth, readings};
use crate::rigs::commitcut::image::{Image, now};
use crate::rigs::commitcut::judge::{agrees_with_itself, place};
use crate::rigs::offers::{CLOCK, Offers};

/// Commits of a workload.
const STEPS: u64 = 12;
const DEVICE: &str = "meter-1";
const EPOCH: [u8; 8] = [9; 8];

/// Records as the pipeline's recorder does, on a disk that may fail at any time.
pub(super) fn work(folder: &Path, seed: u64, watch: &Watch, blame: &mut Blame<'_>) -> anyhow::Result<()> {
    let (mut dice, mut offers, mut truth) = (Dice::new(seed), Offers::new(), BTreeMap::new());
    let mut sent: Vec<Item> = Vec::new();
    let path = folder.join("gateway.db");
    let again = |blame: &mut Blame<'_>| persist(watch, "opening", blame, || Store::open(&path, now));
    let Some(mut store) = again(blame) else { return Ok(()) };
    for step in 0..STEPS {
        let mut items = vec![Item::Presence { device: DEVICE.parse()?, connected: true }];
        for _ in 0..=dice.below(3) {
            let (identity, item, becomes) = batch(&mut offers, &mut dice, sent.len() as u64 + 1)?;
            truth.insert(identity, becomes);
            sent.push(item.clone());
            items.push(item);
        }
        if dice.chance(30) {
            items.extend(sent.get(dice.place(sent.len())).cloned());
        }
        if dice.chance(25) {
            items.remove(0);
        }
        // The recorder's own loop: what is settled is settled, and only the rest is tried again.
        let mut outcomes = Vec::new();
        let attempt = || -> Result<(), StoreError> {
            record(&mut store.writer, items.get(outcomes.len()..).unwrap_or_default(), now(), &mut outcomes)
        };
        if persist(watch, "recording", blame, attempt).is_none() {
            return Ok(());
        }
        if step == STEPS / 2 {
            drop(store);
            let Some(opened) = again(blame) else { return Ok(()) };
            store = opened;
        }
    }
    drop(store);
    watch.heal();
    let Some(_store) = again(blame) else { return Ok(()) };
    match Image::read(folder) {
        Ok(image) => judge(&truth, &image, blame),
        Err(error) => blame(Fault::Lost, format!("the database is damaged: {error}")),
    }
    Ok(())
}

fn judge(truth: &BTreeMap<Identity, Truth>, image: &Image, blame: &mut Blame<'_>) {
    agrees_with_itself(truth, image, blame);
    for identity in truth.keys().filter(|identity| !image.settled.contains_key(&place(identity))) {
        blame(Fault::Lost, format!("{identity:?} was recorded and is not there"));
    }
}

/// A batch, and what it must become.
fn batch(offers: &mut Offers, dice: &mut Dice, number: u64) -> anyhow::Result<(Identity, Item, Truth)> {
    let body = offers.body(dice, 40)?;
    let truth = Truth::Readings(readings(&body));
    let bytes = body.encode()?;
    let item = Item::Batch(Batch {
        device: DEVICE.parse()?,
        epoch: Epoch(EPOCH),
        number,
        hash: BodyHash::of(&bytes),
        lane: Lane::Live,
        clock: CLOCK,
        arrived: now(),
        columns: body.columns,
        body: bytes.into(),
    });
    Ok(((DEVICE, EPOCH, number), item, truth))
}
