//! What the sources' tests share.

use std::time::Duration;

use proto::{Basis, Instant, Lane};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Configured, Ended, Intake, Outlet, Reject, Sample, SourceClock, SourceError, SourceName, run};

/// 2026-03-01T12:00:00Z
pub(super) const NOON: Instant = Instant(1_772_366_400_000_000);

/// A source from its TOML, as it stands under `[[source]]`.
pub(super) fn configured(toml: &str) -> Configured {
    let configured: Configured = toml::from_str(toml).unwrap();
    configured.validate().unwrap();
    configured
}

/// A source that runs, and what it hands over.
pub(super) struct Running {
    pub(super) intakes: mpsc::Receiver<Intake>,
    pub(super) task: JoinHandle<Result<Ended, SourceError>>,
    pub(super) stop: CancellationToken,
}

impl Running {
    pub(super) fn start(configured: &Configured, cursor: Option<Vec<u8>>, clock: &SourceClock, depth: usize) -> Self {
        let (outlet, intakes) = Outlet::new(depth);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(configured.clone(), cursor, outlet, clock.clone(), stop.clone()));
        Self { intakes, task, stop }
    }

    /// The next intake, within a deadline.
    pub(super) async fn next(&mut self) -> Intake {
        let waited = tokio::time::timeout(Duration::from_secs(20), self.intakes.recv()).await;
        waited.expect("an intake within 20 s").expect("the source still runs")
    }

    /// Stops it and waits for its end.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        drop(self.intakes);
        assert_eq!(self.task.await.unwrap().unwrap(), Ended::Stopped);
    }
}

/// Everything a source hands over until it has finished.
pub(super) async fn all_of(configured: &Configured, cursor: Option<Vec<u8>>) -> Vec<Intake> {
    let mut running = Running::start(configured, cursor, &SourceClock::invented(NOON), 4);
    let mut intakes = Vec::new();
    while let Some(intake) = running.intakes.recv().await {
        assert!(intake.samples.len() <= super::INTAKE_SAMPLES_MAX);
        intakes.push(intake);
    }
    assert_eq!(running.task.await.unwrap().unwrap(), Ended::Finished);
    intakes
}

/// One reading as a line: what golden files hold.
pub(super) fn told(sample: &Sample) -> String {
    let Sample { series, basis, reading } = sample;
    let basis = if *basis == Basis::Boot { "boot" } else { "source" };
    let mut line = format!("{basis} {} {} [{}] {} ", reading.time.0, series.name, series.unit, series.kind);
    match &reading.value {
        proto::Value::Number(number) => line.push_str(&number.to_string()),
        proto::Value::State(state) => line.push_str(&state.to_string()),
        proto::Value::Bool(on) => line.push_str(&format!("Bool({on})")),
        proto::Value::Text(text) => line.push_str(&format!("Text({text:?})")),
        proto::Value::Json(json) => line.push_str(&format!("Json({json:?})")),
        proto::Value::Absent => line.push_str("Absent"),
    }
    if let Some(offset) = reading.utc_offset_minutes {
        line.push_str(&format!(" offset {offset}"));
    }
    if let Some(text) = &reading.local_text {
        line.push_str(&format!(" local {text}"));
    }
    line
}

/// Every reading and every reject of some intakes, as lines.
pub(super) fn told_all(intakes: &[Intake]) -> Vec<String> {
    let mut lines: Vec<String> = intakes.iter().flat_map(|intake| intake.samples.iter().map(told)).collect();
    let rejected = |reject: &Reject| format!("rejected {}: {}", reject.place, reject.reason);
    lines.extend(intakes.iter().flat_map(|intake| intake.rejects.iter().map(rejected)));
    lines
}

/// Compares with a golden file; `path` is from the crate's folder.
pub(super) fn assert_golden(path: &str, lines: &[String]) {
    let path = format!("{}/src/source/{path}", env!("CARGO_MANIFEST_DIR"));
    let found = format!("{}\n", lines.join("\n"));
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{path}; GOLDEN_WRITE=1 writes it anew");
}

/// An intake of nothing, to be filled.
pub(super) fn intake() -> Intake {
    Intake::empty(&SourceName::from("test"), Lane::Live)
}
