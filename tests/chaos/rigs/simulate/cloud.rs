//! The gateway: its real judge, store and receipts, driven by the world's clock instead of threads.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use gateway::ingest::judge::{Answer, Judgement, judge};
use gateway::ingest::receipt::{Reader, receipts};
use gateway::ingest::record::record;
use gateway::ingest::{Arrival, ConnectionId, Ticket};
use gateway::store::Ledger as _;
use gateway::store::sqlite::{Store, Writer};
use gateway::store::{Item, Outcome};
use proto::{Channel, DeviceId, Epoch, Instant, Range, Ranges};

use super::device::copy_database;

thread_local! {
    /// The gateway's wall clock in the world of this thread.
    static WALL_CLOCK_US: Cell<i64> = const { Cell::new(0) };
}

/// Sets the gateway's wall clock.
pub(super) fn set_wall_clock(us: i64) {
    WALL_CLOCK_US.set(us);
}

fn now() -> Instant {
    Instant(WALL_CLOCK_US.get())
}

/// A gateway, running or not.
pub(super) struct Cloud {
    path: PathBuf,
    writer: Option<Writer>,
    /// The newest connection of each device, by which receipts go.
    links: BTreeMap<DeviceId, usize>,
    inbox: Vec<Waiting>,
    /// How many snapshots of the database there are.
    pub(super) snapshots: usize,
}

/// What waits for the next commit.
enum Waiting {
    Presence(DeviceId, bool),
    Message(DeviceId, usize, Judgement),
}

/// What a commit did.
#[derive(Default)]
pub(super) struct Committed {
    /// To be sent, each by its device's connection.
    pub(super) receipts: Vec<(usize, DeviceId, Bytes)>,
    /// Connections by which something came that is recorded now, and is acknowledged.
    pub(super) acknowledged: BTreeSet<usize>,
    /// Items that were refused.
    pub(super) refused: usize,
}

impl Cloud {
    pub(super) fn new(folder: &Path) -> Self {
        let path = folder.join("cloud.db");
        Self { path, writer: None, links: BTreeMap::new(), inbox: Vec::new(), snapshots: 0 }
    }

    /// Starts it over what its database holds.
    ///
    /// # Errors
    /// When the store does not open.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let Store { writer, .. } = Store::open(&self.path, now).context("open the gateway's store")?;
        self.writer = Some(writer);
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        self.writer.is_some()
    }

    /// Where its database lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It is gone, and with it all that it had not committed.
    pub(super) fn kill(&mut self) {
        self.writer = None;
        self.links.clear();
        self.inbox.clear();
    }

    /// Copies the database of a gateway that does not run.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn snapshot(&mut self) -> anyhow::Result<()> {
        copy_database(&self.path, &self.snapshot_path(self.snapshots))?;
        self.snapshots += 1;
        Ok(())
    }

    /// Puts such a copy in its place.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn restore(&mut self, snapshot: usize) -> anyhow::Result<()> {
        copy_database(&self.snapshot_path(snapshot), &self.path)
    }

    fn snapshot_path(&self, snapshot: usize) -> PathBuf {
        self.path.with_extension(format!("snapshot-{snapshot}"))
    }

    /// A device has connected. Answers which connection of its it takes over from.
    pub(super) fn opened(&mut self, device: &DeviceId, connection: usize) -> Option<usize> {
        self.inbox.push(Waiting::Presence(device.clone(), true));
        self.links.insert(device.clone(), connection)
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self, device: &DeviceId, connection: usize) {
        if self.links.get(device) == Some(&connection) {
            self.links.remove(device);
            self.inbox.push(Waiting::Presence(device.clone(), false));
        }
    }

    /// A device has published.
    pub(super) fn arrived(&mut self, device: &DeviceId, connection: usize, channel: Channel, payload: Bytes) {
        let arrival = Arrival {
            device: device.clone(),
            claim: None,
            connection: ConnectionId(connection as u64),
            channel,
            packet_id: Some(1),
            resent: false,
            payload,
            ticket: Ticket::unasked(),
        };
        self.inbox.push(Waiting::Message(device.clone(), connection, judge(&arrival, now())));
    }

    /// Records all that waits in one transaction, and only then makes receipts, as the pipeline does.
    ///
    /// # Errors
    /// When the store fails, which nothing here makes it do.
    pub(super) fn commit(&mut self) -> anyhow::Result<Committed> {
        let Some(writer) = &mut self.writer else { return Ok(Committed::default()) };
        let (mut items, mut answers, mut acknowledged) = (Vec::new(), Vec::new(), BTreeSet::new());
        for waiting in self.inbox.drain(..) {
            match waiting {
                Waiting::Presence(device, connected) => items.push(Item::Presence { device, connected }),
                Waiting::Message(device, connection, judgement) => {
                    acknowledged.insert(connection);
                    items.extend(judgement.items);
                    answers.push((device, judgement.answer));
                }
            }
        }
        let mut outcomes = Vec::new();
        record(writer, &items, now(), &mut outcomes).context("record")?;
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Refused(_))).count();
        let mut committed = Committed { receipts: Vec::new(), acknowledged, refused };
        for (device, epoch, around) in touched(&answers) {
            let settled = writer.settled_around(&device, epoch, around)?;
            self.links.get(&device).into_iter().for_each(|link| {
                let all = receipts(Reader { device: &device, key: None }, epoch, None, now(), &settled, &[]);
                committed.receipts.extend(all.into_iter().map(|receipt| (*link, device.clone(), receipt)));
            });
        }
        for (device, answer) in &answers {
            let (Answer::Everything(hello), Some(link)) = (answer, self.links.get(device)) else { continue };
            for held in &hello.epochs {
                let settled = writer.settled(device, held.epoch)?;
                let all = receipts(Reader { device, key: None }, held.epoch, Some(hello.nonce), now(), &settled, &[]);
                committed.receipts.extend(all.into_iter().map(|receipt| (*link, device.clone(), receipt)));
            }
        }
        Ok(committed)
    }

    /// Whether something waits for the next commit.
    pub(super) fn is_waiting(&self) -> bool {
        !self.inbox.is_empty()
    }
}

/// The numbers that messages spoke of, by device and epoch, in the order of their coming.
fn touched(answers: &[(DeviceId, Answer)]) -> Vec<(DeviceId, Epoch, Range)> {
    let mut touched: Vec<(DeviceId, Epoch, Ranges)> = Vec::new();
    for (device, answer) in answers {
        let Answer::Around(around) = answer else { continue };
        for (epoch, range) in around {
            match touched.iter_mut().find(|(of, in_epoch, _)| of == device && in_epoch == epoch) {
                Some((_, _, ranges)) => ranges.insert(*range),
                None => touched.push((device.clone(), *epoch, [*range].into_iter().collect())),
            }
        }
    }
    let hull = |(device, epoch, ranges): (DeviceId, Epoch, Ranges)| {
        Some((device, epoch, Range { first: ranges.first()?, last: ranges.last()? }))
    };
    touched.into_iter().filter_map(hull).collect()
}
