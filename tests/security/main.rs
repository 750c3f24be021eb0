//! Attacks on the real gateway, in tables: certificates, rights, malformed packets, revocations, both doors with TLS. Each
//! case differs from a good one in one property, its exact answer is asserted, and meanwhile another device's readings
//! go on. And what a device's identity must survive: rotations under load, and cuts at each step.
//!
//! `tributary-security` runs all parts in full, `--short` a commit's worth; `--only A,B` just those. It writes
//! `target/security.json`, and fails when an answer was not the one that is due.

#![allow(clippy::print_stdout, reason = "a command that answers a person")]

use std::path::PathBuf;
use std::process::ExitCode;

mod advisor;
mod certificates;
mod cuts;
mod https;
mod openings;
mod packets;
mod part;
mod report;
mod revocations;
mod rights;
mod rotations;
mod site;
mod sslyze;
mod wire;

use crate::part::{Part, Plan};
use crate::report::Report;

/// Each by its name, quick and telling first.
const ALL: &[(&str, Part)] = &[
    ("openings", openings::run),
    ("rights", rights::run),
    ("packets", packets::run),
    ("revocations", revocations::run),
    ("rotations", rotations::run),
    ("cuts", cuts::run),
    ("certificates", certificates::run),
    ("https", https::run),
    ("sslyze", sslyze::run),
    ("advisor", advisor::run),
];

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

/// Answers whether every answer was the one that is due.
fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<bool> {
    let (mut short, mut seed, mut only, mut path) = (false, None, Vec::new(), PathBuf::from("target/security.json"));
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} wants a value"));
        match argument.as_str() {
            "--short" => short = true,
            "--seed" => seed = Some(value()?.parse()?),
            "--only" => only = value()?.split(',').map(str::to_owned).collect(),
            "--report" => path = value()?.into(),
            other => anyhow::bail!("{other}: not known; --short, --seed N, --only A,B, --report FILE are"),
        }
    }
    let known = ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        anyhow::bail!("{unknown}: no such part; there are {}", known.join(", "));
    }
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={seed}: --seed {seed} repeats this run");
    let mut report = Report::new(seed, short);
    for (name, part) in ALL.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name)) {
        let folder = tempfile::tempdir()?;
        let began = std::time::Instant::now();
        let found = part(&Plan { seed, short, folder: folder.path().into() });
        let found = found.map_err(|error| error.context(format!("part {name}")))?;
        report.add(name, &found, began.elapsed());
    }
    report.write(&path)?;
    Ok(report.is_clean())
}
