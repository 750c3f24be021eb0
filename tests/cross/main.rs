//! The agent for other machines, as `cross/build` made it: run by QEMU, killed, and its power cut; and the table of it.
//!
//! `tributary-cross` looks at every target that was built, `--only A,B` at those; `--kills N`, `--cuts N` and `--seed N` set
//! what is done to each. It writes `target/cross/table.md`, and fails when something was lost, doubled or is too large.

#![allow(clippy::print_stdout, reason = "a command that answers a person")]

use std::process::ExitCode;

use harness::emulated::{self, Target};
use harness::trial::{self, Words};

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

const USAGE: &str = "\
tributary-cross [--only A,B] [--kills N] [--cuts N] [--seed N]
Runs the agents that cross/build made, kills them and cuts their power; writes target/cross/table.md.
  --only A,B  these targets: an unknown one has them listed
  --kills N   SIGKILLs that count, for each
  --cuts N    power cuts of a virtual machine, for each
  --seed N    repeats the run that printed it";

fn main() -> ExitCode {
    trial::judged(USAGE, run)
}

/// Answers whether every target came out clean.
fn run(mut words: Words) -> anyhow::Result<bool> {
    let (mut kills, mut cuts, mut seed, mut only) = (20, 10, None, Vec::new());
    while let Some(word) = words.next_word() {
        match word.as_str() {
            "--kills" => kills = words.value(&word)?,
            "--cuts" => cuts = words.value(&word)?,
            "--seed" => seed = Some(words.value(&word)?),
            "--only" => only = words.names(&word)?,
            other => return Err(trial::unknown(other)),
        }
    }
    let all = Target::ALL.map(|target| (target.name, target));
    let targets = trial::wanted(&all, &only, "target")?;
    let plan = Plan { kills, cuts, seed: trial::seed(seed) };
    let mut rows = Vec::new();
    for (_, target) in targets {
        let row = trials::run(*target, &plan);
        println!("{row}");
        rows.push(row);
    }
    let table = row::table(&rows);
    std::fs::create_dir_all(emulated::built())?;
    std::fs::write(emulated::built().join("table.md"), &table)?;
    println!("\n{table}");
    Ok(rows.iter().all(Row::is_clean))
}
