//! SenML's names of units, and the UCUM codes that mean the same.

use alloc::format;

use crate::series::Unit;

/// Names of the SenML units registry whose UCUM code is another, as (SenML, UCUM). First the primary units (RFC 8428,
/// section 12.1, and RFC 8798, section 2), then the secondary ones (RFC 8798, section 3).
const RENAMED: &[(&str, &str)] = &[
    ("l", "L"),
    ("l/s", "L/s"),
    ("lat", "deg"),
    ("lon", "deg"),
    ("pH", "[pH]"),
    ("dBW", "dB[W]"),
    ("Bspl", "B[SPL]"),
    ("count", "{count}"),
    ("/", "1"),
    ("%RH", "%"),
    ("%EL", "%"),
    ("EL", "s"), // battery energy left, in seconds
    ("1/s", "/s"),
    ("1/min", "/min"),
    ("beat/min", "{beats}/min"),
    ("beats", "{beats}"),
    ("B", "By"),
    ("VAs", "VA.s"),
    ("vars", "var.s"),
    ("Ah", "A.h"),
    ("Wh", "W.h"),
    ("kWh", "kW.h"),
    ("varh", "var.h"),
    ("kvarh", "kvar.h"),
    ("kVAh", "kVA.h"),
    ("Wh/km", "W.h/km"),
    ("KiB", "KiBy"),
    ("GB", "GBy"),
    ("Mbit/s", "Mbit/s"),
    ("B/s", "By/s"),
    ("MB/s", "MBy/s"),
    ("dBm", "dB[mW]"),
    ("ppm", "[ppm]"),
    ("/100", "%"),
    ("/1000", "[ppth]"),
];

/// Names of the same registry that UCUM spells alike, as far as [`Unit::is_known`] does not list them.
const SAME: &[&str] = &[
    "mol", "sr", "S", "Wb", "T", "H", "Gy", "kat", "m3/s", "cd/m2", "S/m", "J/m", "MHz",
    "m/h", // primary, secondary
];

/// What a sum over time is measured in, where it has a shorter name than `unit.s`; as (unit, unit times second).
const OVER_TIME: &[(&str, &str)] = &[
    ("1", "s"),
    ("W", "J"),
    ("kW", "kJ"),
    ("MW", "MJ"),
    ("A", "C"),
    ("m/s", "m"),
    ("L/s", "L"),
    ("m3/s", "m3"),
    ("/s", "1"),
    ("Hz", "1"),
    ("bit/s", "bit"),
    ("By/s", "By"),
];

/// The UCUM code of a SenML unit, or the text itself where it is a UCUM code known here.
pub(super) fn to_ucum(text: &str) -> Option<Unit> {
    if let Some((_, ucum)) = RENAMED.iter().find(|(senml, _)| *senml == text) {
        return ucum.parse().ok();
    }
    let unit: Unit = text.parse().ok()?;
    (SAME.contains(&text) || unit.is_known()).then_some(unit)
}

/// A record without a unit counts plainly.
pub(super) fn plain() -> Unit {
    "1".parse().expect("`1` is a unit: one printable character")
}

/// The unit of `unit` summed over seconds; none where its code would be too long.
pub(super) fn over_time(unit: &Unit) -> Option<Unit> {
    match OVER_TIME.iter().find(|(rate, _)| *rate == unit.as_str()) {
        Some((_, amount)) => amount.parse().ok(),
        None => format!("{unit}.s").parse().ok(),
    }
}
