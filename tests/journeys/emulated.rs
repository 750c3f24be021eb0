//! The agent for ARM, run by QEMU, against this machine's gateway: `make test-cross`.

use std::path::PathBuf;

use harness::emulated::{Target, acknowledged, kills, names};
use harness::servers::or_skip;

/// Kills that count, of each kind of machine. `make cross` has more.
const KILLS: u64 = 8;

/// An agent for `target`, and what runs it; none where that is not on this machine.
fn found(target: Target, folder: &tempfile::TempDir) -> Option<(PathBuf, PathBuf)> {
    let agent = or_skip(target.for_tests())?;
    let program = or_skip(target.emulated(&agent, folder.path(), None))?;
    Some((agent, program))
}

fn survives_kills(target: Target) {
    let folder = tempfile::tempdir().unwrap();
    let Some((_, program)) = found(target, &folder) else { return };
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={seed} repeats this run");
    let outcome = kills::run(folder.path(), &program, seed, KILLS).unwrap();
    println!("{outcome:?}");
    assert!(outcome.ruling.is_clean(), "{}", outcome.ruling);
    assert!(outcome.ruling.matched > 0 && outcome.agents > 0, "{outcome:?}");
}

#[test]
#[ignore = "`make test-cross` builds the agents that it runs, which takes some ten minutes"]
fn a_64_bit_arm_agent_takes_its_certificate_and_loses_and_doubles_nothing_when_it_is_killed() {
    survives_kills(Target::ARM64);
}

#[test]
#[ignore = "`make test-cross` builds the agents that it runs, which takes some ten minutes"]
fn a_32_bit_arm_agent_takes_its_certificate_and_loses_and_doubles_nothing_when_it_is_killed() {
    survives_kills(Target::ARMHF);
}

fn frees_nothing_without_a_receipt(target: Target) {
    let folder = tempfile::tempdir().unwrap();
    let Some((_, program)) = found(target, &folder) else { return };
    let run = |name: &str, bug| acknowledged::run(&folder.path().join(name), &program, bug).unwrap();
    let verdict = run("sound", None);
    assert!(verdict.is_clean() && verdict.matched > 0, "{verdict}");
    // The same journey sees an agent that does.
    let verdict = run("bug", Some("free-on-puback"));
    assert!(verdict.lost > 0, "{verdict}");
}

#[test]
#[ignore = "`make test-cross` builds the agents that it runs, which takes some ten minutes"]
fn a_64_bit_arm_agent_frees_nothing_without_a_receipt_and_one_that_does_is_caught() {
    frees_nothing_without_a_receipt(Target::ARM64);
}

#[test]
#[ignore = "`make test-cross` builds the agents that it runs, which takes some ten minutes"]
fn a_32_bit_arm_agent_frees_nothing_without_a_receipt_and_one_that_does_is_caught() {
    frees_nothing_without_a_receipt(Target::ARMHF);
}

fn finds_names(target: Target) {
    let folder = tempfile::tempdir().unwrap();
    let Some((agent, _)) = found(target, &folder) else { return };
    assert!(target.is_static(), "its C library is its own");
    if let Some(asked) = or_skip(names::run(folder.path(), target, &agent)) {
        assert!(asked > 0, "the name server was asked for nothing");
    }
}

#[test]
#[ignore = "`make test-cross` builds the agents that it runs, which takes some ten minutes"]
fn a_static_agent_for_64_bit_arm_finds_its_gateway_by_the_hosts_file_and_by_a_name_server() {
    finds_names(Target::ARM64);
}

#[test]
#[ignore = "`make test-cross` builds the agents that it runs, which takes some ten minutes"]
fn a_static_agent_for_32_bit_arm_finds_its_gateway_by_the_hosts_file_and_by_a_name_server() {
    finds_names(Target::ARMHF);
}
