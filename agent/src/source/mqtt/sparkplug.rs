//! Sparkplug B (Eclipse Sparkplug 3.0.0): edge nodes and their devices, which say at birth what they have, and then only
//! what changes, by numbers that the birth gave.
//!
//! Without the birth such numbers mean nothing, and after a message was missed they may mean something else. Then what
//! comes is a reject, with its bytes, and the node is asked to be born again, which takes it a moment.

use std::time::Duration;

use proto::{Basis, Instant, Lane, Value};
use tracing::debug;

use super::batch::Batch;
use super::mapping::{TopicSettings, filters};
use super::series::{Made, add, sample};
use super::topics::Filter;
use crate::source::BadSetting;
use crate::source::device::Now;
use crate::source::times::Stamp;

mod births;
mod topic;
mod value;
mod wire;

use births::{Births, Trouble};
use topic::{Entry, Topic, born};
use wire::{METRICS_MAX, Metric, Payload};

/// What all topics begin with.
const NAMESPACE: &str = "spBv1.0";
/// How long to wait before a node is asked again.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// A millisecond of the year 10000: no time beyond it is one.
const TIME_MS_MAX: u64 = 253_402_300_800_000;

/// All nodes and devices of a source.
#[derive(Debug)]
pub(super) struct Sparkplug {
    topics: Vec<Topic>,
    made: Made,
    births: Births,
    /// Whether nodes are asked to be born again.
    rebirth: bool,
}

/// Who says something.
#[derive(Clone, Copy, Debug)]
struct Speaker<'t> {
    group: &'t str,
    node: &'t str,
    device: Option<&'t str>,
    /// `group/node` or `group/node/device`.
    path: &'t str,
    topic: &'t str,
}

impl Sparkplug {
    /// Checks the settings.
    pub(super) fn new(settings: &[TopicSettings], rebirth: bool) -> Result<Self, BadSetting> {
        let filters = filters(settings)?;
        let topic = |(index, (settings, filter)): (usize, (&TopicSettings, Filter))| {
            Topic::new(settings, filter).map_err(|error| error.within(&format!("topics[{index}]")))
        };
        let topics: Vec<Topic> = settings.iter().zip(filters).enumerate().map(topic).collect::<Result<_, _>>()?;
        let sparkplug = Self { topics, made: Made::default(), births: Births::default(), rebirth };
        sparkplug.subscriptions()?;
        Ok(sparkplug)
    }

    /// What is to be subscribed to: everything of each node, since messages of a node and its devices count together.
    pub(super) fn subscriptions(&self) -> Result<Vec<String>, BadSetting> {
        let mut all: Vec<Filter> = Vec::new();
        for (index, topic) in self.topics.iter().enumerate() {
            let bad = |problem: String| BadSetting::new(format!("topics[{index}].filter"), problem);
            let node = format!("{}/{}", topic.filter.level(0), topic.filter.level(1));
            let node = Filter::parse(&node).map_err(bad)?;
            match all.iter().find(|other| other.overlaps(&node)) {
                Some(other) if *other == node => {}
                Some(_) => {
                    return Err(bad("means nodes that another means too; write group and node alike in both".into()));
                }
                None => all.push(node),
            }
        }
        let text = |node: &Filter| format!("{NAMESPACE}/{}/+/{}/#", node.level(0), node.level(1));
        Ok(all.iter().map(text).collect())
    }

    /// The most readings that one message gives: its metrics, and who is or is not alive.
    pub(super) fn readings_max(&self) -> usize {
        METRICS_MAX + births::DEVICES_MAX
    }

    /// The readings of a message, and what is to be published in return.
    pub(super) fn take(&mut self, topic: &str, bytes: &[u8], now: Now, batch: &mut Batch) -> Option<(String, Vec<u8>)> {
        let mut levels = topic.split('/');
        let (Some(NAMESPACE), Some(group), Some(kind), Some(node)) =
            (levels.next(), levels.next(), levels.next(), levels.next())
        else {
            return None;
        };
        let (device, None) = (levels.next(), levels.next()) else { return None };
        let path = device.map_or_else(|| format!("{group}/{node}"), |device| format!("{group}/{node}/{device}"));
        let speaker = Speaker { group, node, device, path: &path, topic };
        let payload = match (kind, device) {
            ("NBIRTH" | "NDATA" | "NDEATH", None) | ("DBIRTH" | "DDATA" | "DDEATH", Some(_)) => Payload::read(bytes),
            _ => return None, // commands, and what hosts say of themselves
        };
        let said = payload.map_err(Trouble::from).and_then(|payload| match kind {
            "NBIRTH" | "DBIRTH" => self.birth(speaker, &payload, now, batch),
            "NDATA" | "DDATA" => self.data(speaker, &payload, now, batch),
            _ => self.death(speaker, &payload, now, batch),
        });
        let Err(Trouble { problem, ask }) = said else { return None };
        batch.reject(topic, problem, bytes);
        if ask && self.rebirth { self.ask(speaker, now) } else { None }
    }

    fn birth(
        &mut self,
        speaker: Speaker<'_>,
        payload: &Payload<'_>,
        now: Now,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let born = born(topic_of(&self.topics, speaker.path).map(|(_, topic, _)| topic), payload)?;
        if !self.births.has_room(born.len()) {
            return Err("would be more metrics than are kept of all nodes".to_owned().into());
        }
        let node = self.births.node(speaker.group, speaker.node)?;
        match speaker.device {
            None => node.born(payload, born)?,
            Some(device) => {
                node.count(payload)?;
                node.device_born(device, born)?;
            }
        }
        self.alive(speaker.path, speaker.topic, true, now, batch);
        self.readings(speaker, payload, now, batch)
    }

