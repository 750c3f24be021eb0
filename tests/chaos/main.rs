//! The rigs that prove that nothing is lost and nothing doubled: each breaks the system in its own way, many times, and
//! lets the judge hold the database against what was offered.
//!
//! `tributary-chaos` runs them all in full, `--short` a commit's worth, `--long` a night's; `--only A,B` just those. It
//! writes `target/chaos.json`, and fails when a rig found something.

#![allow(clippy::print_stdout, reason = "a command that answers a person")]

use std::path::PathBuf;
use std::process::ExitCode;

mod report;
mod rig;
mod rigs;

use crate::report::Report;
use crate::rig::{Plan, Size};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Answers whether every rig came out clean.
fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<bool> {
    let (mut size, mut seed, mut only, mut report) = (Size::Full, None, Vec::new(), PathBuf::from("target/chaos.json"));
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} wants a value"));
        match argument.as_str() {
            "--short" => size = Size::Short,
            "--long" => size = Size::Long,
            "--seed" => seed = Some(value()?.parse()?),
            "--only" => only = value()?.split(',').map(str::to_owned).collect(),
            "--report" => report = value()?.into(),
            other => anyhow::bail!("{other}: not known; --short, --long, --seed N, --only A,B, --report FILE are"),
        }
    }
    let known = rigs::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        anyhow::bail!("{unknown}: no such rig; there are {}", known.join(", "));
    }
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={seed}: --seed {seed} repeats this run");
    let mut sum = Report::new(seed, size);
    for (name, rig) in rigs::ALL.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name))
    {
        let folder = tempfile::tempdir()?;
        let began = std::time::Instant::now();
        let found = rig(&Plan { seed, size, folder: folder.path().into() });
        let found = found.map_err(|error| error.context(format!("rig {name}")))?;
        sum.add(name, &found, began.elapsed());
    }
    sum.write(&report)?;
    Ok(sum.is_clean())
}
