//! Messages into readings: which value of which topic becomes which series.

use proto::{Basis, Instant, Lane};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::pointer::{Document, Pointer};
use super::series::{Made, SeriesSettings, add, sample};
use super::topics::{Filter, Template};
use crate::source::BadSetting;
use crate::source::fields::{Cell, Field, Key};
use crate::source::times::{EpochUnit, Stamp, TimeReader, TimeSettings};

/// Filters of one source.
const TOPICS_MAX: usize = 64;
/// Series of one filter.
const SERIES_MAX: usize = 256;

/// Topics that are read alike.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TopicSettings {
    /// Which topics: `zigbee2mqtt/+`. In Sparkplug B, `group/node` or `group/node/device`.
    pub filter: String,
    /// Where a message's own time is. Left out: messages are stamped as they arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<PayloadTime>,
    /// In Sparkplug B, a state series that says whether node or device is alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alive: Option<String>,
    /// What the messages hold.
    #[serde(default)]
    pub series: Vec<SeriesSettings>,
}

/// Where a message's own time is, and how it is written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PayloadTime {
    /// Where it is in the payload, as for series.
    pub pointer: String,
    /// As in strptime(3): `%Y-%m-%d %H:%M:%S`. Left out: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// For numbers since the Unix epoch: `s`, `ms` or `us`. Not together with `format`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<EpochUnit>,
}

/// All topics of a source whose payloads are JSON or plain, checked.
#[derive(Debug)]
pub(super) struct Topics {
    topics: Vec<Topic>,
    made: Made,
}

#[derive(Debug)]
struct Topic {
    filter: Filter,
    time: Option<(String, Pointer, TimeReader)>,
    entries: Vec<Entry>,
    /// No pointer leads into the payload, so that it need not be JSON.
    is_plain: bool,
}

#[derive(Debug)]
struct Entry {
    /// As the settings have it.
    label: String,
    pointer: Pointer,
    name: Template,
    field: Field,
    required: bool,
}

/// Checks that there are filters, and that no topic is meant by two: a broker may send it twice then.
pub(super) fn filters(settings: &[TopicSettings]) -> Result<Vec<Filter>, BadSetting> {
    if settings.is_empty() || settings.len() > TOPICS_MAX {
        return Err(BadSetting::new("topics", format!("1 to {TOPICS_MAX} are needed, as [[source.topics]]")));
    }
    let mut filters: Vec<Filter> = Vec::new();
    for (index, topic) in settings.iter().enumerate() {
        let bad = |problem: String| BadSetting::new(format!("topics[{index}].filter"), problem);
        let filter = Filter::parse(&topic.filter).map_err(bad)?;
        if let Some(other) = filters.iter().position(|other| other.overlaps(&filter)) {
            let other = &settings[other].filter;
            return Err(bad(format!("means topics that `{other}` means too; make one of both, or name them apart")));
        }
        if topic.series.len() > SERIES_MAX {
            let problem = format!("has more than {SERIES_MAX}");
            return Err(BadSetting::new(format!("topics[{index}].series"), problem));
        }
        filters.push(filter);
    }
    Ok(filters)
}

impl Topics {
    /// Checks the settings.
    pub(super) fn new(settings: &[TopicSettings], time_zone: Option<&str>) -> Result<Self, BadSetting> {
        let filters = filters(settings)?;
        let topic = |(index, (settings, filter)): (usize, (&TopicSettings, Filter))| {
            Topic::new(settings, filter, time_zone).map_err(|error| error.within(&format!("topics[{index}]")))
        };
        let topics = settings.iter().zip(filters).enumerate().map(topic).collect::<Result<_, _>>()?;
        Ok(Self { topics, made: Made::default() })
    }

    /// The most readings that one message gives.
    pub(super) fn readings_max(&self) -> usize {
        self.topics.iter().map(|topic| topic.entries.len()).max().unwrap_or(0)
    }

    /// Whether messages of `topic` have a time of their own.
    pub(super) fn has_time(&self, topic: &str) -> bool {
        self.topics.iter().any(|known| known.time.is_some() && known.filter.capture(topic).is_some())
    }

    /// The readings of a message. Answers whether any filter means its topic.
    pub(super) fn take(&mut self, topic: &str, payload: &[u8], arrival: Instant, batch: &mut Batch) -> bool {
        let found = self.topics.iter().enumerate().find_map(|(index, known)| {
            let captured = known.filter.capture(topic)?;
            Some((index, known, captured))
        });
        let Some((index, known, captured)) = found else { return false };
        // An empty payload takes a retained message away; it says nothing.
        if !payload.iter().all(u8::is_ascii_whitespace)
            && let Err(problem) = known.take(&mut self.made, (index, topic, &captured), payload, arrival, batch)
        {
            batch.reject(topic, problem, payload);
        }
        true
    }
}

/// What a payload is, for the topic that it came by.
enum Content<'a> {
    Plain(&'a str),
    Json(Document<'a>),
}

impl<'a> Content<'a> {
    fn cell(&self, pointer: &Pointer) -> Result<Cell<'a>, String> {
        match self {
            Self::Plain(text) => Ok(plain(text)),
            Self::Json(document) => document.cell(pointer),
        }
    }
}

