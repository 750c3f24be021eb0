//! Attacks on the real gateway, in tables: certificates, rights, malformed packets, revocations, both doors with TLS. Each
//! case differs from a good one in one property, its exact answer is asserted, and meanwhile another device's readings
//! go on. And what a device's identity must survive: rotations under load, and cuts at each step.
//!
//! `tributary-security` runs all parts in full, one after the other; `--short` a commit's worth of them, side by side where
//! they do not disturb each other's times; `--only A,B` just those. It writes
//! `target/security.json`, and fails when an answer was not the one that is due, or when something could not be run here:
//! `--allow-skips` passes over that on a person's machine, and not where `CI` is `true`.

#![allow(clippy::print_stdout, reason = "a command that answers a person")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use harness::trial::{self, Words};

mod advisor;
mod certificates;
mod cuts;
mod https;
mod lanes;
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

use crate::part::{Found, Part, Plan};
use crate::report::Report;

/// Each by its name, quick and telling first.
const ALL: &[(&str, Part)] = &[
    ("openings", openings::run),
    ("rights", rights::run),
    ("packets", packets::run),
    ("rotations", rotations::run),
    ("sslyze", sslyze::run),
    ("cuts", cuts::run),
    ("https", https::run),
    ("revocations", revocations::run),
    ("certificates", certificates::run),
];

/// Whose clocks run so fast that a moment's work of others would be seconds to them: alone.
const ALONE: &[(&str, Part)] = &[("advisor", advisor::run)];

/// Parts at once of a commit's worth. Half of their time, and more, they wait: for a deadline, or for files to be read again.
const AT_ONCE: usize = 3;

const USAGE: &str = "\
tributary-security [--short] [--allow-skips] [--only A,B] [--seed N] [--report FILE]
Attacks the real gateway, and fails where an answer is not the one that is due.
  --short        a commit's worth of each part
  --allow-skips  what cannot be run here is no failure, save where CI is true
  --only A,B     these parts: an unknown one has them listed
  --seed N       repeats the run that printed it
  --report FILE  where figures go: target/security.json";

fn main() -> ExitCode {
    trial::judged(USAGE, run)
}

/// Answers whether every answer was the one that is due.
fn run(mut words: Words) -> anyhow::Result<bool> {
    let (mut short, mut seed, mut only, mut path) = (false, None, Vec::new(), PathBuf::from("target/security.json"));
    let mut allows_skips = false;
    while let Some(word) = words.next_word() {
        match word.as_str() {
            "--short" => short = true,
            "--allow-skips" => allows_skips = true,
            "--seed" => seed = Some(words.value(&word)?),
            "--only" => only = words.names(&word)?,
            "--report" => path = words.value(&word)?,
            other => return Err(trial::unknown(other)),
        }
    }
    let all = ALL.iter().chain(ALONE).copied().collect::<Vec<_>>();
    let wanted = trial::wanted(&all, &only, "part")?.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let seed = trial::seed(seed);
    let mut report = Report::new(seed, short, allows_skips && !trial::must_be_whole());
    let began = Instant::now();
    try_all(&mut report, seed, short, |name| wanted.contains(&name))?;
    report.took(began.elapsed());
    report.write(&path)?;
    Ok(report.is_clean())
}

/// Runs those parts that are wanted.
fn try_all(report: &mut Report, seed: u64, short: bool, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    for (parts, at_once) in [(ALL, if short { AT_ONCE } else { 1 }), (ALONE, 1)] {
        let (parts, mut failed): (Vec<_>, _) = (parts.iter().filter(|(name, _)| is_wanted(name)).collect(), None);
        let work = |place: usize| of_part(parts[place].1, seed, short);
        lanes::run(parts.len(), at_once, work, |place, (found, took)| match (parts[place].0, found) {
            (name, Ok(found)) => report.add(name, &found, took),
            (name, Err(error)) => failed = failed.take().or(Some(error.context(format!("part {name}")))),
        });
        failed.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// What a part finds, in a folder of its own, and how long that took.
fn of_part(part: Part, seed: u64, short: bool) -> (anyhow::Result<Found>, Duration) {
    let began = Instant::now();
    let found = tempfile::tempdir()
        .context("make a folder")
        .and_then(|folder| part(&Plan { seed, short, folder: folder.path().into() }));
    (found, began.elapsed())
}