    fn data(
        &mut self,
        speaker: Speaker<'_>,
        payload: &Payload<'_>,
        now: Now,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        self.births.node(speaker.group, speaker.node)?.count(payload)?;
        self.readings(speaker, payload, now, batch)
    }

    fn death(
        &mut self,
        speaker: Speaker<'_>,
        payload: &Payload<'_>,
        now: Now,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let node = self.births.node(speaker.group, speaker.node)?;
        if let Some(device) = speaker.device {
            node.count(payload)?;
            node.device_died(device);
        } else {
            let Some(devices) = node.died(payload) else {
                debug!("a node's death of an earlier life came late, and says nothing");
                return Ok(());
            };
            for device in devices {
                self.alive(&format!("{}/{device}", speaker.path), speaker.topic, false, now, batch);
            }
        }
        self.alive(speaker.path, speaker.topic, false, now, batch);
        Ok(())
    }

    /// Asks the node to be born again, unless it was asked just now.
    fn ask(&mut self, speaker: Speaker<'_>, now: Now) -> Option<(String, Vec<u8>)> {
        let node = self.births.node(speaker.group, speaker.node).ok()?;
        let at = now.wall.and_then(|wall| u64::try_from(wall.0 / 1_000).ok());
        let topic = format!("{NAMESPACE}/{}/NCMD/{}", speaker.group, speaker.node);
        node.may_ask(now, ASK_EVERY).then(|| (topic, wire::rebirth(at)))
    }

    /// A reading that says whether who is at `path` is alive.
    fn alive(&mut self, path: &str, topic: &str, is: bool, now: Now, batch: &mut Batch) {
        let Some((index, found, captured)) = topic_of(&self.topics, path) else { return };
        let Some((name, model)) = &found.alive else { return };
        match self.made.series(name.fill(&captured), model, &[path.as_bytes(), &index.to_be_bytes(), b"alive"]) {
            Ok(series) => {
                let stamp = Stamp { instant: arrival(now), utc_offset_minutes: None, local_text: None };
                batch.lane(Lane::Live).push(sample(series, Basis::Boot, &stamp, Value::Bool(is)));
            }
            Err(problem) => batch.reject(topic, problem, &[]),
        }
    }

    fn readings(
        &mut self,
        speaker: Speaker<'_>,
        payload: &Payload<'_>,
        now: Now,
        batch: &mut Batch,
    ) -> Result<(), Trouble> {
        let Self { topics, made, births, .. } = self;
        let born = births.node(speaker.group, speaker.node)?.metrics(speaker.device)?;
        let Some((index, topic, captured)) = topic_of(topics, speaker.path) else { return Ok(()) };
        let (mut problems, mut ask) = (None, false);
        for metric in &payload.metrics {
            let (place, datatype) = match topic.place(metric, born) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(problem) => {
                    ask = true;
                    add(&mut problems, problem);
                    continue;
                }
            };
            let entry = &topic.entries[place];
            let of = [speaker.path.as_bytes(), &index.to_be_bytes(), &place.to_be_bytes()];
            let named = |read| Ok((made.series(entry.name.fill(&captured), &entry.field.series, &of)?, read));
            let read = reading(entry, datatype, metric, payload.timestamp, now);
            match read.and_then(|read| read.map(named).transpose()) {
                Ok(None) => {}
                Ok(Some((series, Read { lane, basis, stamp, value }))) => {
                    batch.urgent |= entry.field.urgent;
                    batch.lane(lane).push(sample(series, basis, &stamp, value));
                }
                Err(problem) => add(&mut problems, &format!("metric `{}` {problem}", entry.metric)),
            }
        }
        problems.map_or(Ok(()), |problem| Err(Trouble { problem, ask }))
    }
}

/// How `path` is read: where in the settings, and what its captures are.
fn topic_of<'s, 'p>(topics: &'s [Topic], path: &'p str) -> Option<(usize, &'s Topic, Vec<&'p str>)> {
    let found = |(index, topic): (usize, &'s Topic)| Some((index, topic, topic.filter.capture(path)?));
    topics.iter().enumerate().find_map(found)
}

/// A value with its time.
struct Read {
    lane: Lane,
    basis: Basis,
    stamp: Stamp,
    value: Value,
}

fn reading(
    entry: &Entry,
    datatype: u32,
    metric: &Metric<'_>,
    payload_time: Option<u64>,
    now: Now,
) -> Result<Option<Read>, String> {
    let (false, Some(raw)) = (metric.is_null, metric.value) else { return Ok(None) };
    let Some(value) = value::value(&entry.field, datatype, raw)? else { return Ok(None) };
    let (basis, instant) = match metric.timestamp.or(payload_time) {
        Some(ms) if ms < TIME_MS_MAX => {
            let micros = i64::try_from(ms * 1_000).map_err(|_| "has a time that cannot be")?;
            (Basis::Source, Instant(micros))
        }
        Some(_) => return Err("has a time that cannot be".into()),
        None if metric.is_historical => return Err("is of the past and does not say of when".into()),
        None => (Basis::Boot, arrival(now)),
    };
    let lane = if metric.is_historical { Lane::Backfill } else { Lane::Live };
    Ok(Some(Read { lane, basis, stamp: Stamp { instant, utc_offset_minutes: None, local_text: None }, value }))
}

/// To the millisecond, as all times in Sparkplug are.
fn arrival(now: Now) -> Instant {
    Instant(now.boot.0 - now.boot.0.rem_euclid(1_000))
}
