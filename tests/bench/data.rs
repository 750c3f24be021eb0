//! What the measures are taken on: the committed fixtures, and a household of twenty series made from one of them.

use harness::offered;
use proto::{Basis, Body, BootId, Clock, Column, Epoch, Instant, Kind, Quality, Reading, Series, Value};

/// 2026-11-20T00:00:00Z: where the series that have no dates of their own begin.
pub(crate) const START_US: i64 = 1_795_132_800_000_000;
/// The boot that everything is sealed in. How long it is on the wire does not depend on its digits.
pub(crate) const BOOT: BootId = BootId([0x3d, 0x91, 0x0c, 0xe7, 0x58, 0x42, 0xb6, 0x1f]);
/// An epoch; the same holds.
pub(crate) const EPOCH: Epoch = Epoch([0xa4, 0x17, 0xfe, 0x60, 0x9b, 0xd3, 0x2c, 0x85]);
/// Series that a household has.
pub(crate) const HOUSEHOLD_SERIES: usize = 20;

/// The clock of [`BOOT`]: it began some days before [`START_US`], and not at a full second.
pub(crate) const CLOCK: Clock = Clock { boot: BOOT, offset_us: START_US - 271_828_182_845, quality: Quality::Synced };

/// One value at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Microseconds since the Unix epoch.
    pub(crate) time_us: i64,
    /// What was measured.
    pub(crate) value: f64,
}

/// A fixture, and how it is cut into batches.
pub(crate) struct Set {
    /// `cgm` or `power`.
    pub(crate) name: &'static str,
    /// What is measured.
    pub(crate) series: Series,
    /// All of it, in order of time.
    pub(crate) rows: Vec<Row>,
    /// Readings of one batch.
    pub(crate) batch: usize,
}

impl Set {
    /// Glucose of one person, about every five minutes, a day a batch.
    #[must_use]
    pub(crate) fn cgm() -> Self {
        let text = harness::data("cgm.csv.gz");
        let rows = offered::cgm_rows(&text).into_iter().map(|row| Row { time_us: row.time_us, value: row.value });
        Self { name: "cgm", series: series("glucose", "mg/dL"), rows: rows.collect(), batch: 288 }
    }

    /// Power of one household in tenths of a watt, every second, 100 readings a batch.
    #[must_use]
    pub(crate) fn power() -> Self {
        Self { name: "power", series: series("power.active", "W"), rows: power_rows(), batch: 100 }
    }

    /// Its whole batches; what is left over at the end is no batch of the stated size.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &[Row]> + Clone {
        self.rows.chunks_exact(self.batch)
    }

    /// `rows` as they would be sealed.
    #[must_use]
    pub(crate) fn body(&self, rows: &[Row]) -> Body {
        Body { boot: BOOT, columns: vec![column(self.series.clone(), rows)] }
    }
}

/// A gauge.
///
/// # Panics
/// When name or unit cannot be.
#[must_use]
pub(crate) fn series(name: &str, unit: &str) -> Series {
    let (name, unit) = (name.parse().expect("a name of a series"), unit.parse().expect("a unit"));
    Series { name, unit, kind: Kind::Gauge }
}

/// `rows` as a column on source time.
#[must_use]
pub(crate) fn column(series: Series, rows: &[Row]) -> Column {
    let reading = |row: &Row| Reading::new(Instant(row.time_us), Value::Number(row.value));
    Column { series, basis: Basis::Source, readings: rows.iter().map(reading).collect() }
}

fn power_rows() -> Vec<Row> {
    let text = harness::data("power.csv.gz");
    let row = |line: &str| {
        let (second, watts) = line.split_once(',').expect("two columns");
        let second: i64 = second.parse().expect("a whole second");
        Row { time_us: START_US + second * 1_000_000, value: watts.parse().expect("watts") }
    };
    text.lines().skip(1).filter(|line| !line.is_empty()).map(row).collect()
}

/// Twenty series that are read at the same instant, once a second: the committed power, each series from another place
/// of it on.
pub(crate) struct Household {
    series: Vec<Series>,
    power: Vec<Row>,
}

impl Household {
    /// A household.
    #[must_use]
    pub(crate) fn new() -> Self {
        let name = |index| series(&format!("circuit-{index:02}.power.active"), "W");
        Self { series: (1..=HOUSEHOLD_SERIES).map(name).collect(), power: power_rows() }
    }

    /// What is read from second `from` on, for `seconds`, from `start_us` on.
    #[must_use]
    pub(crate) fn body(&self, start_us: i64, from: usize, seconds: usize) -> Body {
        let column_of = |(index, series): (usize, &Series)| {
            let row = |second: usize| Row {
                time_us: start_us + i64::try_from(second).unwrap_or(i64::MAX) * 1_000_000,
                value: self.power[(second + 487 * index) % self.power.len()].value,
            };
            let rows: Vec<Row> = (from..from + seconds).map(row).collect();
            column(series.clone(), &rows)
        };
        Body { boot: BOOT, columns: self.series.iter().enumerate().map(column_of).collect() }
    }
}
