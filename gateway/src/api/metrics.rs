//! Metrics in Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;

use super::State;
use crate::store::view::{Alarm, Device};

/// How long the store may take: half of what Prometheus waits for an answer (`scrape_timeout`, 10 s unless it is set).
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// One number, and how to get it.
pub struct Metric {
    /// `tributary_batches_recorded_total`
    pub name: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// Its value now.
    pub read: Box<dyn Fn() -> f64 + Send + Sync>,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only up, until the process starts again.
    Counter,
    /// Up and down.
    Gauge,
}

impl MetricKind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// What this process counts is told always: that the store is away must be seen by those who watch. What only the store
/// knows is left out while it cannot be read.
pub(super) async fn metrics(Shared(state): Shared<State>) -> impl IntoResponse {
    let mut text = String::new();
    for Metric { name, help, kind, read } in &state.0.metrics {
        family(&mut text, name, help, *kind, [("", read())]);
    }
    match state.ask_within(STORE_DEADLINE, |view| Ok((view.devices()?, view.alarms()?))).await {
        Ok((devices, alarms)) => stored(&mut text, &devices, &alarms),
        // Writing to a String does not fail.
        Err(problem) => writeln!(text, "# {}", problem.detail()).unwrap_or_default(),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Appends what the store knows.
fn stored(text: &mut String, devices: &[Device], alarms: &[Alarm]) {
    let count = |number: usize| u32::try_from(number).map_or(f64::INFINITY, f64::from);
    let connected = devices.iter().filter(|device| device.connected).count();
    let sum = |of: fn(&Device) -> i64| devices.iter().map(of).sum::<i64>() as f64;
    let gauge = MetricKind::Gauge;
    family(text, "tributary_devices", "Devices known.", gauge, [("", count(devices.len()))]);
    family(text, "tributary_devices_connected", "Devices connected.", gauge, [("", count(connected))]);
    family(text, "tributary_readings", "Readings kept that count.", gauge, [("", sum(|device| device.readings))]);
    family(text, "tributary_quarantined", "Entries in quarantine.", gauge, [("", sum(|device| device.quarantined))]);
    family(text, "tributary_gaps", "Gaps in the ledger.", gauge, [("", sum(|device| device.gaps))]);
    let help = "Batches given away, neither stored nor explained.";
    family(text, "tributary_batches_missing", help, gauge, [("", sum(|device| device.missing))]);
    let mut kinds: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    for alarm in alarms {
        *kinds.entry(format!("{{kind=\"{}\"}}", alarm.kind)).or_default() += alarm.count as f64;
    }
    let alarms = kinds.iter().map(|(labels, count)| (&**labels, *count));
    family(text, "tributary_alarms_total", "What somebody should look at.", MetricKind::Counter, alarms);
}

/// Appends one metric with its values by labels.
fn family<'a>(
    text: &mut String,
    name: &str,
    help: &str,
    kind: MetricKind,
    values: impl IntoIterator<Item = (&'a str, f64)>,
) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}
