//! What a record of a site says: its name, its time, and the readings that it becomes.

use std::borrow::Cow;
use std::sync::Arc;

use proto::{Change, Series, Value};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::values::{SHEET, glucose, parts};
use super::{Collection, dates};
use crate::source::hash::fnv;

/// Bytes of a name that a site gives its records; a UUID has 36.
const ID_BYTES_MAX: usize = 256;
/// Bytes of an arrow's name.
const DIRECTION_BYTES_MAX: usize = 64;

/// One record of a site.
#[derive(Debug)]
pub(super) struct Record {
    /// The site's name for it.
    pub(super) id: Option<String>,
    /// Of its name, or of all of it where it has none.
    pub(super) key: u64,
    /// Of all that it says.
    pub(super) content: u32,
    /// When it happened, milliseconds since the Unix epoch.
    pub(super) at_ms: Option<i64>,
    /// Minutes east of UTC.
    pub(super) utc_offset_minutes: Option<i16>,
    /// The site's count of its edits, where it has one: when it was last changed, in milliseconds.
    pub(super) modified: Option<u64>,
    /// When it was made.
    pub(super) created: Option<u64>,
    /// Whether it is still there.
    pub(super) valid: bool,
    /// What it becomes, and which series its kind may have readings in; or what is wrong with it.
    pub(super) made: Result<Made, String>,
}

/// The readings of one record.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) values: Vec<(Arc<Series>, Value)>,
    /// Series that a record of this kind may have a reading in.
    pub(super) family: Vec<Arc<Series>>,
}

/// What is looked at. Whatever else there is stays in the text.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    _id: Option<&'a RawValue>,
    identifier: Option<&'a RawValue>,
    r#type: Option<&'a RawValue>,
    sgv: Option<&'a RawValue>,
    mbg: Option<&'a RawValue>,
    direction: Option<&'a RawValue>,
    date: Option<&'a RawValue>,
    #[serde(rename = "dateString")]
    date_string: Option<&'a RawValue>,
    #[serde(rename = "sysTime")]
    sys_time: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    #[serde(rename = "startDate")]
    start_date: Option<&'a RawValue>,
    mills: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    #[serde(rename = "utcOffset")]
    utc_offset: Option<&'a RawValue>,
    #[serde(rename = "srvModified")]
    srv_modified: Option<&'a RawValue>,
    #[serde(rename = "srvCreated")]
    srv_created: Option<&'a RawValue>,
    #[serde(rename = "isValid")]
    is_valid: Option<&'a RawValue>,
}

impl Record {
    /// What `raw`, one element of a list, says.
    pub(super) fn read(collection: Collection, raw: &str) -> Self {
        let whole = fnv(raw.as_bytes());
        let nothing = Self {
            id: None,
            key: whole,
            content: fold(whole),
            at_ms: None,
            utc_offset_minutes: None,
            modified: None,
            created: None,
            valid: true,
            made: Ok(Made::default()),
        };
        let fields: Fields<'_> = match serde_json::from_str(raw) {
            Ok(fields) if raw.starts_with('{') => fields,
            _ => return Self { made: Err("is no object with each field once".into()), ..nothing },
        };
        let id = [fields.identifier, fields._id].into_iter().find_map(text).filter(|id| !id.is_empty());
        let valid = fields.is_valid.is_none_or(|valid| valid.get() != "false");
        let at_ms = fields.at_ms(collection);
        let offset = fields.utc_offset.and_then(number).filter(|minutes| minutes.abs() <= 1_440.0);
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        let utc_offset_minutes = offset.map(|minutes| minutes.round() as i16);
        let count = |field| number(field?).and_then(dates::number).and_then(|ms| u64::try_from(ms).ok());
        let made = match (&id, at_ms) {
            (Some(id), _) if id.len() > ID_BYTES_MAX => Err(format!("its name has more than {ID_BYTES_MAX} bytes")),
            (_, None) => Err("has no time that can be read, as `date` or `created_at`".into()),
            _ => fields.made(collection, raw, valid),
        };
        Self {
            key: id.as_ref().map_or(whole, |id| fnv(id.as_bytes())),
            id: id.map(Cow::into_owned).filter(|id| id.len() <= ID_BYTES_MAX),
            at_ms,
            utc_offset_minutes,
            modified: count(fields.srv_modified),
            created: count(fields.srv_created),
            valid,
            made,
            ..nothing
        }
    }

    /// What it does to what it was, as its site counts changes.
    pub(super) fn change(&self) -> Change {
        match self.valid {
            false => Change::Retract,
            true if self.created.is_none() || self.created >= self.modified => Change::Add,
            true => Change::Replace,
        }
    }
}

