//! `make bench`: the numbers that the design states, each measured beside what it is compared with, in one run.
//!
//! Prints a table, writes `target/bench.json`, and fails when a stated limit is broken. On a noisy machine the ratios
//! count; an absolute time is a hint.

#![allow(clippy::print_stdout, reason = "it answers a person")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use harness::trial::{self, Words};

use crate::table::Table;

mod batching;
mod buffer;
mod codec;
mod data;
mod drain;
mod drain_aws;
mod flash;
mod footprint;
mod handshakes;
mod latency;
mod load;
mod most;
mod pipeline;
mod proc;
mod query;
mod queued;
mod rivals;
mod rounds;
mod sessions;
mod shipped;
mod sources;
mod stores;
mod table;
mod whole_path;
mod wire;

/// How a group of measures is taken.
type Measurer = fn(&Bench, &mut Table) -> anyhow::Result<()>;

/// Every group: the names of its measures, and how they are taken.
const GROUPS: &[(&[&str], Measurer)] = &[
    (&["wire_cgm_288", "wire_power_100"], wire::measure),
    (&["codec_cgm", "codec_power"], codec::measure),
    (&["agent_accept"], buffer::measure),
    (&["flash_bytes", "flash_day", "flash_fsyncs"], flash::measure),
    (&["gateway_sqlite", "stored_sqlite"], pipeline::sqlite::measure),
    (&["gateway_postgres", "stored_postgres"], pipeline::postgres::plain),
    (&["gateway_timescale", "stored_timescale"], pipeline::postgres::timescale),
    (&["gateway_start", "gateway_rss", "agent_rss_idle", "agent_binary"], footprint::measure),
    (&["agent_cpu_20", "agent_rss_20"], sources::measure),
    (&["year_query_sqlite", "year_query_postgres", "year_query_timescale"], query::measure),
    (&["whole_path_sqlite", "whole_path_postgres", "whole_path_timescale"], whole_path::measure),
    (&["single_messages", "batching_10", "batching_100", "batching_1000"], batching::measure),
    (&["receipt_p50", "receipt_p99"], latency::measure),
    (&["handshakes", "session_kib_1000", "sessions_back_1000", "session_kib", "sessions_back"], sessions::measure),
    (&["sessions_most"], most::measure),
    (&["backlog_drain", "agent_rss_drain"], drain::measure),
    (&["backlog_drain_aws"], drain_aws::measure),
    (&["agent_rss_backlog", "first_publish"], queued::measure),
];

const USAGE: &str = "\
tributary-bench [--only NAME] [--quick]
Takes the measures that are stated, beside what each is compared with, and fails where a limit is broken.
  --only NAME   only the measures whose name starts with NAME; writes no file
  --quick       one round on less data, to see that everything works; writes target/bench-quick.json";

/// How to measure, and where.
pub(crate) struct Bench {
    /// Fewer repetitions on less data.
    pub(crate) quick: bool,
    /// Start of the names of what is wanted; empty: all.
    only: String,
    /// A folder of this run, on the disk that the build is on: a tmpfs would make every fsync free.
    pub(crate) folder: PathBuf,
}

impl Bench {
    /// How often a comparison is repeated.
    #[must_use]
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }

    /// `full` things, or a tenth of them.
    #[must_use]
    pub(crate) fn size(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }

    /// Whether this measure was asked for, or a group that it is of.
    #[must_use]
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.starts_with(&self.only) || self.only.starts_with(name)
    }

    /// A path in the folder of this run that nothing lies at, nor beside.
    ///
    /// # Errors
    /// When what lay there cannot be removed.
    pub(crate) fn fresh(&self, name: &str) -> std::io::Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

struct Options {
    only: Option<String>,
    quick: bool,
}

fn main() -> ExitCode {
    trial::judged(USAGE, |words| {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.first().map(String::as_str) {
            Some(flash::CHILD) => flash::child(&arguments[1..]).map(|()| true),
            _ => run(&options(words)?),
        }
    })
}

fn options(mut words: Words) -> anyhow::Result<Options> {
    let mut options = Options { only: None, quick: false };
    while let Some(word) = words.next_word() {
        match word.as_str() {
            "--quick" => options.quick = true,
            "--only" => options.only = Some(words.value(&word)?),
            other => return Err(trial::unknown(other)),
        }
    }
    Ok(options)
}

/// Takes every measure that is wanted. Answers whether all limits were kept.
fn run(options: &Options) -> anyhow::Result<bool> {
    let own = std::env::current_exe().context("find the path of this program")?;
    let target = own.ancestors().nth(2).context("find the build's folder")?.to_path_buf();
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&target).context("make a folder")?;
    let only = options.only.clone().unwrap_or_default();
    let bench = Bench { quick: options.quick, only, folder: folder.path().into() };
    let groups: Vec<_> = GROUPS.iter().filter(|(names, _)| names.iter().any(|name| bench.wants(name))).collect();
    if groups.is_empty() {
        let names: Vec<&str> = GROUPS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        anyhow::bail!("`{}` names no measure; there are {}", bench.only, names.join(", "));
    }
    println!("{}\n", machine());
    let mut table = Table::begin(!cfg!(debug_assertions));
    for (names, measure) in groups {
        match catch_unwind(AssertUnwindSafe(|| measure(&bench, &mut table))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => table.failed(names[0], &format!("{error:#}")),
            Err(_) => table.failed(names[0], "it panicked; see above"),
        }
    }
    if options.only.is_none() {
        table.write(&target.join(if options.quick { "bench-quick.json" } else { "bench.json" }))?;
    }
    Ok(table.end())
}

/// What the figures were taken on. Others at work on the machine show as load: with it, no absolute time counts.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{processors} processors, load average {load} before, SQLite {}", rusqlite::version())
}
