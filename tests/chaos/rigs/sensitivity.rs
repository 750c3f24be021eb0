//! Whether the rigs can see at all: each of eight bugs is switched on in turn, and the ordinary rigs, in their short
//! form and in processes of their own, must find something. They do not know which bug is on, nor that one is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::rig::{Fault, Found, Plan};

/// Every bug that a program of ours can be built with, see `seeded.rs` of agent and gateway.
const BUGS: [&str; 8] = [
    "synchronous-off",
    "synchronous-normal",
    "receipt-first",
    "free-on-puback",
    "no-redrive",
    "number-outside",
    "time-in-identity",
    "cursor-first",
];
/// What switches one on.
const SWITCH: &str = "TRIBUTARY_SEEDED_BUG";
/// Bugs that are looked for at once.
const AT_ONCE: usize = 2;
/// A bug may make a rig hang; that is no catch, so the rig is ended.
const RIG_DEADLINE: Duration = Duration::from_secs(120);

/// Switches each bug on, and counts those that some rig catches.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    if !cfg!(feature = "seeded-bugs") {
        found.skip("seeded_bugs_caught", "this build has no bugs to switch on: build with --features seeded-bugs");
        return Ok(found);
    }
    let (queue, results) = (Mutex::new(BUGS.to_vec()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(bug) = queue.lock().ok().and_then(|mut queue| queue.pop()) {
                    let caught = first_to_catch(bug, plan);
                    if let Ok(mut results) = results.lock() {
                        results.push((bug, caught));
                    }
                }
            });
        }
    });
    for (bug, caught) in results.into_inner().unwrap_or_default() {
        match caught? {
            Some(rig) => {
                println!("    {bug}: caught by {rig}");
                found.did("seeded_bugs_caught", 1);
            }
            None => found.fault(Fault::BugMissed, 1, || format!("{bug}: no rig noticed it")),
        }
    }
    Ok(found)
}

/// The first of the other rigs that finds something while `bug` is on.
fn first_to_catch(bug: &str, plan: &Plan) -> anyhow::Result<Option<&'static str>> {
    let others = super::ALL.iter().map(|(name, _)| *name).filter(|name| !["sensitivity", "machine"].contains(name));
    for rig in others {
        let report = plan.folder.join(format!("{bug}-{rig}.json"));
        if finds_something(bug, rig, plan.seed, &report)? {
            return Ok(Some(rig));
        }
    }
    Ok(None)
}

fn finds_something(bug: &str, rig: &str, seed: u64, report: &Path) -> anyhow::Result<bool> {
    let own = std::env::current_exe().context("a running program has a path")?;
    let mut command = Command::new(own);
    command.args(["--short", "--only", rig, "--seed", &seed.to_string(), "--report"]).arg(report);
    // Where CI=true, what a rig could not try is wrong too: that is no catch.
    command.env(SWITCH, bug).env_remove("CI").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().context("start a rig")?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            // Only a finding counts: a rig that could not do its work ends with 2.
            return Ok(status.code() == Some(1));
        }
        if begun.elapsed() > RIG_DEADLINE {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
