//! What an object of a telegram becomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::{Kind, Series, TEXT_BYTES_MAX, Value};

use crate::source::device::series;

/// How an object is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    /// A total with its unit.
    Counter,
    /// A level with its unit.
    Gauge,
    /// How often something happened; taken when it changes.
    Count,
    /// A code as written; taken when it changes.
    Code,
    /// A message in hexadecimal digits; taken when it changes.
    Text,
}

impl As {
    /// Whether it is taken when it changes, and not with each telegram.
    pub(super) fn is_said_once(self) -> bool {
        matches!(self, Self::Count | Self::Code | Self::Text)
    }
}

/// Objects, by their code in OBIS (IEC 62056-61), and their series.
const OBJECTS: &[(&str, &str, As)] = &[
    ("0-0:17.0.0", "limit", As::Gauge),
    ("0-0:96.13.0", "message", As::Text),
    ("0-0:96.13.1", "message.code", As::Text),
    ("0-0:96.14.0", "tariff", As::Code),
    ("0-0:96.3.10", "breaker", As::Code),
    ("0-0:96.7.21", "power_failures", As::Count),
    ("0-0:96.7.9", "power_failures.long", As::Count),
    ("1-0:1.7.0", "power.active.import", As::Gauge),
    ("1-0:1.8.0", "energy.active.import", As::Counter),
    ("1-0:1.8.1", "energy.active.import.t1", As::Counter),
    ("1-0:1.8.2", "energy.active.import.t2", As::Counter),
    ("1-0:1.8.3", "energy.active.import.t3", As::Counter),
    ("1-0:1.8.4", "energy.active.import.t4", As::Counter),
    ("1-0:14.7.0", "frequency", As::Gauge),
    ("1-0:2.7.0", "power.active.export", As::Gauge),
    ("1-0:2.8.0", "energy.active.export", As::Counter),
    ("1-0:2.8.1", "energy.active.export.t1", As::Counter),
    ("1-0:2.8.2", "energy.active.export.t2", As::Counter),
    ("1-0:2.8.3", "energy.active.export.t3", As::Counter),
    ("1-0:2.8.4", "energy.active.export.t4", As::Counter),
    ("1-0:21.7.0", "power.active.import.l1", As::Gauge),
    ("1-0:22.7.0", "power.active.export.l1", As::Gauge),
    ("1-0:3.7.0", "power.reactive.import", As::Gauge),
    ("1-0:3.8.0", "energy.reactive.import", As::Counter),
    ("1-0:3.8.1", "energy.reactive.import.t1", As::Counter),
    ("1-0:3.8.2", "energy.reactive.import.t2", As::Counter),
    ("1-0:31.7.0", "current.l1", As::Gauge),
    ("1-0:32.32.0", "voltage_sags.l1", As::Count),
    ("1-0:32.36.0", "voltage_swells.l1", As::Count),
    ("1-0:32.7.0", "voltage.l1", As::Gauge),
    ("1-0:4.7.0", "power.reactive.export", As::Gauge),
    ("1-0:4.8.0", "energy.reactive.export", As::Counter),
    ("1-0:4.8.1", "energy.reactive.export.t1", As::Counter),
    ("1-0:4.8.2", "energy.reactive.export.t2", As::Counter),
    ("1-0:41.7.0", "power.active.import.l2", As::Gauge),
    ("1-0:42.7.0", "power.active.export.l2", As::Gauge),
    ("1-0:51.7.0", "current.l2", As::Gauge),
    ("1-0:52.32.0", "voltage_sags.l2", As::Count),
    ("1-0:52.36.0", "voltage_swells.l2", As::Count),
    ("1-0:52.7.0", "voltage.l2", As::Gauge),
    ("1-0:61.7.0", "power.active.import.l3", As::Gauge),
    ("1-0:62.7.0", "power.active.export.l3", As::Gauge),
    ("1-0:71.7.0", "current.l3", As::Gauge),
    ("1-0:72.32.0", "voltage_sags.l3", As::Count),
    ("1-0:72.36.0", "voltage_swells.l3", As::Count),
    ("1-0:72.7.0", "voltage.l3", As::Gauge),
];

/// Units as telegrams write them, and their codes in UCUM. GJ becomes MJ, which UCUM's users know better.
const UNITS: &[(&str, &str)] = &[
    ("kWh", "kW.h"),
    ("Wh", "W.h"),
    ("kvarh", "kvar.h"),
    ("varh", "var.h"),
    ("kW", "kW"),
    ("W", "W"),
    ("kvar", "kvar"),
    ("var", "var"),
    ("kVA", "kVA"),
    ("VA", "VA"),
    ("V", "V"),
    ("A", "A"),
    ("Hz", "Hz"),
    ("m3", "m3"),
    ("dm3", "L"),
    ("GJ", "MJ"),
    ("MJ", "MJ"),
];

