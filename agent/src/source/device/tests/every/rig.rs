//! A source as it really runs: settings from TOML, its codec, the shell, a port.

use std::time::{Duration, Instant};

use proto::{Basis, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::source::device::Shell;
use crate::source::testing::{NOON, configured};
use crate::source::{Intake, Outlet, Sample, SourceClock, SourceName};

/// How long anything may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// Retries without much waiting.
pub(super) const SOON: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// When something was measured, where its source says so, and what.
pub(super) type Said = (Option<i64>, String);

/// A source that runs, and everything it handed over.
pub(super) struct Rig {
    intakes: mpsc::Receiver<Intake>,
    task: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
    pub(super) samples: Vec<Sample>,
    pub(super) rejects: Vec<String>,
}

impl Rig {
    /// `toml` is what is configured but for name and port; `retry` is how long it waits to open the port again.
    pub(super) fn start(toml: &str, port: &str, retry: (Duration, Duration)) -> Self {
        let configured = configured(&format!("name = \"it\"\nport = {port:?}\n{toml}"));
        let device = configured.settings.device().expect("a device at the end of a wire");
        let ((outlet, intakes), stop) = (Outlet::new(4), CancellationToken::new());
        let (codec, clock) = (device.codec(None).unwrap(), SourceClock::invented(NOON));
        let mut shell = Shell::new(device.link(), codec, SourceName::from("it"), outlet, clock, stop.clone());
        shell.retry = retry;
        Self { intakes, task: tokio::spawn(shell.run()), stop, samples: Vec::new(), rejects: Vec::new() }
    }

    /// Gathers until `done`, within the deadline; `what` says what is waited for.
    pub(super) async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            let left = self.rejects.len();
            assert!(begun.elapsed() < DEADLINE, "{what}: {} readings, {left} rejects", self.samples.len());
            if let Ok(intake) = timeout(Duration::from_millis(20), self.intakes.recv()).await {
                let intake = intake.expect("the source runs");
                self.rejects.extend(intake.rejects.into_iter().map(|reject| reject.reason));
                self.samples.extend(intake.samples);
            }
        }
    }

    /// Gathers for so long.
    pub(super) async fn linger(&mut self, time: Duration) {
        let begun = Instant::now();
        self.until("time", |_| begun.elapsed() >= time).await;
    }

    /// What was measured of this series, or of all whose names begin as it says before its `*`, as it came.
    pub(super) fn said(&self, series: &str) -> Vec<Said> {
        let of = |sample: &&Sample| {
            let name = sample.series.name.as_str();
            series.strip_suffix('*').map_or(name == series, |beginning| name.starts_with(beginning))
        };
        let said = |sample: &Sample| {
            let value = match &sample.reading.value {
                Value::Number(number) => number.to_string(),
                Value::State(state) => state.to_string(),
                other => format!("{other:?}"),
            };
            ((sample.basis == Basis::Source).then_some(sample.reading.time.0), value)
        };
        self.samples.iter().filter(of).map(said).collect()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        drop(self.intakes);
        timeout(Duration::from_secs(20), self.task).await.expect("an end within 20 s").unwrap();
    }
}
