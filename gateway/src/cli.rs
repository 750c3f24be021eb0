//! The commands.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::Addresses;
use crate::config::{Config, StoreKind};
use crate::doctor::Doctor;
use crate::store::postgres;

mod copies;
mod devices;
mod health;

/// Takes readings from devices, commits them, says so, and serves dashboards.
#[derive(Debug, Parser)]
#[command(name = "tributary-gateway", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until stopped
    Run(At),
    /// Bring the schema of the PostgreSQL server that the configuration names to what this program needs
    Migrate(At),
    /// Check the configuration and the files that it names, as the user that this is; opens no store and no port
    CheckConfig(At),
    /// Who may be a device: claims, requests, certificates
    #[command(subcommand)]
    Devices(devices::Devices),
    /// Ask the gateway that runs here whether it is well, and say so in a line; exit code 1 where it is not
    Health(health::Health),
    /// Look at certificates, keys, files, roles, clocks and the broker, and say in a line each what is to be seen to;
    /// exit code 1 for a fault, and with --warnings for a warning too; else 2 where something could not be looked at
    Doctor(Doctor),
    /// Copy the SQLite database to a file while the gateway runs; PostgreSQL has tools of its own
    Backup(copies::Backup),
    /// Put such a copy back where no gateway runs; what was there is kept beside it
    Restore(copies::Restore),
    /// What is kept of who let whom do what, and who was kept from what
    #[command(subcommand)]
    Audit(crate::audit::command::Command),
}

#[derive(Debug, clap::Args)]
pub(crate) struct At {
    /// The configuration file
    #[arg(long, short, default_value = "/etc/tributary/gateway.toml")]
    pub(crate) config: PathBuf,
}

impl Cli {
    /// Does what was asked for. The exit code is of a command that has more to say than whether it worked.
    ///
    /// # Errors
    /// With what was being attempted and what to do.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(at) => run(&at.config)?,
            Command::Migrate(at) => migrate(&at.config)?,
            Command::CheckConfig(at) => check(&at.config)?,
            Command::Devices(command) => command.run(&mut std::io::stdout().lock())?,
            Command::Health(health) => return health.run(),
            Command::Doctor(doctor) => return doctor.run(),
            Command::Backup(backup) => backup.run(&mut std::io::stdout().lock())?,
            Command::Restore(restore) => restore.run(&mut std::io::stdout().lock())?,
            Command::Audit(command) => command.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn run(config: &Path) -> anyhow::Result<()> {
    let (file, config) = (config, Config::read(config)?);
    let filter = EnvFilter::try_from_env("TRIBUTARY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = tokio::spawn(cancel_on_signal(stop.clone()));
        let result = crate::run(config, stop, announce).await;
        signals.abort();
        result.with_context(|| format!("run with configuration {}", file.display()))
    })
}

/// Says where the gateway is, for people and for programs that chose port 0.
fn announce(addresses: Addresses) {
    let mut out = std::io::stdout().lock();
    // Nobody may be listening any more; the log says the same.
    let Addresses { mqtt, http, is_secure } = addresses;
    let scheme = if is_secure { "https" } else { "http" };
    let _ = writeln!(out, "mqtts://{mqtt}\n{scheme}://{http}").and_then(|()| out.flush());
}

async fn cancel_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    stop.cancel();
    Ok(())
}

fn migrate(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    anyhow::ensure!(
        config.store.kind == StoreKind::Postgres,
        "`store.kind` is not \"postgres\", and SQLite's schema is brought up to date when the gateway starts"
    );
    let (from, to) = postgres::migrate(&config.store.postgres.migrate()?).context("migrate the schema")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "schema {from} is now {to}").context("write to standard output")
}

fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    crate::check::files(&config).with_context(|| format!("configuration {}", path.display()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: fine", path.display()).context("write to standard output")
}
