//! `dry-run`: what the sources yield, on standard output, stored nowhere and sent nowhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use proto::{Basis, Change};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::trouble::Troubles;
use super::{cancel_on_signals, json_text, log, say, value_json};
use crate::clock::BootClock;
use crate::config::Config;
use crate::source::{Configured, Ended, Intake, Outlet, Reject, Sample, SourceClock, SourceError, run};

/// Intakes that wait to be shown.
const INTAKES_MAX: usize = 4;
/// How long all sources together may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of a rejected input that are shown.
const SHOWN_BYTES: usize = 80;

/// What to run, and for how long.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Values are shown, because you asked: mind who looks on. Every source begins from its beginning, and nothing is kept of how \
far it came, so the agent takes all of it in later. A port that the agent has open cannot be read: stop the agent first. \
Ends with 1 where a source had trouble or yielded nothing; the last lines say which.")]
pub(super) struct DryRun {
    /// The configuration file
    #[arg(long, short, default_value = "/etc/tributary/agent.toml")]
    config: PathBuf,
    /// Only the source of this name
    #[arg(long)]
    source: Option<String>,
    /// Ends by itself after so many seconds; Ctrl-C ends it sooner
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// A JSON object a line
    #[arg(long)]
    json: bool,
}

/// What came of one source.
#[derive(Debug, Default)]
struct Sum {
    source: String,
    readings: u64,
    rejects: u64,
    /// How it ended before it was told to: well, or why not.
    ended: Option<Result<(), String>>,
}

type Tasks = Vec<JoinHandle<Result<Ended, SourceError>>>;