/// A payload that is one value; one that is a JSON text is meant without its quotes.
fn plain(text: &str) -> Cell<'_> {
    let text = text.trim();
    match serde_json::from_str::<String>(text) {
        Ok(inner) if text.starts_with('"') => Cell::Text(inner.into()),
        _ => Cell::Plain(text.into()),
    }
}

impl Topic {
    fn new(settings: &TopicSettings, filter: Filter, time_zone: Option<&str>) -> Result<Self, BadSetting> {
        if settings.series.is_empty() {
            return Err(BadSetting::new("series", "is empty; say what the messages hold"));
        }
        if settings.alive.is_some() {
            return Err(BadSetting::new("alive", "is for `format = \"sparkplug_b\"`"));
        }
        let time = settings.time.as_ref().map(|time| payload_time(time, time_zone)).transpose()?;
        let mut entries: Vec<Entry> = Vec::new();
        for (index, one) in settings.series.iter().enumerate() {
            let within = |error: BadSetting| error.within(&format!("series[{index}]"));
            let entry = Entry::new(one, filter.captures()).map_err(within)?;
            if entries.iter().any(|other| other.name == entry.name) {
                let problem = format!("`{}` is there twice; each series needs its own name", one.name);
                return Err(within(BadSetting::new("name", problem)));
            }
            entries.push(entry);
        }
        let is_plain = time.is_none() && entries.iter().all(|entry| entry.pointer.is_whole());
        Ok(Self { filter, time, entries, is_plain })
    }

    /// Fails where nothing in the message can be used.
    fn take(
        &self,
        made: &mut Made,
        (index, topic, captured): (usize, &str, &[&str]),
        payload: &[u8],
        arrival: Instant,
        batch: &mut Batch,
    ) -> Result<(), String> {
        let text = std::str::from_utf8(payload).map_err(|_| "is not UTF-8 text")?;
        let content = if self.is_plain { Content::Plain(text) } else { Content::Json(Document::read(text)?) };
        let (basis, stamp) = match &self.time {
            None => (Basis::Boot, Stamp { instant: arrival, utc_offset_minutes: None, local_text: None }),
            Some((label, pointer, reader)) => (Basis::Source, stamp(&content, label, pointer, reader)?),
        };
        let mut problems = None;
        for (place, entry) in self.entries.iter().enumerate() {
            let value = match content.cell(&entry.pointer) {
                Ok(Cell::Absent) if entry.required => Err("is not there, and `required`".into()),
                Ok(cell) => entry.field.value(cell),
                Err(problem) => Err(problem),
            };
            let of = [topic.as_bytes(), &index.to_be_bytes(), &place.to_be_bytes()];
            let named = |value| Ok((made.series(entry.name.fill(captured), &entry.field.series, &of)?, value));
            match value.and_then(|value| value.map(named).transpose()) {
                Ok(None) => {}
                Ok(Some((series, value))) => {
                    batch.urgent |= entry.field.urgent;
                    batch.lane(Lane::Live).push(sample(series, basis, &stamp, value));
                }
                Err(problem) => add(&mut problems, &format!("value `{}` {problem}", entry.label)),
            }
        }
        problems.map_or(Ok(()), Err)
    }
}

fn payload_time(time: &PayloadTime, time_zone: Option<&str>) -> Result<(String, Pointer, TimeReader), BadSetting> {
    let pointer = Pointer::parse(&time.pointer).map_err(|problem| BadSetting::new("time.pointer", problem))?;
    let column = Key::Name(time.pointer.clone());
    let settings = TimeSettings { column, format: time.format.clone(), unit: time.unit };
    Ok((time.pointer.clone(), pointer, TimeReader::new(&settings, time_zone)?))
}

fn stamp(content: &Content<'_>, label: &str, pointer: &Pointer, reader: &TimeReader) -> Result<Stamp, String> {
    let read = || match content.cell(pointer)? {
        Cell::Plain(text) | Cell::Text(text) => reader.read(text.trim()),
        Cell::Number(text) => reader.read(text),
        Cell::Absent => Err("is empty or not there".into()),
        _ => Err("is no text or number".into()),
    };
    read().map_err(|problem| format!("time `{label}` {problem}"))
}

impl Entry {
    fn new(settings: &SeriesSettings, captures: usize) -> Result<Self, BadSetting> {
        if settings.metric.is_some() {
            return Err(BadSetting::new("metric", "is for `format = \"sparkplug_b\"`; here it is `pointer`"));
        }
        let label = settings.pointer.clone().ok_or_else(|| {
            BadSetting::new("pointer", "is needed, such as /temperature; empty for the payload as a whole")
        })?;
        let pointer = Pointer::parse(&label).map_err(|problem| BadSetting::new("pointer", problem))?;
        let (name, field) = (settings.template(captures)?, settings.field()?);
        Ok(Self { label, pointer, name, field, required: settings.required })
    }
}
