//! What a gateway answers, over any of the twin's connections: it settles what comes, and notes what was said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use harness::mqtt::Packet;
use proto::message::{Hello, Notice, Receipt, Settled, Settlement};
use proto::{Body, BodyHash, Channel, Epoch, Frame, Nonce, Ranges, Topic, Value};

use super::line::{Heard, Line};
use super::summary::Summary;
use crate::site::now_s;

/// For one look at the line, while something is held back.
const LOOK: Duration = Duration::from_millis(2);

/// What to do about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Do {
    /// What a gateway does.
    Answer,
    /// Take it in, and say nothing.
    Withhold,
    /// Say nothing, and serve no more.
    Stop,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The device ended the connection.
    Left,
    Stopped,
    Time,
}

/// The gateway that the twin plays for one device, over all of its connections.
#[derive(Default)]
pub(super) struct Host {
    device: String,
    /// What is settled.
    settled: BTreeMap<Epoch, Ranges>,
    /// Bodies that came, and how often.
    pub(super) bodies: BTreeMap<BodyHash, u64>,
    /// The numbers among the values of the first copy of each, as text.
    pub(super) values: BTreeSet<String>,
    /// How many there were, doubled ones included.
    pub(super) readings: usize,
    /// How late PUBACKs are.
    late: Duration,
    held: VecDeque<(Instant, u16)>,
    pub(super) summary: Summary,
}

impl Host {
    /// One whose PUBACKs are late.
    pub(super) fn late(late: Duration) -> Self {
        Self { late, ..Self::default() }
    }

    /// Serves the connection until `judge` stops it, the device leaves, or `span` is over.
    ///
    /// # Errors
    /// When the connection breaks while something is said.
    pub(super) fn serve(
        &mut self,
        line: &mut Line,
        span: Duration,
        mut judge: impl FnMut(&Packet) -> Do,
    ) -> io::Result<Over> {
        let began = Instant::now();
        while began.elapsed() < span {
            match line.hear(if self.late.is_zero() { span.saturating_sub(began.elapsed()) } else { LOOK }) {
                Heard::End => return Ok(Over::Left),
                Heard::Silence => {}
                Heard::Packet(packet) => {
                    self.note(&packet);
                    match judge(&packet) {
                        Do::Stop => return Ok(Over::Stopped),
                        Do::Withhold => {}
                        Do::Answer => self.answer(line, packet)?,
                    }
                }
            }
            while let Some((_, id)) = self.held.pop_front_if(|(came, _)| came.elapsed() >= self.late) {
                line.say(&Packet::PubAck(id))?;
            }
        }
        Ok(Over::Time)
    }

    /// Serves until the device is connected and has said hello, at most `deadline`.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn welcome(&mut self, line: &mut Line, deadline: Duration) -> anyhow::Result<()> {
        let (began, mut is_greeted) = (Instant::now(), false);
        while !is_greeted && began.elapsed() < deadline {
            let over = self.serve(line, Duration::from_millis(20), |packet| {
                is_greeted |= matches!(packet, Packet::Publish { topic, .. } if topic.ends_with("/hello"));
                Do::Answer
            })?;
            anyhow::ensure!(over != Over::Left, "the device left before it said hello");
        }
        anyhow::ensure!(is_greeted, "no hello within {deadline:?}");
        Ok(())
    }

    /// Serves until `enough` has come, the device leaves, or `span` is over.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) fn serve_until(
        &mut self,
        line: &mut Line,
        span: Duration,
        enough: impl Fn(&Self) -> bool,
    ) -> io::Result<()> {
        let began = Instant::now();
        while !enough(self) && began.elapsed() < span {
            if self.serve(line, Duration::from_millis(50), |_| Do::Answer)? == Over::Left {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn note(&mut self, packet: &Packet) {
        if let Packet::Connect { client, .. } = packet {
            self.device.clone_from(client);
            self.held.clear(); // what an earlier connection was owed
        }
        let device = std::mem::take(&mut self.device);
        self.summary.note(packet, &device);
        self.device = device;
    }

    /// # Errors
    /// When the connection breaks.
    pub(super) fn answer(&mut self, line: &mut Line, packet: Packet) -> io::Result<()> {
        match packet {
            Packet::Connect { .. } => line.say(&Packet::ConnAck { session_present: false, code: 0 }),
            Packet::Subscribe { id, filters } => line.say(&Packet::SubAck { id, codes: vec![0; filters.len()] }),
            Packet::PingReq => line.say(&Packet::PingResp),
            Packet::Publish { topic, id, payload, .. } => {
                if self.late.is_zero() {
                    id.map_or(Ok(()), |id| line.say(&Packet::PubAck(id)))?;
                } else {
                    self.held.extend(id.map(|id| (Instant::now(), id)));
                }
                for receipt in self.receipts(&topic, &payload) {
                    line.say(&receipt)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn receipts(&mut self, topic: &str, payload: &[u8]) -> Vec<Packet> {
        match topic.parse::<Topic>().map(|topic| topic.channel) {
            Ok(Channel::Batch) => {
                let epoch = self.take_in(payload);
                epoch.map(|epoch| self.receipt(None, epoch)).into_iter().collect()
            }
            Ok(Channel::Hello) => match Notice::decode(payload) {
                Ok(Notice::Hello(Hello { nonce, epochs, .. }) | Notice::HelloPart(Hello { nonce, epochs, .. })) => {
                    epochs.iter().map(|held| self.receipt(Some(nonce), held.epoch)).collect()
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Settles a frame; of which epoch it is.
    fn take_in(&mut self, payload: &[u8]) -> Option<Epoch> {
        let frame = Frame::decode(payload).ok()?;
        self.see(&frame);
        self.settled.entry(frame.header.epoch).or_default().insert(frame.numbers()?);
        Some(frame.header.epoch)
    }

    fn see(&mut self, frame: &Frame) {
        for sealed in &frame.bodies {
            let count = self.bodies.entry(sealed.hash).or_default();
            *count += 1;
            if let (1, Ok(body)) = (*count, Body::decode(&sealed.body)) {
                let readings = body.columns.iter().flat_map(|column| &column.readings);
                for reading in readings {
                    self.readings += 1;
                    if let Value::Number(number) = &reading.value {
                        self.values.insert(format!("{number}"));
                    }
                }
            }
        }
    }

    fn receipt(&self, nonce: Option<Nonce>, epoch: Epoch) -> Packet {
        let ranges = self.settled.get(&epoch).into_iter().flat_map(Ranges::iter);
        let receipt = Receipt {
            nonce,
            gateway_time: proto::Instant(i64::try_from(now_s()).unwrap_or(0) * 1_000_000),
            epoch,
            ranges: ranges.map(|range| Settled { range, state: Settlement::Stored }).collect(),
            continued: false,
            refused: Vec::new(),
            signature: None,
        };
        self.to_device(None, receipt.encode())
    }

    /// A message on the topic that the device hears.
    pub(super) fn to_device(&self, id: Option<u16>, payload: Vec<u8>) -> Packet {
        let topic = format!("trib/1/{}/receipt", self.device);
        Packet::Publish { topic, id, dup: false, retain: false, payload }
    }
}

/// The hashes of the bodies of a publish on `batch`.
pub(super) fn bodies(packet: &Packet) -> Vec<BodyHash> {
    let Packet::Publish { topic, payload, .. } = packet else { return Vec::new() };
    if !topic.ends_with("/batch") {
        return Vec::new();
    }
    Frame::decode(payload).map_or_else(|_| Vec::new(), |frame| frame.bodies.iter().map(|sealed| sealed.hash).collect())
}
