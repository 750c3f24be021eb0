//! `backup` and `restore`: a copy of the SQLite database beside a gateway that runs, and one put back where none runs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;

use super::At;
use crate::audit;
use crate::audit::entry::{Actor, Detail, Entry, Event};
use crate::config::{Config, StoreKind};
use crate::now;
use crate::store::sqlite::copy::{self, Copied, PutBack};

/// Names for checkpoints that are kept aside, at most.
const ASIDE_MAX: u32 = 100;

#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    at: At,
    /// The file to write; there must be none of that name
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    at: At,
    /// A file that `backup` has written
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    patience: Patience,
}

#[derive(Debug, Args)]
struct Patience {
    /// Minutes that copying and checking may take
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
}

impl Patience {
    fn until(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.minutes * 60)
    }
}

impl Backup {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let config = of_sqlite(&self.at, "pg_dump")?;
        let to = self.to.display().to_string();
        note(&config, Event::BackedUp, Detail::none().text("file", &to))?;
        let copied = copy::back_up(&config.store.path, &self.to, self.patience.until());
        let copied = copied.with_context(|| format!("copy {} to {to}", config.store.path.display()))?;
        say(out, format_args!("wrote {to}: {}", told(&copied)))
    }
}

impl Restore {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let config = of_sqlite(&self.at, "pg_restore")?;
        let (from, to) = (self.from.display().to_string(), config.store.path.display());
        let put_back = copy::put_back(&self.from, &config.store.path, self.patience.until());
        let PutBack { copied, aside } = put_back.with_context(|| format!("put {from} back as {to}"))?;
        say(out, format_args!("{to} is now {from}: {}", told(&copied)))?;
        if let Some(aside) = aside {
            say(out, format_args!("what was there is kept as {}: remove it when nobody needs it", aside.display()))?;
        }
        if let Some(kept) = keep_checkpoints(&config.audit_checkpoints())? {
            let kept = kept.display();
            say(out, format_args!("the audit trail's checkpoints are of what was there, and are kept as {kept}"))?;
        }
        note(&config, Event::Restored, Detail::none().text("file", &from)).context("note that it was put back")?;
        say(out, format_args!("start the gateway: agents send again what it lacks; then see `doctor` for revocations"))
    }
}

fn of_sqlite(at: &At, other: &str) -> anyhow::Result<Config> {
    let config = Config::read(&at.config)?;
    anyhow::ensure!(
        config.store.kind == StoreKind::Sqlite,
        "`store.kind` is \"postgres\": a server is copied and put back by its own tools, such as {other} (docs/restore.md)"
    );
    Ok(config)
}

/// The checkpoints have seen entries that the copy lacks: they get another name, and the gateway begins new ones.
fn keep_checkpoints(file: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !file.exists() {
        return Ok(None);
    }
    let named = |number: u32| PathBuf::from(format!("{}.replaced-{number}", file.display()));
    let kept = (1..=ASIDE_MAX).map(named).find(|name| !name.exists());
    let kept = kept.with_context(|| format!("{} files beside {} are of former ones", ASIDE_MAX, file.display()))?;
    std::fs::rename(file, &kept).with_context(|| format!("keep {} as {}", file.display(), kept.display()))?;
    Ok(Some(kept))
}

fn told(copied: &Copied) -> String {
    let Copied { bytes, newest_us } = copied;
    let newest = newest_us.and_then(|time| Timestamp::from_microsecond(time).ok());
    let newest = newest.map_or_else(|| "nothing had arrived".to_owned(), |time| format!("newest arrival {time:.0}"));
    format!("{bytes} bytes, whole; {newest}")
}

fn note(config: &Config, event: Event, detail: Detail) -> anyhow::Result<()> {
    let entry = Entry { time: now(), actor: Actor::Operator, event, subject: None, detail };
    audit::append(audit::open(config)?.as_mut(), entry)?;
    Ok(())
}

fn say(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(out, "{line}").context("write to standard output")
}
