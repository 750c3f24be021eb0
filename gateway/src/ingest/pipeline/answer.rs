//! What devices hear after a commit: receipts, made from the ledger alone, and the verdict on each publish.

use std::collections::{HashMap, HashSet};
use std::ops;

use proto::message::{Hello, Refusal, Refused, Settlement};
use proto::{Channel, DeviceId, Epoch, Range, Ranges, Topic};
use tracing::{error, info, warn};

use super::Message;
use super::recording::Recording;
use crate::audit::entry::{Detail, Event};
use crate::ingest::judge::Answer;
use crate::ingest::receipt::{Reader, receipts};
use crate::ingest::{RefusalCode, Verdict};
use crate::store::{Item, Ledger, Outcome, SettledRanges};

impl<L: Ledger> Recording<L> {
    pub(super) fn verdict(&self, message: &Message, outcomes: &[Outcome]) -> Verdict {
        if matches!(message.judgement.answer, Answer::Unsupported) {
            warn!(device.id = %message.device, channel = message.channel.path(), "refused a message that nothing here acts on");
            return Verdict::Refused(RefusalCode::ImplementationSpecific);
        }
        // Batches learn of refusals by receipt, with their number; other messages only have the PUBACK. A frame that
        // cannot be read is answered all the same: without, a 3.1.1 client would be cut off and send it first again.
        let spoken_for = message.channel == Channel::Batch || matches!(message.judgement.answer, Answer::Everything(_));
        if !spoken_for && outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_))) {
            return Verdict::Refused(RefusalCode::QuotaExceeded);
        }
        Verdict::Settled
    }

    pub(super) fn send_receipts(
        &mut self,
        items: &[Item],
        outcomes: &[Outcome],
        messages: &[(Message, ops::Range<usize>)],
    ) {
        let mut touched: HashMap<(&DeviceId, Epoch), Ranges> = HashMap::new();
        for (message, _) in messages {
            if let Answer::Around(around) = &message.judgement.answer {
                for (epoch, range) in around {
                    touched.entry((&message.device, *epoch)).or_default().insert(*range);
                }
            }
        }
        for ((device, epoch), numbers) in touched {
            let refused = refusals(items, outcomes, device, epoch);
            let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { continue };
            match self.ledger.settled_around(device, epoch, Range { first, last }) {
                Ok(settled) => {
                    self.send(device, receipts(self.reader(device), epoch, None, (self.now)(), &settled, &refused));
                }
                Err(error) => warn!(%error, "a receipt could not be written; the device will ask again"),
            }
        }
        for (message, hello) in latest_hellos(messages) {
            // Together: a device that misses one of them goes on waiting, and would miss the same one each time.
            let mut answer = Vec::new();
            for held in &hello.epochs {
                match self.ledger.settled(&message.device, held.epoch) {
                    Ok(settled) => {
                        answer.extend(receipts(
                            self.reader(&message.device),
                            held.epoch,
                            Some(hello.nonce),
                            (self.now)(),
                            &settled,
                            &[],
                        ));
                    }
                    Err(error) => warn!(%error, "a hello could not be answered; the device will ask again"),
                }
            }
            self.send(&message.device, answer);
        }
    }

    /// Says whose packs bore another device's name. Repeats are counted by the trail.
    pub(super) fn tell_of_misnamed(&self, items: &[Item], outcomes: &[Outcome]) {
        let misnamed = items.iter().zip(outcomes).filter(|(_, outcome)| **outcome == Outcome::Misnamed);
        for (item, _) in misnamed {
            let topic = Topic::new(item.device().clone(), Channel::Senml).to_string();
            info!(device.id = %item.device(), "a pack bears the name of another device, and was quarantined");
            let why = "identity: its names are those of another device";
            self.barrier.auditor().denied(
                Event::DeniedPublish,
                item.device(),
                Detail::none().text("topic", &topic).text("why", why),
            );
        }
    }

    fn reader<'a>(&'a self, device: &'a DeviceId) -> Reader<'a> {
        Reader { device, key: self.key.as_deref() }
    }

    fn send(&self, device: &DeviceId, receipts: Vec<bytes::Bytes>) {
        let (Some(link), false) = (self.links.get(device), receipts.is_empty()) else { return };
        let count = receipts.len() as u64;
        let is_sent = link.send_all(Channel::Receipt, receipts);
        let counter = if is_sent { &self.totals.receipts_sent } else { &self.totals.receipts_dropped };
        counter.add(count);
    }

    /// Says of batches that are not committed yet that they are, as nothing but a seeded bug may.
    pub(super) fn promise(&self, messages: &[(Message, ops::Range<usize>)]) {
        for (message, _) in messages {
            let Answer::Around(around) = &message.judgement.answer else { continue };
            for (epoch, range) in around {
                let settled = SettledRanges(vec![(*range, Settlement::Stored)]);
                self.send(
                    &message.device,
                    receipts(self.reader(&message.device), *epoch, None, (self.now)(), &settled, &[]),
                );
            }
        }
    }
}

/// The latest hello of each device. Of several that came to one commit, as after the store was away, the others have no
/// answer: devices wait for none, and all together they could leave no room for the one that counts.
fn latest_hellos(messages: &[(Message, ops::Range<usize>)]) -> impl Iterator<Item = (&Message, &Hello)> {
    let mut seen = HashSet::new();
    let mut latest: Vec<(&Message, &Hello)> = messages
        .iter()
        .rev()
        .filter_map(|(message, _)| match &message.judgement.answer {
            Answer::Everything(hello) => seen.insert(&message.device).then_some((message, hello)),
            _ => None,
        })
        .collect();
    latest.reverse();
    latest.into_iter()
}

fn refusals(items: &[Item], outcomes: &[Outcome], device: &DeviceId, epoch: Epoch) -> Vec<Refused> {
    let refused = |(item, outcome): (&Item, &Outcome)| {
        let Outcome::Refused(reason) = outcome else { return None };
        let (number, hash) = match item {
            Item::Batch(batch) if batch.device == *device && batch.epoch == epoch => (batch.number, batch.hash),
            Item::Quarantine(aside) if aside.device == *device => {
                let (of, number, hash) = aside.identity?;
                (of == epoch).then_some((number, hash))?
            }
            _ => return None,
        };
        if *reason == Refusal::Conflict {
            error!(device.id = %device, %epoch, number, "two different batches under one identity; the second is quarantined");
        }
        Some(Refused { number, hash, reason: *reason })
    };
    items.iter().zip(outcomes).filter_map(refused).collect()
}
