//! Metrics in Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;
use proto::Instant;

use super::State;
use crate::store::AlarmKind;
use crate::store::view::Fleet;

/// How long the store may take: half of what Prometheus waits for an answer (`scrape_timeout`, 10 s unless it is set).
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// One number, and how to get it. Those of one name stand beside each other.
pub struct Metric {
    /// `tributary_batches_recorded_total`
    pub name: &'static str,
    /// What tells it from others of its name, as in `{of="listener"}`; empty where it is the only one.
    pub labels: &'static str,
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
    let mut text = counted(&state.0.metrics);
    let now = Instant(state.now_us());
    match state.ask_within(STORE_DEADLINE, move |view| view.fleet(now)).await {
        Ok(fleet) => text.push_str(&stored(&fleet)),
        // Writing to a String does not fail.
        Err(problem) => writeln!(text, "# {}", problem.detail()).unwrap_or_default(),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// What this process counts.
pub(crate) fn counted(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for family in metrics.chunk_by(|one, next| one.name == next.name) {
        for (place, Metric { name, labels, help, kind, read }) in family.iter().enumerate() {
            if place == 0 {
                heading(&mut text, name, help, *kind);
            }
            line(&mut text, name, labels, read());
        }
    }
    text
}

/// What the store knows.
pub(crate) fn stored(fleet: &Fleet) -> String {
    let mut text = String::new();
    let help = "Devices that left more than a day ago and were not revoked.";
    for (name, help, count) in [
        ("tributary_devices", "Devices known.", fleet.devices),
        ("tributary_devices_connected", "Devices connected.", fleet.connected),
        ("tributary_devices_silent", help, fleet.silent),
        ("tributary_readings", "Readings kept that count.", fleet.readings),
        ("tributary_quarantined", "Entries in quarantine.", fleet.quarantined),
        ("tributary_gaps", "Gaps in the ledger.", fleet.gaps),
    ] {
        heading(&mut text, name, help, MetricKind::Gauge);
        line(&mut text, name, "", count as f64);
    }
    let name = "tributary_alarms_total";
    heading(&mut text, name, "What somebody should look at.", MetricKind::Counter);
    // Each kind from the start: of a line that is new, Prometheus does not know that it was nothing before.
    for kind in AlarmKind::ALL.map(AlarmKind::word) {
        let count = fleet.alarms.get(kind).copied().unwrap_or(0);
        line(&mut text, name, &format!("{{kind=\"{kind}\"}}"), count as f64);
    }
    text
}

fn heading(text: &mut String, name: &str, help: &str, kind: MetricKind) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
}

fn line(text: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(text, "{name}{labels} {value}");
}
