//! What nodes and devices said at their birth, and how their messages are counted.

use std::collections::HashMap;
use std::time::Duration;

use proto::Instant;

use super::wire::Payload;
use crate::source::device::Now;

/// Nodes that are known at once.
const NODES_MAX: usize = 256;
/// Devices of one node.
pub(super) const DEVICES_MAX: usize = 256;
/// Metrics that are known at once, of all: 24 bytes each.
const METRICS_MAX: usize = 32_768;
/// What the metric is called that says which birth a death belongs to.
const BIRTH_NUMBER: &str = "bdSeq";

/// What is wrong with a message, and whether a new birth would help.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) problem: String,
    pub(super) ask: bool,
}

impl Trouble {
    /// Without a new birth nothing of that node can be understood.
    pub(super) fn unborn(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), ask: true }
    }
}

impl From<String> for Trouble {
    fn from(problem: String) -> Self {
        Self { problem, ask: false }
    }
}

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Births {
    nodes: HashMap<(String, String), Node>,
}

/// A node and its devices.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Whether nothing was missed since its birth.
    is_sound: bool,
    /// The number of its last message.
    seq: u8,
    /// Which birth it was.
    number: Option<u64>,
    own: Vec<Born>,
    devices: HashMap<String, Vec<Born>>,
    asked: Option<Instant>,
}

/// A metric as its birth said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Born {
    pub(super) alias: Option<u64>,
    /// Which of the settings' series it is.
    pub(super) entry: Option<usize>,
    pub(super) datatype: u32,
}

impl Births {
    /// The node of that name, known or not yet.
    pub(super) fn node(&mut self, group: &str, node: &str) -> Result<&mut Node, Trouble> {
        let key = (group.to_owned(), node.to_owned());
        if !self.nodes.contains_key(&key) && self.nodes.len() == NODES_MAX {
            return Err(format!("is of one more than the {NODES_MAX} nodes of a source").into());
        }
        Ok(self.nodes.entry(key).or_default())
    }

    /// Whether so many metrics more can be known.
    pub(super) fn has_room(&self, more: usize) -> bool {
        let of_node = |node: &Node| node.own.len() + node.devices.values().map(Vec::len).sum::<usize>();
        self.nodes.values().map(of_node).sum::<usize>() + more <= METRICS_MAX
    }
}

impl Node {
    /// It is born, for the first time or again; its devices are not yet.
    pub(super) fn born(&mut self, payload: &Payload<'_>, own: Vec<Born>) -> Result<(), Trouble> {
        let seq = seq_of(payload)?;
        let (number, asked) = (birth_number(payload), self.asked);
        *self = Self { is_sound: true, seq, number, own, devices: HashMap::new(), asked };
        Ok(())
    }

    /// A device of it is born.
    pub(super) fn device_born(&mut self, device: &str, metrics: Vec<Born>) -> Result<(), Trouble> {
        if !self.devices.contains_key(device) && self.devices.len() == DEVICES_MAX {
            return Err(format!("is of one more than the {DEVICES_MAX} devices of a node").into());
        }
        self.devices.insert(device.to_owned(), metrics);
        Ok(())
    }

    /// Counts a message of it or of a device. Fails where one before it is missing.
    pub(super) fn count(&mut self, payload: &Payload<'_>) -> Result<(), Trouble> {
        if !self.is_sound {
            return Err(Trouble::unborn("is of a node whose birth was not heard, or that was not heard whole since"));
        }
        let seq = seq_of(payload)?;
        let missing = seq.wrapping_sub(self.seq).wrapping_sub(1);
        self.seq = seq;
        if missing == 0 {
            return Ok(());
        }
        self.is_sound = false;
        let told = match missing {
            255 => "has the number of the message before it".to_owned(),
            _ => format!("comes with {missing} missing before it"),
        };
        Err(Trouble::unborn(format!("{told}; what its numbers stand for may have changed")))
    }

    /// What it or a device of it has.
    pub(super) fn metrics(&self, device: Option<&str>) -> Result<&[Born], Trouble> {
        let Some(device) = device else { return Ok(&self.own) };
        let metrics = self.devices.get(device).map(Vec::as_slice);
        metrics.ok_or_else(|| Trouble::unborn("is of a device whose birth was not heard"))
    }

    /// A device of it is gone.
    pub(super) fn device_died(&mut self, device: &str) {
        self.devices.remove(device);
    }

    /// It is gone. Answers which devices are with it; none where it is the death of an earlier life.
    pub(super) fn died(&mut self, payload: &Payload<'_>) -> Option<Vec<String>> {
        if self.number.is_some() && birth_number(payload).is_some_and(|number| Some(number) != self.number) {
            return None;
        }
        let devices = self.devices.drain().map(|(device, _)| device).collect();
        (self.is_sound, self.number, self.own) = (false, None, Vec::new());
        Some(devices)
    }

    /// Whether it may be asked to be born again now; then that is noted.
    pub(super) fn may_ask(&mut self, now: Now, every: Duration) -> bool {
        let waited = |asked: Instant| u128::try_from(now.boot.0.saturating_sub(asked.0)).unwrap_or(0);
        let due = self.asked.is_none_or(|asked| waited(asked) >= every.as_micros());
        if due {
            self.asked = Some(now.boot);
        }
        due
    }
}

fn seq_of(payload: &Payload<'_>) -> Result<u8, Trouble> {
    let seq = payload.seq.and_then(|seq| u8::try_from(seq).ok());
    seq.ok_or_else(|| "has no `seq` from 0 to 255".to_owned().into())
}

fn birth_number(payload: &Payload<'_>) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name == Some(BIRTH_NUMBER))?;
    match metric.value? {
        super::wire::Raw::Integer(number) => Some(number),
        _ => None,
    }
}
