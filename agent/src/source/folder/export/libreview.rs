//! LibreView's export: a column for each quantity, in the same order in every language.

use proto::{Kind, Value};

use super::{Cells, Role, Sheet, Units};
use crate::source::device::series;

/// The columns in their order, each by how its name begins in English.
const COLUMNS: [(&str, Role); 19] = [
    ("Device", Role::Device),
    ("Serial Number", Role::Serial),
    ("Device Timestamp", Role::Time),
    ("Record Type", Role::Type),
    ("Historic Glucose", Role::Historic),
    ("Scan Glucose", Role::Scan),
    ("Non-numeric Rapid-Acting Insulin", Role::SomeRapid),
    ("Rapid-Acting Insulin", Role::Rapid),
    ("Non-numeric Food", Role::SomeFood),
    ("Carbohydrates (grams)", Role::Carbs),
    ("Carbohydrates (servings)", Role::Servings),
    ("Non-numeric Long-Acting Insulin", Role::SomeLong),
    ("Long-Acting Insulin", Role::Long),
    ("Notes", Role::Notes),
    ("Strip Glucose", Role::Strip),
    ("Ketone", Role::Ketone),
    ("Meal Insulin", Role::Meal),
    ("Correction Insulin", Role::Correction),
    ("User Change Insulin", Role::UserChange),
];
/// Columns that must be there for their order to be believed where the names are not English.
const COUNT_MIN: usize = 16;

/// The columns, if `names` is the header of such an export.
pub(super) fn columns(names: &[&str]) -> Option<(Vec<(usize, Role)>, Units)> {
    let roles = by_name(names).or_else(|| by_place(names))?;
    let glucose = roles.iter().find(|(_, role)| *role == Role::Historic)?;
    Some((roles.clone(), Units::of(names.get(glucose.0)?)?))
}

fn by_name(names: &[&str]) -> Option<Vec<(usize, Role)>> {
    let mut roles = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}');
        // The longest that fits: `Device Timestamp` is no `Device`.
        let fits = COLUMNS.iter().filter(|(start, _)| name.starts_with(start)).max_by_key(|(start, _)| start.len());
        if let Some((_, role)) = fits {
            roles.push((place, *role));
        }
    }
    let has = |role| roles.iter().any(|(_, found)| *found == role);
    (has(Role::Time) && has(Role::Type) && has(Role::Historic)).then_some(roles)
}

fn by_place(names: &[&str]) -> Option<Vec<(usize, Role)>> {
    let says = |place: usize| names.get(place).and_then(|name| Units::of(name));
    let known = names.len() >= COUNT_MIN
        && [4, 5, 14].into_iter().all(|place| says(place).is_some())
        && says(15).is_some_and(|units| units.glucose == "mmol/L");
    known.then(|| COLUMNS.iter().enumerate().take(names.len()).map(|(place, (_, role))| (place, *role)).collect())
}

pub(super) fn read(cells: &Cells<'_>, sheet: &mut Sheet<'_>) {
    for (name, role) in [("glucose", Role::Historic), ("glucose.scan", Role::Scan), ("glucose.strip", Role::Strip)] {
        sheet.glucose(name, cells.text(role));
    }
    sheet.number("ketone", "mmol/L", Kind::Gauge, cells.text(Role::Ketone));
    for (name, role) in [
        ("insulin.rapid", Role::Rapid),
        ("insulin.long", Role::Long),
        ("insulin.meal", Role::Meal),
        ("insulin.correction", Role::Correction),
        ("insulin.user_change", Role::UserChange),
    ] {
        sheet.number(name, "U", Kind::Delta, cells.text(role));
    }
    sheet.number("carbs", "g", Kind::Delta, cells.text(Role::Carbs));
    sheet.number("carbs.servings", "1", Kind::Delta, cells.text(Role::Servings));
    let notes = cells.text(Role::Notes);
    match notes.len() {
        0 => {}
        1..=proto::TEXT_BYTES_MAX => sheet.put(series("note", "1", Kind::Text), Value::Text(notes.to_owned())),
        _ => sheet.wrong("note", "is longer than a text may be"),
    }
    for (what, role) in [("food", Role::SomeFood), ("rapid", Role::SomeRapid), ("long", Role::SomeLong)] {
        let text = cells.text(role);
        if !text.is_empty() {
            sheet.event("libreview.event", &[("unmeasured", what), ("said", text)]);
        }
    }
}
