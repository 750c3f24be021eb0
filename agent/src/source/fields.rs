//! Which field of a record becomes which series, and what its text means.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use proto::{Basis, EVENT_BYTES_MAX, Kind, Reading, Series, SeriesName, State, TEXT_BYTES_MAX, Unit, Value};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decimal::Decimal;
use super::format::Row;
use super::times::Stamp;
use super::{BadSetting, Sample};

/// Series one source may have: a record of each must fit an intake several times.
pub const SERIES_MAX: usize = 256;

/// How a field is found: a header's name, a JSON key or dotted path; or a column's number, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Key {
    /// A column's number in CSV, from 1.
    Number(usize),
    /// A name.
    Name(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "column {number}"),
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

/// One series, and the field it is read from.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesSettings {
    /// The column: a header's name or a number from 1 in CSV, a key or dotted path in JSON.
    pub column: Key,
    /// The series' name, such as `glucose`.
    pub name: SeriesName,
    /// The UCUM unit that the field is in, such as `mg/dL`; `1` for plain numbers and for words.
    #[serde(default = "plain_unit")]
    pub unit: Unit,
    /// gauge, counter, delta, state, text or event.
    #[serde(default = "gauge", deserialize_with = "kind_from_word", serialize_with = "kind_to_word")]
    pub kind: Kind,
    /// What numbers are multiplied by, as an exact decimal: 0.1 where the field counts tenths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Decimal>,
    /// What is added to them then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Decimal>,
    /// Numbers below this are rejected, once they are scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Numbers above this are rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Words that stand where a number would, and what they mean: `"Low" = "low(39)"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub states: BTreeMap<String, String>,
    /// Whether its readings leave at once, without waiting for others. Not for imports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
}

pub(super) fn plain_unit() -> Unit {
    "1".parse().expect("`1` is a unit: one printable character")
}

pub(super) fn gauge() -> Kind {
    Kind::Gauge
}

pub(super) fn kind_from_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
    Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

pub(super) fn kind_to_word<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.word())
}

