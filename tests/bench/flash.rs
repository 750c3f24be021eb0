//! What the buffer costs the flash it lies on: bytes written and fsyncs, checkpoints and marks of receipts included.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use proto::{Body, Range, Ranges};

use crate::Bench;
use crate::buffer::{append_of, open, proof};
use crate::data::{HOUSEHOLD_SERIES, Household, START_US};
use crate::proc;
use crate::rounds::float;
use crate::table::{Limit, Measure, Table};

/// The first argument of a child that only appends, for strace to look at.
pub(crate) const CHILD: &str = "--append-only";
/// The batches that the design speaks of.
const BATCH_BYTES: usize = 16 * 1024;
/// Commits of a day at a linger of 1 s.
const COMMITS_A_DAY: f64 = 86_400.0;
/// The design's bound on a small commit, with everything it causes later.
const COMMIT_BYTES_MAX: f64 = 20.0 * 1024.0;

/// Takes the measures of this group.
///
/// # Errors
/// When something cannot be written.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let household = Household::new();
    large_batches(bench, &household, table)?;
    a_day(bench, &household, table)?;
    fsyncs(bench, table)
}

fn large_batches(bench: &Bench, household: &Household, table: &mut Table) -> anyhow::Result<()> {
    let seconds = seconds_of(household, BATCH_BYTES)?;
    let commits = bench.size(1_000);
    let bodies = (0..commits).map(|place| household.body(START_US, place * seconds, seconds));
    let folder = bench.fresh("flash")?;
    let cost = written_for(&folder, bodies)?;
    let mean = cost.payload / commits as u64;
    let measure = Measure::new("flash_bytes", ratio(cost.bytes, cost.payload), "written/payload")
        .limit(Limit::AtMost(3.0))
        .note(format!("{commits} commits of one batch of {mean} bytes; {}", cost.words()))
        .note(proof(&folder.join("buffer.db"), commits)?);
    table.add(&measure);
    Ok(())
}

fn a_day(bench: &Bench, household: &Household, table: &mut Table) -> anyhow::Result<()> {
    let commits = bench.size(10_000);
    let bodies = (0..commits).map(|second| household.body(START_US, second, 1));
    let folder = bench.fresh("flash")?;
    let cost = written_for(&folder, bodies)?;
    let proof = proof(&folder.join("buffer.db"), commits)?;
    let each = ratio(cost.bytes, commits as u64);
    let per_commit = Measure::new("flash_day.commit", each, "B/commit")
        .against("payload", ratio(cost.payload, commits as u64))
        .limit(Limit::AtMost(COMMIT_BYTES_MAX))
        .note(format!("{commits} commits of {HOUSEHOLD_SERIES} readings; {}", cost.words()))
        .note(&proof);
    table.add(&per_commit);
    let mib = 1024.0 * 1024.0;
    let day = Measure::new("flash_day", each * COMMITS_A_DAY / mib, "MiB/day")
        .against("payload", ratio(cost.payload, commits as u64) * COMMITS_A_DAY / mib)
        .note(format!("{HOUSEHOLD_SERIES} series at 1 Hz with 1 s linger: a commit a second"))
        .note(proof);
    table.add(&day);
    Ok(())
}

/// How many seconds of the household fill `bytes`, at most.
fn seconds_of(household: &Household, bytes: usize) -> anyhow::Result<usize> {
    let size = |seconds| anyhow::Ok(household.body(START_US, 0, seconds).encode()?.len());
    let per_second = float(size(1_100)? - size(100)?) / 1_000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred seconds")]
    let mut seconds = ((float(bytes) / per_second) as usize).max(2);
    while size(seconds)? > bytes {
        seconds -= (seconds / 100).max(1);
    }
    Ok(seconds)
}

/// What appending cost.
struct Cost {
    payload: u64,
    /// What counts: bytes to the disk, or where the kernel counts none, bytes handed to it.
    bytes: u64,
    handed: u64,
    to_disk: u64,
}

