//! Series whose names are made of topics.

use std::collections::HashMap;
use std::sync::Arc;

use proto::{Basis, Kind, Reading, Series, Unit, Value};
use serde::{Deserialize, Serialize};

use super::recent::Recent;
use super::topics::Template;
use crate::source::fields::{self, Field, Key};
use crate::source::times::Stamp;
use crate::source::{BadSetting, Sample};

/// Series that one source may make of its topics: as many as fit a body.
const SERIES_MAX: usize = 1_024;

/// One series, and the value that it is read from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesSettings {
    /// Where the value is in the JSON payload (RFC 6901), such as `/ENERGY/Power`; empty: the payload as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The metric's name in Sparkplug B, such as `Inputs/Temperature`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The series' name, in which `{1}` is what the first `+` of the filter stands for.
    pub name: String,
    /// The UCUM unit that the value is in; `1` for plain numbers and for words.
    #[serde(default = "fields::plain_unit")]
    pub unit: Unit,
    /// gauge, counter, delta, state, text or event.
    #[serde(
        default = "fields::gauge",
        deserialize_with = "fields::kind_from_word",
        serialize_with = "fields::kind_to_word"
    )]
    pub kind: Kind,
    /// Numbers below this are rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Numbers above this are rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Words that stand where a number would, and what they mean: `"unavailable" = "other(1)"`.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub states: std::collections::BTreeMap<String, String>,
    /// Whether a message without this value is a reject.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Whether its readings leave at once, without waiting for others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
}

impl SeriesSettings {
    /// What its values may be.
    pub(super) fn field(&self) -> Result<Field, BadSetting> {
        let Self { unit, kind, min, max, states, urgent, .. } = self.clone();
        // The name is another for each topic.
        let name = "x".parse().map_err(|error| BadSetting::new("name", format!("{error}")))?;
        Field::new(&fields::SeriesSettings {
            column: Key::Name(String::new()),
            name,
            unit,
            kind,
            min,
            max,
            states,
            urgent,
            scale: None,
            offset: None,
        })
    }

    /// Its name, for a filter of so many captures.
    pub(super) fn template(&self, captures: usize) -> Result<Template, BadSetting> {
        Template::parse(&self.name, captures).map_err(|problem| BadSetting::new("name", problem))
    }
}

/// The series that were made so far: the same name is never made of two topics.
#[derive(Debug, Default)]
pub(super) struct Made(HashMap<String, (u64, Arc<Series>)>);

impl Made {
    /// The series of that name, of the kind and unit of `model`; `of` is what it is made of.
    pub(super) fn series(&mut self, name: String, model: &Series, of: &[&[u8]]) -> Result<Arc<Series>, String> {
        let of = Recent::hash(of);
        if let Some((known, series)) = self.0.get(&name) {
            return if *known == of {
                Ok(Arc::clone(series))
            } else {
                Err(format!("would be mixed with what another topic gives, as series `{name}`; change one's `name`"))
            };
        }
        if self.0.len() >= SERIES_MAX {
            return Err(format!("would be one more than the {SERIES_MAX} series of a source"));
        }
        let parsed = name.parse().map_err(|error| format!("{error}"))?;
        let series = Arc::new(Series { name: parsed, unit: model.unit.clone(), kind: model.kind });
        self.0.insert(name, (of, Arc::clone(&series)));
        Ok(series)
    }
}

/// One reading with its time.
pub(super) fn sample(series: Arc<Series>, basis: Basis, stamp: &Stamp, value: Value) -> Sample {
    let mut reading = Reading::new(stamp.instant, value);
    if basis == Basis::Source {
        reading.utc_offset_minutes = stamp.utc_offset_minutes;
        reading.local_text.clone_from(&stamp.local_text);
    }
    Sample { series, basis, reading }
}

/// Adds `problem` to what is wrong with a message so far.
pub(super) fn add(problems: &mut Option<String>, problem: &str) {
    let all = problems.get_or_insert_default();
    // A message may be wrong in very many ways.
    if all.len() < 512 {
        all.push_str(if all.is_empty() { "" } else { "; " });
        all.push_str(problem);
    }
}