impl DryRun {
    /// Runs the sources and shows what they yield.
    ///
    /// # Errors
    /// When the configuration cannot be read, or a source had trouble or yielded nothing.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let sources = self.sources()?;
        let troubles = Troubles::default();
        log(Some(troubles.clone()));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let sums = runtime.block_on(self.watch(sources))?;
        // What a source still does in a thread of its own is not waited for.
        runtime.shutdown_background();
        let failed = self.sum_up(&sums, &troubles)?;
        anyhow::ensure!(failed.is_empty(), "trouble, or nothing, came of {}", failed.join(", "));
        Ok(())
    }

    fn sources(&self) -> anyhow::Result<Vec<Configured>> {
        let mut sources = Config::read(&self.config)?.sources;
        anyhow::ensure!(!sources.is_empty(), "{} has no [[source]]", self.config.display());
        if let Some(wanted) = &self.source {
            let names = sources.iter().map(|source| source.name.clone()).collect::<Vec<_>>().join(", ");
            sources.retain(|source| source.name == *wanted);
            anyhow::ensure!(!sources.is_empty(), "there is no source `{wanted}`; there is {names}");
        }
        Ok(sources)
    }

    /// Shows everything that comes until the time is over, all have ended, or a signal comes.
    async fn watch(&self, sources: Vec<Configured>) -> anyhow::Result<Vec<Sum>> {
        let (stop, clock) = (CancellationToken::new(), SourceClock::from(Arc::new(BootClock::start([0; 8]))));
        let signals = cancel_on_signals(&stop)?;
        let until = Instant::now() + Duration::from_secs(self.seconds);
        let sum = |source: &Configured| Sum { source: source.name.clone(), ..Sum::default() };
        let mut sums: Vec<Sum> = sources.iter().map(sum).collect();
        let (outlet, mut intakes) = Outlet::new(INTAKES_MAX);
        let start = |source: Configured| {
            // Without a cursor it begins from its beginning.
            tokio::spawn(run(source, None, outlet.clone(), clock.clone(), stop.clone()))
        };
        // In the order of the sums.
        let mut tasks: Tasks = sources.into_iter().map(start).collect();
        drop(outlet);
        loop {
            tokio::select! {
                intake = intakes.recv() => {
                    let Some(intake) = intake else { break };
                    self.show(&intake, &clock)?;
                    if let Some(sum) = sums.iter_mut().find(|sum| *sum.source == *intake.source) {
                        sum.readings += intake.samples.len() as u64;
                        sum.rejects += intake.rejects.len() as u64;
                    }
                }
                () = sleep_until(until) => break,
                () = stop.cancelled() => break,
            }
        }
        drop(intakes);
        for (task, sum) in tasks.iter_mut().zip(&mut sums) {
            if task.is_finished() {
                let ended = match task.await {
                    Ok(ended) => ended.map(|_| ()).map_err(|error| error.to_string()),
                    Err(error) => Err(format!("it broke: {error}; please report this")),
                };
                sum.ended = Some(ended);
            }
        }
        stop.cancel();
        signals.abort();
        let deadline = Instant::now() + GRACE;
        for (task, _) in tasks.iter_mut().zip(&sums).filter(|(_, sum)| sum.ended.is_none()) {
            if timeout(deadline.saturating_duration_since(Instant::now()), &mut *task).await.is_err() {
                task.abort();
            }
        }
        Ok(sums)
    }

    fn show(&self, intake: &Intake, clock: &SourceClock) -> anyhow::Result<()> {
        let source = &intake.source;
        for sample in &intake.samples {
            if self.json {
                say(format_args!("{}", sample_json(source, sample, clock)))?;
                continue;
            }
            let Sample { series, reading, .. } = sample;
            let unit = if series.unit.to_string() == "1" { String::new() } else { format!(" {}", series.unit) };
            let correction = match &reading.origin {
                Some(origin) if origin.change != Change::Add => {
                    format!("  {} {}", change_word(origin.change), origin.id)
                }
                _ => String::new(),
            };
            let (time, value) = (time_of(sample, clock), value_json(&reading.value));
            let value = value.trim_matches('"');
            say(format_args!("{time}  {source}  {}  {value}{unit}{correction}", series.name))?;
        }
        for Reject { place, reason, bytes } in &intake.rejects {
            let bytes = bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii();
            if self.json {
                let [place, reason, bytes] = [place, reason, &bytes.to_string()].map(|text| json_text(text));
                let source = json_text(source);
                say(format_args!(r#"{{"source":{source},"rejected":{place},"reason":{reason},"bytes":{bytes}}}"#))?;
            } else {
                say(format_args!("rejected  {source}  {place}: {reason}: {bytes}"))?;
            }
        }
        Ok(())
    }

    /// A line a source at the end; those that had trouble or yielded nothing.
    fn sum_up(&self, sums: &[Sum], troubles: &Troubles) -> anyhow::Result<Vec<String>> {
        let mut failed = Vec::new();
        for Sum { source: name, readings, rejects, ended } in sums {
            let (mut count, mut last) = troubles.of(name);
            if let Some(Err(error)) = ended {
                (count, last) = (count + 1, error.clone());
            }
            if count > 0 || *readings == 0 {
                failed.push(name.clone());
            }
            if self.json {
                let (name, last) = (json_text(name), json_text(&last));
                let counts = format!(r#""readings":{readings},"rejects":{rejects},"errors":{count}"#);
                say(format_args!(r#"{{"source":{name},{counts},"last_error":{last}}}"#))?;
                continue;
            }
            let ended = if matches!(ended, Some(Ok(()))) { ", all that there is" } else { "" };
            let last = if count > 0 { format!("; the last: {last}") } else { String::new() };
            say(format_args!("{name}: {readings} readings{ended}, {rejects} rejects, {count} errors{last}"))?;
        }
        Ok(failed)
    }
}

/// When it was, in UTC; since boot where this machine does not know the time.
fn time_of(sample: &Sample, clock: &SourceClock) -> String {
    let micros = sample.reading.time.0;
    let wall = match (sample.basis, clock.wall()) {
        (Basis::Source, _) => Some(micros),
        (Basis::Boot, Some(now)) => Some(now.0.saturating_sub(clock.boot().0).saturating_add(micros)),
        (Basis::Boot, None) => None,
    };
    // The clocks are read one after the other: finer than a millisecond it would jitter.
    let wall = wall.and_then(|micros| Timestamp::from_millisecond(micros.div_euclid(1_000)).ok());
    wall.map_or_else(|| format!("boot+{micros}us"), |time| format!("{time:.3}"))
}

fn change_word(change: Change) -> &'static str {
    match change {
        Change::Add => "adds",
        Change::Replace => "replaces",
        Change::Retract => "retracts",
    }
}

fn sample_json(source: &str, sample: &Sample, clock: &SourceClock) -> String {
    let Sample { series, reading, .. } = sample;
    let (name, unit, kind) = (&series.name, &series.unit, series.kind.word());
    let (time, value) = (time_of(sample, clock), value_json(&reading.value));
    let (source, unit) = (json_text(source), json_text(unit.as_str()));
    let origin = reading
        .origin
        .as_ref()
        .map_or_else(String::new, |origin| format!(r#","{}":{}"#, change_word(origin.change), json_text(&origin.id)));
    format!(
        r#"{{"time":"{time}","source":{source},"series":"{name}","unit":{unit},"kind":"{kind}","value":{value}{origin}}}"#
    )
}