impl Fields<'_> {
    /// When it happened: the site files each collection by its own field, which comes first.
    fn at_ms(&self, collection: Collection) -> Option<i64> {
        let order = match collection {
            Collection::Entries => [self.date, self.date_string, self.sys_time, self.mills, self.created_at],
            Collection::Profile => [self.start_date, self.date, self.created_at, self.mills, None],
            _ => [self.created_at, self.date, self.timestamp, self.mills, None],
        };
        order.into_iter().flatten().find_map(|field| match text(Some(field)) {
            Some(words) => dates::text(&words).or_else(|| dates::number(number(field)?)),
            None => dates::number(number(field)?),
        })
    }

    fn made(&self, collection: Collection, raw: &str, valid: bool) -> Result<Made, String> {
        let event = |series: &Arc<Series>| {
            let values = if valid { parts(raw)? } else { Vec::new() };
            let values = values.into_iter().map(|value| (Arc::clone(series), value)).collect();
            Ok(Made { values, family: vec![Arc::clone(series)] })
        };
        let kind = text(self.r#type);
        match (collection, kind.as_deref()) {
            (Collection::Entries, Some("sgv")) => self.sensor(valid),
            (Collection::Entries, None) if self.sgv.is_some() => self.sensor(valid),
            (Collection::Entries, Some("mbg")) => {
                let value = || number(self.mbg?).filter(|value| (0.0..=2_000.0).contains(value)).map(Value::Number);
                let value = if valid { Some(value().ok_or("`mbg` is no glucose in mg/dL")?) } else { None };
                let values = value.map(|value| (Arc::clone(&SHEET.meter), value)).into_iter().collect();
                Ok(Made { values, family: vec![Arc::clone(&SHEET.meter)] })
            }
            (Collection::Entries, Some("cal")) => event(&SHEET.calibration),
            (Collection::Entries, _) => event(&SHEET.entry),
            (Collection::Treatments, _) => event(&SHEET.treatment),
            (Collection::Devicestatus, _) => event(&SHEET.device_status),
            (Collection::Profile, _) => event(&SHEET.profile),
        }
    }

    /// A sensor's glucose, or its state, and where it is heading.
    fn sensor(&self, valid: bool) -> Result<Made, String> {
        let mut values = Vec::new();
        if valid {
            let sgv = self.sgv.and_then(number).ok_or("`sgv` is no number")?;
            values.push((Arc::clone(&SHEET.glucose), glucose(sgv)?));
            let arrow = text(self.direction).filter(|arrow| !arrow.trim().is_empty());
            if let Some(arrow) = arrow.filter(|arrow| arrow.len() <= DIRECTION_BYTES_MAX) {
                values.push((Arc::clone(&SHEET.direction), Value::Text(arrow.into_owned())));
            }
        }
        Ok(Made { values, family: vec![Arc::clone(&SHEET.glucose), Arc::clone(&SHEET.direction)] })
    }
}

/// A text's content.
fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let raw = raw?.get();
    if !raw.starts_with('"') {
        return None;
    }
    match serde_json::from_str::<&str>(raw) {
        Ok(plain) => Some(Cow::Borrowed(plain)),
        Err(_) => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
    }
}

/// A number, which some uploaders send as a text.
fn number(raw: &RawValue) -> Option<f64> {
    let number: f64 = match text(Some(raw)) {
        Some(words) => words.trim().parse().ok()?,
        None => raw.get().parse().ok()?,
    };
    number.is_finite().then_some(number)
}

/// Both halves of a hash in one.
fn fold(hash: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = hash.to_be_bytes();
    u32::from_be_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
