//! `make demo`: everything at once on this machine, with real readings, until Ctrl-C. `--check` does the same without
//! a person, and holds the database against the input; `--with COMMAND …` runs a command against it, which finds the
//! dashboard's address in `TRIBUTARY_URL`.

#![allow(clippy::print_stdout, reason = "it answers a person")]

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::stage::{CGM, Findings, METER, Stage};
use harness::trial::{self, Words};
use harness::wait_for;

/// The last day is replayed in under ten minutes: a reading every two seconds.
const SPEED: i64 = 150;
/// What a new user is promised, some thirty times what it takes.
const FIRST_READING_WITHIN: Duration = Duration::from_secs(5);
const BACKLOG_WITHIN: Duration = Duration::from_secs(20);
/// Live data that a check waits for, once the backlog is in.
const LIVE_FOR: Duration = Duration::from_secs(10);

const USAGE: &str = "\
tributary-demo [--check | --with COMMAND ARGUMENTS]
Everything at once on this machine, with real readings, until Ctrl-C.
  --check         without a person: holds the database against the input, and fails where they differ
  --with COMMAND  runs that against it, with the dashboard's address in TRIBUTARY_URL";

fn main() -> ExitCode {
    trial::judged(USAGE, run)
}

/// Answers whether all is well.
fn run(mut words: Words) -> anyhow::Result<bool> {
    let arguments: Vec<String> = std::iter::from_fn(|| words.next_word()).collect();
    let act: Act = match arguments.split_first() {
        None => Box::new(|stage, _| show(stage)),
        Some((option, [])) if option == "--check" => Box::new(run_check),
        Some((option, [program, rest @ ..])) if option == "--with" => {
            let (program, rest) = (program.clone(), rest.to_vec());
            Box::new(move |stage, _| run_with(stage, &program, &rest))
        }
        Some((other, _)) => return Err(trial::unknown(other)),
    };
    let folder = tempfile::Builder::new().prefix("tributary-demo-").tempdir().context("make a temporary folder")?;
    let began = Instant::now();
    let mut stage = Stage::set(folder.path(), SPEED);
    println!("dashboard   {}", stage.gateway.http);
    println!("subject     {}/#/subject/person-1", stage.gateway.http);
    println!("folder      {} (gone at the end)", folder.path().display());
    let ok = act(&mut stage, began);
    drop(stage);
    drop(folder);
    Ok(ok)
}

/// What to do with the stage, and when it was set; answers whether all is well.
type Act = Box<dyn FnOnce(&mut Stage, Instant) -> bool>;

/// Runs a command once the backlog is in.
fn run_with(stage: &mut Stage, program: &str, arguments: &[String]) -> bool {
    wait_for("the whole backlog", Duration::from_secs(120), || stage.has_backlog().then_some(()));
    wait_for("the meter", Duration::from_secs(30), || (stage.readings(METER) >= 10).then_some(()));
    let status = Command::new(program).args(arguments).env("TRIBUTARY_URL", &stage.gateway.http).status();
    status.is_ok_and(|status| status.success())
}

/// Watches over the processes until Ctrl-C; whoever is killed is started again.
fn show(stage: &mut Stage) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
    let id = |process: &Option<harness::process::Process>| process.as_ref().map_or(0, harness::process::Process::id);
    let (gateway, cgm, meter) = (id(&stage.gateway.process), id(&stage.cgm.process), id(&stage.meter.process));
    println!("processes   gateway {gateway}, agents {cgm} and {meter}: kill any of them, it is started again");
    println!("Ctrl-C ends all.");
    runtime.block_on(async {
        let mut every = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return,
                _ = every.tick() => revive(stage),
            }
        }
    });
    true
}

fn revive(stage: &mut Stage) {
    let gone = |process: &mut Option<harness::process::Process>| {
        process.as_mut().is_none_or(|process| process.ended().is_some())
    };
    if gone(&mut stage.gateway.process) {
        stage.gateway.restart();
        println!("the gateway was gone and is back");
    }
    for agent in [&mut stage.cgm, &mut stage.meter] {
        if gone(&mut agent.process) {
            agent.start();
            println!("the agent {} was gone and is back", agent.device);
        }
    }
}

/// Waits for the backlog and some live data, then joins the database with the input.
fn run_check(stage: &mut Stage, began: Instant) -> bool {
    wait_for("a first reading on the dashboard", Duration::from_secs(30), || (stage.readings(CGM) > 0).then_some(()));
    let first = began.elapsed();
    let soon = Duration::from_secs(120);
    wait_for("the whole backlog", soon, || stage.has_backlog().then_some(()));
    let all = began.elapsed();
    println!(
        "first reading on the dashboard after {:.2} s, whole backlog after {:.2} s",
        first.as_secs_f64(),
        all.as_secs_f64()
    );

    let in_time = first <= FIRST_READING_WITHIN && all <= BACKLOG_WITHIN;
    if !in_time {
        println!("too slow: {FIRST_READING_WITHIN:?} and {BACKLOG_WITHIN:?} are what we promise");
    }

    std::thread::sleep(LIVE_FOR); // the one wait for a time: ten seconds of live data are what was asked for
    stage.stop_meter();
    stage.cgm.stop(); // seals and stores what was taken in; the next start would send the rest
    let sent = stage.meter_sent() as u64;
    wait_for("the meter's last readings", soon, || (stage.readings(METER) >= sent).then_some(()));
    stage.meter.stop();
    report(&stage.judge()) && in_time
}

fn report(findings: &Findings) -> bool {
    let Findings { backlog, replay, meter } = findings;
    let whole = backlog.matched + backlog.lost;
    println!("{} of {whole} backlog readings committed, {} doubled", backlog.matched, backlog.doubled);
    println!("live glucose: {} committed, {} lost, {} doubled", replay.matched, replay.lost, replay.doubled);
    println!("live meter:   {} committed, {} lost, {} doubled", meter.matched, meter.lost, meter.doubled);
    let enough = replay.matched > 0 && meter.matched > 0;
    for (name, verdict) in [("backlog", backlog), ("live glucose", replay), ("live meter", meter)] {
        if !verdict.is_clean() {
            println!("{name} is not right: {verdict}");
        }
    }
    enough && [backlog, replay, meter].iter().all(|verdict| verdict.is_clean())
}
