//! Attacks on the real gateway, in tables: certificates, rights, malformed packets, revocations, both doors with TLS. Each
//! case differs from a good one in one property, its exact answer is asserted, and meanwhile another device's readings
//! go on. And what a device's identity must survive: rotations under load, and cuts at each step.
//!
//! `tributary-security` runs all parts in full, `--short` a commit's worth; `--only A,B` just those. It writes
//! `target/security.json`, and fails when an answer was not the one that is due, or when something could not be run here:
//! `--allow-skips` passes over that on a person's machine, and not where `CI` is `true`.

#![allow(clippy::print_stdout, reason = "a command that answers a person")]

use std::path::PathBuf;
use std::process::ExitCode;

use harness::trial::{self, Words};

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
    trial::judged(run)
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
            other => {
                anyhow::bail!("{other}: not known; --short, --allow-skips, --seed N, --only A,B, --report FILE are")
            }
        }
    }
    let wanted = trial::wanted(ALL, &only, "part")?;
    let seed = trial::seed(seed);
    let mut report = Report::new(seed, short, may_skip(allows_skips, std::env::var("CI").ok().as_deref()));
    for (name, part) in wanted {
        let folder = tempfile::tempdir()?;
        let began = std::time::Instant::now();
        let found = part(&Plan { seed, short, folder: folder.path().into() });
        let found = found.map_err(|error| error.context(format!("part {name}")))?;
        report.add(name, &found, began.elapsed());
    }
    report.write(&path)?;
    Ok(report.is_clean())
}

/// Whether what cannot be run here may be left out: where a person says so, and never in CI, which has all of it.
fn may_skip(is_allowed: bool, ci: Option<&str>) -> bool {
    is_allowed && ci != Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_in_ci_whatever_is_said() {
        assert!(may_skip(true, None) && may_skip(true, Some("false")));
        assert!(!may_skip(true, Some("true")));
        assert!(!may_skip(false, None) && !may_skip(false, Some("true")));
    }
}
