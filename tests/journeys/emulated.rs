//! The agent for ARM, run by QEMU, against this machine's gateway. `make cross` does more, with what is shipped.

use std::path::PathBuf;

use harness::emulated::{Target, acknowledged, kills};
use harness::servers::or_skip;

/// Kills that count, of each kind of machine. `make cross` has more.
const KILLS: u64 = 8;

/// What runs an agent for `target`; none where that is not on this machine.
fn found(target: Target, folder: &tempfile::TempDir) -> Option<PathBuf> {
    let agent = or_skip(target.for_tests())?;
    or_skip(target.emulated(&agent, folder.path(), None))
}

fn survives_kills(target: Target) {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = found(target, &folder) else { return };
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={seed} repeats this run");
    let outcome = kills::run(folder.path(), &program, seed, KILLS).unwrap();
    println!("{outcome:?}");
    assert!(outcome.ruling.is_clean(), "{}", outcome.ruling);
    assert!(outcome.ruling.matched > 0 && outcome.agents > 0, "{outcome:?}");
}

#[test]
fn a_64_bit_arm_agent_takes_its_certificate_and_loses_and_doubles_nothing_when_it_is_killed() {
    survives_kills(Target::ARM64);
}

#[test]
fn a_32_bit_arm_agent_takes_its_certificate_and_loses_and_doubles_nothing_when_it_is_killed() {
    survives_kills(Target::ARMHF);
}

fn frees_nothing_without_a_receipt(target: Target) {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = found(target, &folder) else { return };
    let run = |name: &str, bug| acknowledged::run(&folder.path().join(name), &program, bug).unwrap();
    let verdict = run("sound", None);
    assert!(verdict.is_clean() && verdict.matched > 0, "{verdict}");
    // The same journey sees an agent that does.
    let verdict = run("bug", Some("free-on-puback"));
    assert!(verdict.lost > 0, "{verdict}");
}

#[test]
fn a_64_bit_arm_agent_frees_nothing_without_a_receipt_and_one_that_does_is_caught() {
    frees_nothing_without_a_receipt(Target::ARM64);
}

#[test]
fn a_32_bit_arm_agent_frees_nothing_without_a_receipt_and_one_that_does_is_caught() {
    frees_nothing_without_a_receipt(Target::ARMHF);
}