/// What the code of a device on the meter's bus stands for (EN 13757-3, table 3).
const CHANNELS: &[(u8, &str)] =
    &[(3, "gas"), (4, "heat"), (6, "hot_water"), (7, "water"), (10, "cooling"), (11, "cooling"), (12, "heat")];

/// The series' name and the way to read an object, where it is one that is taken.
pub(super) fn known(id: &str) -> Option<(&'static str, As)> {
    let found = OBJECTS.iter().find(|(known, ..)| *known == id);
    found.map(|(_, name, way)| (*name, *way))
}

/// The series of that name, if it is one that is taken when it changes.
pub(super) fn changing(series: &str) -> Option<&'static str> {
    let found = OBJECTS.iter().find(|(_, name, way)| *name == series && way.is_said_once());
    found.map(|(_, name, _)| *name)
}

/// `gas.1` for a gas meter in channel 1.
pub(super) fn channel_name(channel: u8, code: Option<u8>) -> String {
    let name = CHANNELS.iter().find(|(known, _)| Some(*known) == code).map_or("meter", |(_, name)| *name);
    format!("{name}.{channel}")
}

/// Series that were met, each made once: names and units are of the tables above, so there are only so many.
#[derive(Debug, Default)]
pub(super) struct Sheet(BTreeMap<(String, &'static str), Arc<Series>>);

impl Sheet {
    /// The series of that name, unit and kind.
    fn series(&mut self, name: &str, unit: &'static str, kind: Kind) -> Arc<Series> {
        Arc::clone(self.0.entry((name.to_owned(), unit)).or_insert_with(|| series(name, unit, kind)))
    }

    /// What `text` says of the series `name`. Fails without repeating it.
    pub(super) fn read(&mut self, name: &str, way: As, text: &str) -> Result<(Arc<Series>, Value), &'static str> {
        let (unit, kind, value) = match way {
            As::Counter | As::Gauge => {
                let (number, unit) = text.split_once('*').ok_or("has no unit")?;
                let kind = if way == As::Counter { Kind::Counter } else { Kind::Gauge };
                let (unit, value) = quantity(number, unit)?;
                (unit, kind, value)
            }
            As::Count => ("1", Kind::Counter, Value::Number(decimal(text, "")?)),
            As::Code if text.len() <= TEXT_BYTES_MAX => ("1", Kind::State, Value::Text(text.to_owned())),
            As::Code => return Err("is longer than a text may be"),
            As::Text => ("1", Kind::State, Value::Text(unhex(text)?)),
        };
        Ok((self.series(name, unit, kind), value))
    }

    /// The same for a number and a unit that stand apart.
    pub(super) fn counter(
        &mut self,
        name: &str,
        number: &str,
        unit: &str,
    ) -> Result<(Arc<Series>, Value), &'static str> {
        let (unit, value) = quantity(number, unit)?;
        Ok((self.series(name, unit, Kind::Counter), value))
    }
}

fn quantity(number: &str, unit: &str) -> Result<(&'static str, Value), &'static str> {
    let known = UNITS.iter().find(|(known, _)| *known == unit);
    let (_, code) = known.ok_or("has a unit that is not known here")?;
    // Three places further right, which is exact.
    let number = decimal(number, if unit == "GJ" { "e3" } else { "" })?;
    Ok((*code, Value::Number(number)))
}

/// A decimal as written, such as `000981.443`, and a power of ten: the nearest double.
fn decimal(text: &str, power: &str) -> Result<f64, &'static str> {
    let wrong = "is no decimal number";
    let known = |byte: u8| byte.is_ascii_digit() || b".-".contains(&byte);
    if text.is_empty() || text.len() > 24 || !text.bytes().all(known) {
        return Err(wrong);
    }
    [text, power].concat().parse().map_err(|_| wrong)
}

/// A message, two hexadecimal digits a byte, in Latin letters.
fn unhex(text: &str) -> Result<String, &'static str> {
    let wrong = "is no text in hexadecimal digits";
    let bytes = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let message: Option<String> = bytes.map(|byte| byte.map(char::from)).collect();
    message.map(|text| text.trim_end().to_owned()).filter(|text| text.len() <= TEXT_BYTES_MAX).ok_or(wrong)
}
