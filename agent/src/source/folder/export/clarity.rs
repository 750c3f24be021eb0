//! Dexcom Clarity's export: the column `Event Type` says what a row is.

use proto::Kind;

use super::{Cells, Role, Sheet, Units};

/// The columns, if `names` is the header of such an export in English.
pub(super) fn columns(names: &[&str]) -> Option<(Vec<(usize, Role)>, Units)> {
    let mut units = None;
    let mut roles = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}');
        let role = match name {
            "Event Type" => Role::Type,
            "Event Subtype" => Role::Subtype,
            "Source Device ID" => Role::Device,
            "Insulin Value (u)" => Role::Insulin,
            "Carb Value (grams)" => Role::Carbs,
            "Duration (hh:mm:ss)" => Role::Duration,
            _ if name.starts_with("Timestamp (") => Role::Time,
            _ if name.starts_with("Glucose Value (") => {
                units = Some(Units::of(name)?);
                Role::Glucose
            }
            _ if name.starts_with("Glucose Rate of Change (") => Role::Rate,
            _ if name.starts_with("Transmitter Time") => Role::Ticks,
            _ => continue, // names, birthdays, settings and what is not known
        };
        roles.push((place, role));
    }
    let has = |role| roles.iter().any(|(_, found)| *found == role);
    (has(Role::Time) && has(Role::Type)).then_some((roles, units?))
}

pub(super) fn read(cells: &Cells<'_>, sheet: &mut Sheet<'_>) {
    let (kind, subtype) = (cells.text(Role::Type), cells.text(Role::Subtype));
    let needed = |sheet: &mut Sheet<'_>, name: &str, text: &str| {
        if text.is_empty() {
            sheet.wrong(name, "is empty");
        }
    };
    match kind {
        "EGV" | "Calibration" => {
            let name = if kind == "EGV" { "glucose" } else { "glucose.calibration" };
            let text = cells.text(Role::Glucose);
            needed(sheet, name, text);
            sheet.glucose(name, text);
            sheet.number("glucose.rate", sheet.units.rate, Kind::Gauge, cells.text(Role::Rate));
        }
        "Insulin" => {
            let name = match subtype {
                "Fast-Acting" => "insulin.rapid",
                "Long-Acting" => "insulin.long",
                _ => "insulin",
            };
            needed(sheet, name, cells.text(Role::Insulin));
            sheet.number(name, "U", Kind::Delta, cells.text(Role::Insulin));
        }
        "Carbs" => {
            needed(sheet, "carbs", cells.text(Role::Carbs));
            sheet.number("carbs", "g", Kind::Delta, cells.text(Role::Carbs));
        }
        _ => {
            let told = [
                ("type", kind),
                ("subtype", subtype),
                ("glucose", cells.text(Role::Glucose)),
                ("insulin", cells.text(Role::Insulin)),
                ("carbs", cells.text(Role::Carbs)),
                ("duration", cells.text(Role::Duration)),
            ];
            sheet.event("clarity.event", &told);
        }
    }
}
