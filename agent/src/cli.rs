//! The commands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use proto::{Basis, Body, Value};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::buffer::Access;
use crate::clock::BootClock;
use crate::config::Config;
use crate::identity::IdentityError;
use crate::identity::expired::standing;
use crate::source::SourceClock;
use crate::unusable::Unusable;

mod dry_run;
mod enrol;
mod owner;
mod probe;
mod simulate;
mod trouble;

/// Reads sensors and glucose devices, keeps every reading, and sends it to the gateway.
#[derive(Debug, Parser)]
#[command(name = "tributary-agent", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Lines that a listing shows unless told otherwise.
const LISTED: u32 = 50;

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture and send until stopped
    Run(At),
    /// Ask the gateway for this device's certificate, with a claim. Run by root, it gives what it makes to the owner of the
    /// folder of the buffer, whom the agent runs as
    Enrol(enrol::Enrol),
    /// Check the configuration, open the files it names and compare them; opens no buffer and no connection
    CheckConfig(At),
    /// What is in the buffer, and what the gateway has confirmed
    Status(At),
    /// Look into the buffer
    #[command(subcommand)]
    Buffer(BufferCommand),
    /// Show what the sources yield, storing and sending nothing
    DryRun(dry_run::DryRun),
    /// List serial ports, find out what is at their ends, and print a configuration that reads it
    Probe(probe::Probe),
    /// Print made-up readings as lines, as a device would send them
    Simulate(simulate::Simulate),
}

#[derive(Debug, Subcommand)]
enum BufferCommand {
    /// The newest batches
    List(At),
    /// The readings of one batch, as JSON lines. They may concern a person: mind who looks on
    Show {
        #[command(flatten)]
        at: At,
        /// The batch, as `list` names it
        row: u64,
    },
    /// One batch as sealed bytes, for carrying by hand
    Export {
        #[command(flatten)]
        at: At,
        /// The batch, as `list` names it
        row: u64,
        /// Where to write it; must not exist
        #[arg(long)]
        out: PathBuf,
    },
    /// The newest input that became no reading, and why
    Rejected(At),
}

#[derive(Debug, clap::Args)]
struct At {
    /// The configuration file
    #[arg(long, short, default_value = "/etc/tributary/agent.toml")]
    config: PathBuf,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// With what was being attempted and what to do.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Run(at) => run(&at.config),
            Command::Enrol(enrol) => enrol.run(),
            Command::CheckConfig(at) => check(&at.config),
            Command::Status(at) => status(&at.config),
            Command::Buffer(command) => look(command),
            Command::DryRun(dry_run) => dry_run.run(),
            Command::Probe(probe) => probe.run(),
            Command::Simulate(simulate) => simulate.run(&mut std::io::stdout().lock()),
        }
    }
}

fn run(config: &Path) -> anyhow::Result<()> {
    let (file, config) = (config, Config::read(config)?);
    log(None);
    // One thread serves all sources and the uplink: the agent waits far more than it works.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = cancel_on_signals(&stop)?;
        let result = crate::run(config, stop).await;
        signals.abort();
        result.map_err(|error| set_in(file, error))
    })
}

/// `error`, with the configuration's file where it is about something that is named there.
fn set_in(config: &Path, error: anyhow::Error) -> anyhow::Error {
    let is_set = error.is::<IdentityError>() || error.is::<Unusable>();
    if is_set { error.context(format!("configuration {}", config.display())) } else { error }
}

/// Logs to standard error; `troubles` are told of what sources complain of.
fn log(troubles: Option<trouble::Troubles>) {
    // Levels by target. Filters by span or field would bring regular expressions, a tenth of the whole program.
    let asked = std::env::var("TRIBUTARY_LOG").ok().and_then(|filter| filter.parse().ok());
    let usual = || Targets::new().with_default(Level::INFO).with_target("rumqttc", Level::ERROR);
    let written = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(Level::TRACE);
    written.finish().with(asked.unwrap_or_else(usual)).with(troubles).init();
}

/// Cancels `stop` at SIGTERM and Ctrl-C.
fn cancel_on_signals(stop: &CancellationToken) -> anyhow::Result<JoinHandle<std::io::Result<()>>> {
    let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    Ok(tokio::spawn(cancel_on_signal(terminate, stop.clone())))
}

async fn cancel_on_signal(mut terminate: Signal, stop: CancellationToken) -> std::io::Result<()> {
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    stop.cancel();
    Ok(())
}

fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    let of_uplink = config.uplink().map(|uplink| crate::identity::check::faults(&uplink, &config.device.id));
    let of_uplink = of_uplink.unwrap_or_default().into_iter().map(|fault| format!("{fault:#}"));
    let clock = SourceClock::from(Arc::new(BootClock::start([0; 8])));
    let of_sources = config.sources.iter().filter_map(|source| source.check_files(&clock).err());
    let faults: Vec<String> = of_uplink.chain(of_sources).collect();
    anyhow::ensure!(faults.is_empty(), "configuration {}: {}", path.display(), faults.join("\n  and "));
    let sources = config.sources.len();
    say(format_args!("{}: fine; device {}, {sources} sources", path.display(), config.device.id))
}

fn status(config: &Path) -> anyhow::Result<()> {
    let config = Config::read(config)?;
    let access = Access::open(&config.buffer.path)?;
    let contents = access.contents()?;
    let confirmed: u64 = contents
        .held
        .iter()
        .flat_map(|held| contents.settled.within(held).collect::<Vec<_>>())
        .map(proto::Range::count)
        .sum();
    let held = contents.held.count();
    say(format_args!("device           {}", config.device.id))?;
    if let Some(uplink) = config.uplink() {
        let standing = standing(&uplink.certificate_file, crate::clock::system_wall_clock());
        say(format_args!("certificate      {standing}"))?;
    }
    say(format_args!("batches held     {held}"))?;
    say(format_args!("  confirmed      {confirmed}"))?;
    say(format_args!("  to be sent     {}", held - confirmed))?;
    let mut tallies: Vec<(String, u64)> = access.tallies()?.into_iter().collect();
    tallies.sort();
    tallies.iter().try_for_each(|(name, count)| say(format_args!("{name:<16} {count}")))?;
    let count = |wanted: &str| tallies.iter().find(|(name, _)| name == wanted).map_or(0, |(_, count)| *count);
    match (count("flash bytes written"), count("accepted readings")) {
        (_, 0) => Ok(()),
        (bytes, readings) => say(format_args!("{:<16} {}", "bytes a reading", bytes.div_ceil(readings))),
    }
}

fn look(command: BufferCommand) -> anyhow::Result<()> {
    let open = |at: &At| -> anyhow::Result<Access> { Ok(Access::open(&Config::read(&at.config)?.buffer.path)?) };
    match command {
        BufferCommand::List(at) => {
            say(format_args!("{:>12}  {:8}  {:>8}  {:>8}", "batch", "lane", "readings", "bytes"))?;
            open(&at)?.list(LISTED)?.iter().try_for_each(|batch| {
                say(format_args!("{:>12}  {:8}  {:>8}  {:>8}", batch.row, batch.lane, batch.readings, batch.bytes))
            })
        }
        BufferCommand::Show { at, row } => show(&Body::decode(&open(&at)?.body(row)?)?),
        BufferCommand::Export { at, row, out } => {
            let body = open(&at)?.body(row)?;
            let mut file = std::fs::File::create_new(&out).with_context(|| format!("create {}", out.display()))?;
            file.write_all(&body).with_context(|| format!("write {}", out.display()))
        }
        BufferCommand::Rejected(at) => open(&at)?
            .rejected(LISTED)?
            .iter()
            .try_for_each(|rejected| say(format_args!("{}: {}: {}", rejected.source, rejected.place, rejected.reason))),
    }
}

fn show(body: &Body) -> anyhow::Result<()> {
    for column in &body.columns {
        for reading in &column.readings {
            let value = value_json(&reading.value);
            let basis = if column.basis == Basis::Boot { "boot_us" } else { "unix_us" };
            let (name, unit) = (&column.series.name, &column.series.unit);
            say(format_args!(r#"{{"{basis}":{},"series":"{name}","unit":"{unit}","value":{value}}}"#, reading.time.0))?;
        }
    }
    Ok(())
}

/// A value as JSON.
fn value_json(value: &Value) -> String {
    match value {
        Value::Number(number) => format!("{number}"),
        Value::Bool(on) => format!("{on}"),
        Value::Text(text) => json_text(text),
        Value::Json(json) => json.clone(),
        Value::State(state) => format!("\"{state}\""),
        Value::Absent => "null".to_owned(),
    }
}

/// A text as JSON.
fn json_text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// One line to whoever asked.
fn say(line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("write to standard output")
}