/// What a field holds, before anything is known of its series.
#[derive(Debug, PartialEq)]
pub(super) enum Cell<'a> {
    /// Nothing: an empty cell, null, or no such key.
    Absent,
    /// Text without a type, as in CSV.
    Plain(Cow<'a, str>),
    /// A number as written.
    Number(&'a str),
    /// A text that says that it is one.
    Text(Cow<'a, str>),
    /// true or false.
    Bool(bool),
    /// A JSON object as written.
    Object(&'a str),
    /// A JSON array: no series takes it.
    Array,
}

/// All series of a source, checked.
#[derive(Debug)]
pub(super) struct Mapping {
    fields: Vec<Field>,
}

/// One series, checked: what its values may be.
#[derive(Debug)]
pub(super) struct Field {
    /// As the settings name it.
    label: Key,
    /// Where it is found: a header's name has become a number.
    key: Key,
    pub(super) series: Arc<Series>,
    scale: Option<Decimal>,
    offset: Option<Decimal>,
    range: (f64, f64),
    states: BTreeMap<String, State>,
    pub(super) urgent: bool,
}

/// What one record gave.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) samples: Vec<Sample>,
    pub(super) urgent: bool,
    /// What was wrong with some of its fields.
    pub(super) problem: Option<String>,
}

impl Mapping {
    /// Checks the settings.
    pub(super) fn new(settings: &[SeriesSettings]) -> Result<Self, BadSetting> {
        if settings.is_empty() || settings.len() > SERIES_MAX {
            return Err(BadSetting::new("series", format!("1 to {SERIES_MAX} are needed, as [[source.series]]")));
        }
        let mut fields: Vec<Field> = Vec::new();
        for (index, one) in settings.iter().enumerate() {
            let field = Field::new(one).map_err(|error| error.within(&format!("series[{index}]")))?;
            if fields.iter().any(|other| other.series.name == field.series.name) {
                let problem = format!("`{}` is there twice; each series needs its own name", one.name);
                return Err(BadSetting::new(format!("series[{index}].name"), problem));
            }
            fields.push(field);
        }
        Ok(Self { fields })
    }

    /// Every key, to be looked up in a header.
    pub(super) fn keys_mut(&mut self) -> impl Iterator<Item = &mut Key> {
        self.fields.iter_mut().map(|field| &mut field.key)
    }

    /// The same for reading.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.fields.iter().map(|field| &field.key)
    }

    /// How many series there are.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The readings of one record. A bad field is named and does not cost the others.
    pub(super) fn take(&self, row: &Row<'_>, basis: Basis, stamp: &Stamp) -> Taken {
        let mut taken = Taken::default();
        for field in &self.fields {
            match row.cell(&field.key).and_then(|cell| field.value(cell)) {
                Ok(None) => {}
                Ok(Some(value)) => {
                    let mut reading = Reading::new(stamp.instant, value);
                    if basis == Basis::Source {
                        reading.utc_offset_minutes = stamp.utc_offset_minutes;
                        reading.local_text.clone_from(&stamp.local_text);
                    }
                    taken.urgent |= field.urgent;
                    taken.samples.push(Sample { series: Arc::clone(&field.series), basis, reading });
                }
                Err(problem) => {
                    let all = taken.problem.get_or_insert_default();
                    let comma = if all.is_empty() { "" } else { "; " };
                    all.push_str(&format!("{comma}field {} {problem}", field.label));
                }
            }
        }
        taken
    }
}

impl Field {
    /// Checks the settings.
    pub(super) fn new(settings: &SeriesSettings) -> Result<Self, BadSetting> {
        if settings.column == Key::Number(0) {
            return Err(BadSetting::new("column", "columns count from 1"));
        }
        if !settings.unit.is_known() {
            let problem =
                format!("`{}` is no unit known here; use its UCUM code, such as mg/dL or kW.h", settings.unit);
            return Err(BadSetting::new("unit", problem));
        }
        if settings.scale.is_some_and(Decimal::is_zero) {
            return Err(BadSetting::new("scale", "is 0, which leaves nothing of a number"));
        }
        let range = (settings.min.unwrap_or(f64::NEG_INFINITY), settings.max.unwrap_or(f64::INFINITY));
        if range.0.is_nan() || range.1.is_nan() || range.0 > range.1 {
            return Err(BadSetting::new("min", "is more than `max`"));
        }
        let mut states = BTreeMap::new();
        for (word, state) in &settings.states {
            let state = state.parse().map_err(|error| BadSetting::new(format!("states.{word}"), format!("{error}")))?;
            states.insert(word.clone(), state);
        }
        let series = Series { name: settings.name.clone(), unit: settings.unit.clone(), kind: settings.kind };
        let series = Arc::new(series);
        Ok(Self {
            label: settings.column.clone(),
            key: settings.column.clone(),
            series,
            scale: settings.scale,
            offset: settings.offset,
            range,
            states,
            urgent: settings.urgent,
        })
    }

    /// What a cell means, or what is wrong with it: the value itself is not repeated, it may concern a person.
    pub(super) fn value(&self, cell: Cell<'_>) -> Result<Option<Value>, String> {
        if let Cell::Plain(text) | Cell::Text(text) = &cell
            && let Some(state) = self.states.get(text.trim())
        {
            return Ok(Some(Value::State(*state)));
        }
        match (self.series.kind, cell) {
            (_, Cell::Absent) => Ok(None),
            (Kind::Gauge | Kind::Counter | Kind::Delta, Cell::Plain(text)) => self.number(text.trim()).map(Some),
            (Kind::Gauge | Kind::Counter | Kind::Delta, Cell::Number(text)) => self.number(text).map(Some),
            (Kind::Gauge | Kind::Counter | Kind::Delta, _) => Err("is no number and none of `states`".into()),
            (Kind::State, Cell::Bool(switch)) => Ok(Some(Value::Bool(switch))),
            (Kind::State, Cell::Plain(text)) => Ok(Some(match text.trim() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => self.text(text)?,
            })),
            (Kind::State, Cell::Number(text)) => self.number(text).map(Some),
            (Kind::State | Kind::Text, Cell::Text(text)) => self.text(text).map(Some),
            (Kind::Text, Cell::Plain(text)) => self.text(text).map(Some),
            (Kind::Text, Cell::Number(text)) => self.text(text.into()).map(Some),
            (Kind::State | Kind::Text, _) => Err("is no single word or text".into()),
            (Kind::Event, Cell::Object(json)) => event(json).map(Some),
            (Kind::Event, Cell::Plain(text)) => event(&text).map(Some),
            (Kind::Event, _) => Err("is no JSON object".into()),
        }
    }

    fn number(&self, text: &str) -> Result<Value, String> {
        let mut number: f64 = text.parse().map_err(|_| "is no number with a decimal point, and none of `states`")?;
        if !number.is_finite() {
            return Err("is no finite number".into());
        }
        if self.scale.is_some() || self.offset.is_some() {
            let exact = text.parse::<Decimal>().ok().and_then(|decimal| decimal.scaled(self.scale, self.offset));
            number = exact.ok_or("has more digits than can be scaled exactly")?;
        }
        let (min, max) = self.range;
        match (number < min, number > max) {
            (true, _) => Err(format!("is below its `min` {min}")),
            (_, true) => Err(format!("is above its `max` {max}")),
            _ => Ok(Value::Number(number)),
        }
    }

    fn text(&self, text: Cow<'_, str>) -> Result<Value, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("is longer than the {TEXT_BYTES_MAX} bytes of a text"));
        }
        Ok(Value::Text(text.into_owned()))
    }
}

fn event(json: &str) -> Result<Value, String> {
    if json.len() > EVENT_BYTES_MAX {
        return Err(format!("is longer than the {EVENT_BYTES_MAX} bytes of an event"));
    }
    let object = serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(json);
    object.map(|_| Value::Json(json.to_string())).map_err(|_| "is no JSON object".into())
}
