//! One connected device: publishes what the plan says within its window, and hears what receipts cover.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context;
use harness::mqtt::Packet;
use proto::message::Receipt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::crowd::Crowd;
use crate::dial::Stream;
use crate::plan::Started;

/// A device, connected or not.
pub(crate) struct Device {
    place: usize,
    topic: Vec<u8>,
    crowd: Rc<Crowd>,
    plans: watch::Receiver<Option<Started>>,
    drops: watch::Receiver<u64>,
    task: Option<Task>,
    packet_id: u16,
}

/// What is being published.
struct Task {
    started: Started,
    /// The next number to send.
    next: u64,
    /// When those without a receipt were due.
    waiting: BTreeMap<u64, Instant>,
}

impl Device {
    pub(crate) fn new(place: usize, name: &str, crowd: &Rc<Crowd>) -> Self {
        let topic = format!("trib/1/{name}/batch").into_bytes();
        let (plans, drops) = (crowd.plans(), crowd.drops());
        Self { place, topic, crowd: Rc::clone(crowd), plans, drops, task: None, packet_id: 1 }
    }

    /// Works until the connection ends, and says why it did.
    pub(crate) async fn serve(&mut self, mut stream: Stream) -> anyhow::Error {
        self.drops.mark_unchanged();
        if let Some(task) = &mut self.task {
            // What was lost with the connection before is sent again; it keeps the time when it was due.
            task.next = task.waiting.first_key_value().map_or(task.next, |(first, _)| *first);
        }
        match self.work(&mut stream).await {
            Err(error) => error,
        }
    }

    async fn work(&mut self, stream: &mut Stream) -> anyhow::Result<Infallible> {
        let (mut inbox, mut outbox) = (Vec::new(), Vec::new());
        loop {
            let due = self.fill(&mut outbox);
            if !outbox.is_empty() {
                stream.write_all(&outbox).await?;
                stream.flush().await?;
                outbox.clear();
            }
            let wake = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = stream.read_buf(&mut inbox) => {
                    anyhow::ensure!(read? > 0, "the gateway closed the connection");
                    self.hear(&mut inbox)?;
                }
                () = wake => {}
                _ = self.plans.changed() => self.begin(),
                _ = self.drops.changed() => anyhow::bail!("told to"),
            }
        }
    }

    fn begin(&mut self) {
        let started = self.plans.borrow_and_update().clone();
        self.task = started.map(|started| Task { started, next: 1, waiting: BTreeMap::new() });
    }

    /// Adds what may be sent now. Answers when there is more, if that is a matter of time.
    fn fill(&mut self, outbox: &mut Vec<u8>) -> Option<Instant> {
        let task = self.task.as_mut()?;
        let Started { plan, at } = &task.started;
        let now = Instant::now();
        while task.next <= plan.work.messages as u64 {
            let again = task.waiting.contains_key(&task.next);
            if !again && task.waiting.len() >= plan.work.window {
                return None; // a receipt makes room
            }
            let due = match plan.every() {
                None => now,
                Some(every) => {
                    let before = u32::try_from(task.next - 1).unwrap_or(u32::MAX);
                    *at + plan.phase(self.place, self.crowd.devices) + every * before
                }
            };
            if due > now {
                return Some(due);
            }
            let frame = plan.frame(self.place, task.next)?;
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(2);
            publish(outbox, &self.topic, self.packet_id, frame);
            task.waiting.entry(task.next).or_insert(due);
            task.next += 1;
        }
        None
    }

    /// Acts on the packets that are whole.
    fn hear(&mut self, inbox: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut used = 0;
        while let Some((packet, length)) = Packet::decode(inbox.get(used..).unwrap_or_default())? {
            used += length;
            match packet {
                Packet::Publish { payload, .. } => self.covered(&Receipt::decode(&payload).context("a receipt")?)?,
                Packet::PubAck(_) => {} // frees nothing
                other => anyhow::bail!("not expected here: {other:?}"),
            }
        }
        inbox.drain(..used);
        Ok(())
    }

    fn covered(&mut self, receipt: &Receipt) -> anyhow::Result<()> {
        anyhow::ensure!(receipt.refused.is_empty(), "refused: {:?}", receipt.refused);
        let Some(task) = &mut self.task else { return Ok(()) };
        let now = Instant::now();
        for settled in receipt.ranges.iter().filter(|_| receipt.epoch == task.started.plan.epoch) {
            while let Some((&number, &due)) = task.waiting.range(settled.range.first..=settled.range.last).next() {
                task.waiting.remove(&number);
                self.crowd.settled(now.saturating_duration_since(due));
            }
        }
        if task.waiting.is_empty() && task.next > task.started.plan.work.messages as u64 {
            self.task = None;
            self.crowd.finished();
        }
        Ok(())
    }
}

/// A PUBLISH at QoS 1 (MQTT 3.1.1, section 3.3), without a copy of the payload on the way.
fn publish(outbox: &mut Vec<u8>, topic: &[u8], packet_id: u16, payload: &[u8]) {
    outbox.push(0x32);
    let mut length = 2 + topic.len() + 2 + payload.len();
    while length >= 0x80 {
        outbox.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    outbox.push(u8::try_from(length).unwrap_or(0));
    outbox.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes());
    outbox.extend_from_slice(topic);
    outbox.extend_from_slice(&packet_id.to_be_bytes());
    outbox.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_what_the_harness_reads() -> std::io::Result<()> {
        for length in [0, 100, 112, 113, 16_000, 20_000] {
            let (mut bytes, payload) = (Vec::new(), vec![7; length]);
            publish(&mut bytes, b"trib/1/fleet-1/batch", 300, &payload);
            let whole = bytes.len();
            let topic = "trib/1/fleet-1/batch".to_owned();
            let expected = Packet::Publish { topic, id: Some(300), dup: false, retain: false, payload };
            assert_eq!(Packet::decode(&bytes)?, Some((expected, whole)));
        }
        Ok(())
    }
}