impl Cost {
    fn words(&self) -> String {
        let Self { payload, handed, to_disk, .. } = self;
        let which = if *to_disk > 0 { "the first counts" } else { "no disk here that counts, so the second counts" };
        format!("payload {payload} B; write_bytes {to_disk}, wchar {handed} of /proc/self/io: {which}")
    }
}

/// Appends `bodies` one by one, each marked as settled once it is stored, as in a steady state with a gateway. The
/// last checkpoint, when the file is closed, is counted too.
fn written_for(folder: &Path, bodies: impl Iterator<Item = Body>) -> anyhow::Result<Cost> {
    let mut buffer = open(&folder.join("buffer.db"))?;
    let before = proc::written()?;
    let mut payload = 0;
    for body in bodies {
        let append = append_of(&body)?;
        payload += append.batches.iter().map(|batch| batch.sealed.body.len() as u64).sum::<u64>();
        let rows: Option<Range> = buffer.append(&append)?.rows;
        buffer.mark(&rows.into_iter().collect::<Ranges>());
    }
    drop(buffer);
    let after = proc::written()?;
    let (handed, to_disk) = (after.handed - before.handed, after.to_disk - before.to_disk);
    Ok(Cost { payload, bytes: if to_disk > 0 { to_disk } else { handed }, handed, to_disk })
}

fn ratio(left: u64, right: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let ratio = left as f64 / right.max(1) as f64;
    ratio
}

/// fsyncs a commit, from two counts of one program: what opening and closing cost falls out.
fn fsyncs(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let (few, many) = (200, 200 + bench.size(4_000));
    let counted = counted_by_strace(bench, few).and_then(|few| Ok((few, counted_by_strace(bench, many)?)));
    let (at_few, at_many) = match counted {
        Ok(counts) => counts,
        Err(reason) => {
            table.skip("flash_fsyncs", &format!("{reason:#}"));
            return Ok(());
        }
    };
    let each = ratio(at_many - at_few, (many - few) as u64);
    let proof = proof(&bench.folder.join("fsyncs/buffer.db"), many)?;
    let measure = Measure::new("flash_fsyncs", each, "fsyncs/commit")
        .limit(Limit::AtMost(1.1))
        .note(format!("strace: {at_few} fsyncs in {few} commits, {at_many} in {many}, each marked as settled"))
        .note(proof);
    table.add(&measure);
    Ok(())
}

fn counted_by_strace(bench: &Bench, commits: usize) -> anyhow::Result<u64> {
    let folder = bench.fresh("fsyncs")?;
    let summary = folder.join("summary");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-e", "trace=fsync,fdatasync", "-o"]).arg(&summary);
    command.arg(std::env::current_exe()?).arg(CHILD).arg(folder.join("buffer.db")).arg(commits.to_string());
    let output = command.output().context("strace is not installed")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "strace cannot watch a program here: {}", said.trim());
    let text = std::fs::read_to_string(&summary).context("strace wrote no summary")?;
    // `% time, seconds, usecs/call, calls, errors (may be empty), syscall`
    let calls = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_sync = matches!(fields.last(), Some(&"fsync" | &"fdatasync"));
        if is_sync { fields.get(3)?.parse::<u64>().ok() } else { None }
    };
    let counted: u64 = text.lines().filter_map(calls).sum();
    anyhow::ensure!(counted > 0, "strace saw no fsync");
    Ok(counted)
}

/// The child: appends so many batches of one second, and marks each.
///
/// # Errors
/// When arguments or buffer are not what they should be.
pub(crate) fn child(arguments: &[String]) -> anyhow::Result<()> {
    let [path, commits] = arguments else { anyhow::bail!("{CHILD} wants a path and a number of commits") };
    let mut buffer = open(Path::new(path))?;
    let household = Household::new();
    for second in 0..commits.parse::<usize>()? {
        let rows = buffer.append(&append_of(&household.body(START_US, second, 1))?)?.rows;
        buffer.mark(&rows.into_iter().collect::<Ranges>());
    }
    Ok(())
}
