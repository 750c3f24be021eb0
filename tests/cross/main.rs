//! The agent for other machines, as `cross/build` made it: run by QEMU, killed, and its power cut; and the table of it.
//!
//! `tributary-cross` looks at every target that was built, `--only A,B` at those; `--kills N`, `--cuts N` and `--seed N` set
//! what is done to each. It writes `target/cross/table.md`, and fails when something was lost, doubled or is too large.

#![allow(clippy::print_stdout, reason = "a command that answers a person")]

use std::process::ExitCode;

use harness::emulated::{self, Target};

mod row;
mod trials;

use crate::row::Row;

/// What is done to each target.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// SIGKILLs that count, of an agent under QEMU or of its gateway.
    pub(crate) kills: u64,
    /// Power cuts of a virtual machine.
    pub(crate) cuts: u64,
    /// Where all that is random comes from.
    pub(crate) seed: u64,
}

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

/// Answers whether every target came out clean.
fn run(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<bool> {
    let mut plan = Plan { kills: 20, cuts: 10, seed: u64::from(std::process::id()) * 7_919 + 1 };
    let mut only: Vec<String> = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} wants a value"));
        match argument.as_str() {
            "--kills" => plan.kills = value()?.parse()?,
            "--cuts" => plan.cuts = value()?.parse()?,
            "--seed" => plan.seed = value()?.parse()?,
            "--only" => only = value()?.split(',').map(str::to_owned).collect(),
            other => anyhow::bail!("{other}: not known; --only A,B, --kills N, --cuts N, --seed N are"),
        }
    }
    let targets: Vec<Target> =
        Target::ALL.into_iter().filter(|each| only.is_empty() || only.iter().any(|name| name == each.name)).collect();
    anyhow::ensure!(!targets.is_empty(), "no such target");
    println!("SEED={}: --seed {} repeats this run", plan.seed, plan.seed);
    let mut rows = Vec::new();
    for target in targets {
        let row = trials::run(target, &plan);
        println!("{row}");
        rows.push(row);
    }
    let table = row::table(&rows);
    std::fs::create_dir_all(emulated::built())?;
    std::fs::write(emulated::built().join("table.md"), &table)?;
    println!("\n{table}");
    Ok(rows.iter().all(Row::is_clean))
}
