//! A device that says just what it is told to: frames in any order, twice, or not at all, and what the gateway answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use proto::message::{Held, Hello, Notice, Receipt, Settlement};
use proto::{Channel, Epoch, Nonce, Range, Ranges, VERSION};

use crate::mqtt::{Packet, Stream};
use crate::pki::Files;

/// Publishes under way at once.
const WINDOW: usize = 16;
/// For the gateway to answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a receipt says of one epoch: its numbers by how they ended.
pub type Said = BTreeMap<Settlement, Ranges>;

/// The device, connected.
pub struct Speaker {
    stream: Stream,
    device: String,
    last_id: u16,
    waiting: BTreeSet<u16>,
    receipts: Vec<Receipt>,
    nonce: u64,
}

impl Speaker {
    /// Connects as `device` to the gateway on `port`, and listens to its receipts.
    ///
    /// # Errors
    /// When the gateway does not let it in.
    pub fn connect(port: u16, files: &Files, device: &str) -> anyhow::Result<Self> {
        let mut stream = Stream::connect(port, files)?;
        stream.send(&Packet::Connect { client: device.to_owned(), clean: true, keep_alive_s: 60 })?;
        let answer = stream.wait(DEADLINE).context("wait for CONNACK")?;
        anyhow::ensure!(matches!(answer, Packet::ConnAck { code: 0, .. }), "not let in: {answer:?}");
        stream.send(&Packet::Subscribe { id: 1, filters: vec![(format!("trib/1/{device}/receipt"), 0)] })?;
        let answer = stream.wait(DEADLINE).context("wait for SUBACK")?;
        anyhow::ensure!(answer == Packet::SubAck { id: 1, codes: vec![0] }, "no receipts: {answer:?}");
        let (waiting, receipts) = (BTreeSet::new(), Vec::new());
        Ok(Self { stream, device: device.to_owned(), last_id: 1, waiting, receipts, nonce: 0 })
    }

    /// Publishes `payload` at QoS 1; waits where too much is under way.
    ///
    /// # Errors
    /// When the gateway does not acknowledge, or ends the connection.
    pub fn publish(&mut self, channel: Channel, payload: Vec<u8>, dup: bool) -> anyhow::Result<()> {
        while self.waiting.len() >= WINDOW {
            self.listen()?;
        }
        self.last_id = self.last_id.checked_add(1).unwrap_or(2);
        let topic = format!("trib/1/{}/{}", self.device, channel.path());
        self.waiting.insert(self.last_id);
        self.stream.send(&Packet::Publish { topic, id: Some(self.last_id), dup, retain: false, payload })?;
        Ok(())
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// When the gateway does not acknowledge, or ends the connection.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        while !self.waiting.is_empty() {
            self.listen()?;
        }
        Ok(())
    }

    /// Says what it holds; answers what the gateway says of each epoch.
    ///
    /// # Errors
    /// When no whole answer comes.
    pub fn ask(&mut self, held: Vec<Held>) -> anyhow::Result<BTreeMap<Epoch, Said>> {
        self.nonce += 1;
        let nonce = Nonce(self.nonce.to_be_bytes());
        let mut open: BTreeSet<Epoch> = held.iter().map(|held| held.epoch).collect();
        self.publish(
            Channel::Hello,
            Notice::Hello(Hello { nonce, versions: (1, VERSION), epochs: held }).encode(),
            false,
        )?;
        let mut said: BTreeMap<Epoch, Said> = open.iter().map(|epoch| (*epoch, Said::new())).collect();
        while !open.is_empty() {
            for receipt in self.receipts.drain(..).filter(|receipt| receipt.nonce == Some(nonce)) {
                let of = said.entry(receipt.epoch).or_default();
                receipt.ranges.iter().for_each(|part| of.entry(part.state).or_default().insert(part.range));
                if !receipt.continued {
                    open.remove(&receipt.epoch);
                }
            }
            if !open.is_empty() {
                self.listen()?;
            }
        }
        self.settle()?;
        Ok(said)
    }

    /// Takes leave.
    ///
    /// # Errors
    /// When the connection has ended before.
    pub fn leave(mut self) -> anyhow::Result<()> {
        self.settle()?;
        Ok(self.stream.send(&Packet::Disconnect)?)
    }

    fn listen(&mut self) -> anyhow::Result<()> {
        match self.stream.wait(DEADLINE).context("wait for the gateway's answer")? {
            Packet::PubAck(id) => {
                anyhow::ensure!(self.waiting.remove(&id), "an acknowledgement of {id}, which was not sent");
            }
            Packet::Publish { payload, .. } => self.receipts.push(Receipt::decode(&payload)?),
            other => anyhow::bail!("not expected here: {other:?}"),
        }
        Ok(())
    }
}

/// All of `ranges`, held of `epoch`, whose next number is `next`.
#[must_use]
pub fn held(epoch: Epoch, ranges: impl IntoIterator<Item = Range>, next: u64) -> Held {
    Held { epoch, ranges: ranges.into_iter().collect(), next }
}
