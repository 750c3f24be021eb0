//! Exports of Dexcom Clarity and LibreView: what their columns are, and what a row becomes.
//!
//! Both are tables behind some lines about the person, which are passed and not kept. Columns are found in the header, and
//! so is the unit of glucose. A row's time is local time; which of its numbers is the day is proved by the file itself or
//! said by the settings, before the first row is taken.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::memory::{Identity, hash};
use crate::source::Sample;
use crate::source::format::{LineFormat, Row};
use crate::source::times::local_at;

mod clarity;
mod dates;
mod libreview;
mod sheet;

pub use dates::Order;
use dates::{Proof, Written};
use sheet::Sheet;

/// Whose export it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Vendor {
    Clarity,
    Libreview,
}

/// What may separate fields; the header shows which does.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// What a column holds. Records are known by these in their order: what is new goes to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Time,
    /// What kind of record it is.
    Type,
    Subtype,
    /// Tells devices apart.
    Device,
    Serial,
    /// The transmitter's own clock: tells an hour that came twice apart.
    Ticks,
    /// Clarity: glucose of whatever the type says.
    Glucose,
    Rate,
    Insulin,
    Carbs,
    Duration,
    Historic,
    Scan,
    Strip,
    Ketone,
    Rapid,
    Long,
    Meal,
    Correction,
    UserChange,
    Servings,
    Notes,
    /// Eaten or injected, without saying how much.
    SomeFood,
    SomeRapid,
    SomeLong,
}

/// The columns of one file.
#[derive(Debug)]
struct Columns {
    format: LineFormat,
    count: usize,
    roles: Vec<(usize, Role)>,
    units: Units,
}

/// Series whose unit the header says.
#[derive(Debug)]
struct Units {
    glucose: &'static str,
    rate: &'static str,
}

const MG_DL: Units = Units { glucose: "mg/dL", rate: "mg/dL/min" };
const MMOL_L: Units = Units { glucose: "mmol/L", rate: "mmol/L/min" };

impl Units {
    /// The unit that a column's name ends with or holds in brackets.
    fn of(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let says = |unit: &str| name.ends_with(unit) || name.contains(&format!("({unit})"));
        if says("mg/dl") {
            return Some(MG_DL);
        }
        says("mmol/l").then_some(MMOL_L)
    }
}

/// Reads one file's lines.
#[derive(Debug)]
pub(super) struct Export {
    vendor: Vendor,
    zone: TimeZone,
    proof: Proof,
    columns: Option<Columns>,
}

/// What a row gave.
#[derive(Debug)]
pub(super) struct Exported {
    pub(super) samples: Vec<Sample>,
    /// What is wrong with the rest of it.
    pub(super) problem: Option<String>,
    pub(super) identity: Identity,
}

impl Export {
    /// `dates` as the settings say; `zone` is what the person's devices showed.
    pub(super) fn new(vendor: Vendor, dates: Option<Order>, zone: TimeZone) -> Self {
        Self { vendor, zone, proof: Proof::new(dates), columns: None }
    }

    /// Whether the header has been seen.
    pub(super) fn has_header(&self) -> bool {
        self.columns.is_some()
    }

    /// Takes `line` for the header, if it is one.
    pub(super) fn look_for_header(&mut self, line: &[u8]) {
        for separator in SEPARATORS {
            let format = LineFormat::Csv { separator };
            let Ok(Row::Fields(names)) = format.split(line) else { continue };
            let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
            let found = match self.vendor {
                Vendor::Clarity => clarity::columns(&names),
                Vendor::Libreview => libreview::columns(&names),
            };
            if let Some((roles, units)) = found {
                let count = names.len();
                self.columns = Some(Columns { format, count, roles, units });
                return;
            }
        }
    }

    /// Looks at how a row writes its date, before any is taken.
    pub(super) fn weigh(&mut self, line: &[u8]) {
        let written = self.cells(line).ok().and_then(|cells| Written::parse(cells.text(Role::Time)));
        if let Some(written) = written {
            self.proof.weigh(&written);
        }
    }

    /// Settles how dates are to be read, or says why they cannot be.
    pub(super) fn decide(&mut self) -> Result<(), String> {
        self.proof.decide()
    }

    /// What a row becomes; none for one that says nothing at any time.
    pub(super) fn read(&self, line: &[u8]) -> Result<Option<Exported>, String> {
        let cells = self.cells(line)?;
        let time = cells.text(Role::Time);
        if time.is_empty() {
            return Ok(None); // about the person or the device's settings: not kept
        }
        let written = Written::parse(time).ok_or("its time is written in a way that is not known")?;
        let local = written.at(self.proof.order())?;
        let stamp = local_at(&self.zone, local, time).map_err(|problem| format!("its time {problem}"))?;
        let units = self.columns.as_ref().map_or(&MG_DL, |columns| &columns.units);
        let mut sheet = Sheet { units, stamp, samples: Vec::new(), problem: None };
        match self.vendor {
            Vendor::Clarity => clarity::read(&cells, &mut sheet),
            Vendor::Libreview => libreview::read(&cells, &mut sheet),
        }
        let second = local.to_zoned(TimeZone::UTC).map_or(0, |zoned| zoned.timestamp().as_second());
        let identity = Identity { second, hash: cells.hash() };
        let Sheet { samples, problem, .. } = sheet;
        match problem {
            Some(problem) if samples.is_empty() => Err(problem),
            problem if samples.is_empty() && problem.is_none() => Ok(None),
            problem => Ok(Some(Exported { samples, problem, identity })),
        }
    }

    fn cells<'a>(&'a self, line: &'a [u8]) -> Result<Cells<'a>, String> {
        let columns = self.columns.as_ref().ok_or("stands before the header")?;
        let Row::Fields(fields) = columns.format.split(line)? else {
            return Err("is no row of fields".into());
        };
        // Trailing empty fields are left out by some programs that rewrite such files.
        if fields.len() > columns.count {
            return Err(format!("has {} fields, not {}", fields.len(), columns.count));
        }
        Ok(Cells { fields, roles: &columns.roles })
    }
}

/// One row's fields by what they are.
struct Cells<'a> {
    fields: Vec<Cow<'a, str>>,
    roles: &'a [(usize, Role)],
}

impl Cells<'_> {
    /// The field as text; empty where there is none.
    fn text(&self, role: Role) -> &str {
        let place = self.roles.iter().find(|(_, found)| *found == role).map(|(place, _)| *place);
        place.and_then(|place| self.fields.get(place)).map_or("", |field| field.trim())
    }

    /// Tells the record apart from others of its second: all that it says, however many columns are between.
    fn hash(&self) -> u64 {
        let mut bytes = Vec::new();
        for (place, role) in self.roles {
            let text = self.fields.get(*place).map_or("", |field| field.trim());
            if !text.is_empty() {
                bytes.push(*role as u8);
                bytes.extend_from_slice(text.as_bytes());
                bytes.push(0);
            }
        }
        hash(&bytes)
    }
}

#[cfg(test)]
mod tests;
