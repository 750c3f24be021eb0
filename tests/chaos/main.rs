//! The rigs that prove that nothing is lost and nothing doubled: each breaks the system in its own way, many times, and
//! lets the judge hold the database against what was offered.
//!
//! `tributary-chaos` runs them all in full, `--short` a commit's worth, `--long` a night's; `--only A,B` just those. It
//! writes `target/chaos.json`, and fails when a rig found something.

#![allow(clippy::print_stdout, reason = "a command that answers a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use harness::trial::{self, Words};

mod report;
mod rig;
mod rigs;

use crate::report::Report;
use crate::rig::{Plan, Size};

const USAGE: &str = "\
tributary-chaos [--short | --long] [--only A,B] [--seed N] [--report FILE]
Breaks the system in many ways, and fails where a reading is lost or doubled.
  --short        a commit's worth of each rig; --long a night's
  --only A,B     these rigs: tests/README.md says what each proves; an unknown one has them listed
  --seed N       repeats the run that printed it
  --report FILE  where figures go: target/chaos.json";

fn main() -> ExitCode {
    trial::judged(USAGE, run)
}

/// Answers whether every rig came out clean.
fn run(mut words: Words) -> anyhow::Result<bool> {
    let (mut size, mut seed, mut only, mut report) = (Size::Full, None, Vec::new(), PathBuf::from("target/chaos.json"));
    while let Some(word) = words.next_word() {
        match word.as_str() {
            "--short" => size = Size::Short,
            "--long" => size = Size::Long,
            "--seed" => seed = Some(words.value(&word)?),
            "--only" => only = words.names(&word)?,
            "--report" => report = words.value(&word)?,
            other => return Err(trial::unknown(other)),
        }
    }
    let wanted = trial::wanted(rigs::ALL, &only, "rig")?;
    let seed = trial::seed(seed);
    let mut sum = Report::new(seed, size, trial::must_be_whole());
    for (name, rig) in wanted {
        let folder = tempfile::tempdir()?;
        let began = std::time::Instant::now();
        let found = rig(&Plan { seed, size, folder: folder.path().into() });
        let found = found.map_err(|error| error.context(format!("rig {name}")))?;
        sum.add(name, &found, began.elapsed());
    }
    sum.write(&report)?;
    Ok(sum.is_clean())
}
