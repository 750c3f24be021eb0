//! An agent with a folder of its own, which is started and killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proto::{Body, Reading, Value};
use tributary_agent::buffer::Access;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What was accepted: series, time, value.
pub(crate) type Line = (String, i64, String);

/// An agent that does not run yet.
pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    state: u64,
}

impl Rig {
    /// `sources` is what is configured, given the folder.
    pub(crate) fn new(sources: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let buffer = folder.path().join("buffer.db");
        let text = format!("[device]\nid = \"device-7\"\n[buffer]\npath = {buffer:?}\n{}", sources(folder.path()));
        std::fs::write(folder.path().join("agent.toml"), text).unwrap();
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let state = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
        println!("SEED={state} repeats this run");
        Self { folder, state }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Xorshift (Marsaglia, 2003): the moments only have to differ.
    pub(crate) fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// A time below `most`.
    pub(crate) fn moment(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.random() % u64::try_from(most.as_micros()).unwrap().max(1))
    }

    pub(crate) fn command(&self) -> Command {
        let log = std::fs::File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-agent"));
        command.args(["run", "--config"]).arg(self.path("agent.toml")).stdin(Stdio::null()).stderr(log);
        command
    }

    pub(crate) fn start(&self) -> Child {
        self.command().spawn().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap()
    }

    /// Every reading that was accepted, with its series' name, in the order of acceptance.
    pub(crate) fn readings(&self) -> Vec<(String, Reading)> {
        let Ok(access) = Access::open(&self.path("buffer.db")) else { return Vec::new() };
        let mut batches = access.list(100_000).unwrap();
        batches.sort_by_key(|batch| batch.row);
        let bodies = batches.iter().map(|batch| Body::decode(&access.body(batch.row).unwrap()).unwrap());
        let columns = bodies.flat_map(|body| body.columns);
        let named = columns.flat_map(|column| {
            let name = column.series.name.to_string();
            column.readings.into_iter().map(move |reading| (name.clone(), reading))
        });
        named.collect()
    }

    /// The same as lines.
    pub(crate) fn accepted(&self) -> Vec<Line> {
        let value = |value: Value| match value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
            other => panic!("{other:?}"),
        };
        self.readings().into_iter().map(|(name, reading)| (name, reading.time.0, value(reading.value))).collect()
    }
}

/// SIGKILL.
pub(crate) fn end(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// Waits until it is so; whether it came to be within the deadline.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > DEADLINE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
