//! What a record says, as named fields: the same in every time-series store.

use proto::{State, Value};

use super::{Carrier, Origin, Record};
use crate::store::view::TimeQuality;

/// What a field holds. A field of one name is always of one kind, which both InfluxDB and Timestream ask for.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Field {
    Double(f64),
    Whole(i64),
    Truth(bool),
    Text(String),
}

impl Record {
    /// Its names: what it is of.
    pub(in crate::store) fn names(&self) -> [(&'static str, &str); 4] {
        let series = &self.series;
        [("device", &series.device), ("kind", &series.kind), ("quantity", &series.name), ("unit", &series.unit)]
    }

    /// What it says. None of the names is a word that InfluxQL keeps for itself (`series`, `name`, `on`), so that
    /// questions need no quotes; nor one that Timestream keeps.
    ///
    /// # Errors
    /// Its time is not known.
    pub(in crate::store) fn fields(&self) -> Result<Vec<(&'static str, Field)>, String> {
        let mut fields = Vec::with_capacity(8);
        value(&self.value, &mut fields);
        let quality = match self.quality {
            TimeQuality::Unset => return Err("its time is not known".to_owned()),
            TimeQuality::Held => "held",
            TimeQuality::Synced => "synced",
            TimeQuality::Source => "source",
        };
        fields.push(("quality", Field::Text(quality.to_owned())));
        fields.extend(self.utc_offset_minutes.map(|minutes| ("utc_offset_minutes", Field::Whole(minutes.into()))));
        // These tell a repeat of this reading from another reading of the same instant and value.
        match (self.carrier, self.carrier.names()) {
            (Carrier::Batch(..), (epoch, Some(number))) => {
                fields.push(("epoch", Field::Text(epoch)));
                fields.push(("number", Field::Whole(number.cast_signed())));
            }
            (_, (pack, _)) => fields.push(("pack", Field::Text(pack))),
        }
        fields.push(("place", Field::Whole(self.place.into())));
        if let Some(Origin { id, revision, change }) = &self.origin {
            fields.push(("origin", Field::Text(id.clone())));
            // As text: revisions may be greater than any whole number there.
            fields.push(("revision", Field::Text(revision.to_string())));
            fields.push(("change", Field::Text((*change).to_owned())));
        }
        Ok(fields)
    }
}

/// Each kind of value has a field of its own.
fn value(value: &Value, fields: &mut Vec<(&'static str, Field)>) {
    let (name, field) = match value {
        Value::Number(number) if number.is_finite() => ("value", Field::Double(*number)),
        // Neither store has infinity, nor what is no number: the 64 bits, so that nothing is lost.
        Value::Number(number) => ("bits", Field::Text(format!("{:016x}", number.to_bits()))),
        Value::Bool(on) => ("flag", Field::Truth(*on)),
        Value::Text(text) => ("text", Field::Text(text.clone())),
        Value::Json(json) => ("json", Field::Text(json.clone())),
        Value::Absent => ("state", Field::Text("absent".to_owned())),
        Value::State(state) => {
            let (word, code) = match *state {
                State::Low(code) => ("low", Some(code)),
                State::High(code) => ("high", Some(code)),
                State::WarmingUp => ("warming_up", None),
                State::SensorError(code) => ("sensor_error", Some(code)),
                State::Control(code) => ("control", Some(code)),
                State::CalibrationNeeded => ("calibration_needed", None),
                State::Other(code) => ("other", Some(code)),
            };
            fields.extend(code.map(|code| ("code", Field::Whole(code.into()))));
            ("state", Field::Text(word.to_owned()))
        }
    };
    fields.push((name, field));
}
