use std::time::{Duration, Instant};

use proto::Value;

use super::*;
use crate::source::testing::{NOON, Running};
use crate::source::{Configured, Intake, Settings as Any, SourceClock};

fn exec(command: &[&str], more: &str) -> Configured {
    crate::source::testing::configured(&format!(
        "name = \"p\"\ntype = \"exec\"\ncommand = {command:?}\nformat = \"key_value\"\nrestart_s = 1\n{more}\n\
         series = [{{ column = \"v\", name = \"v\" }}]"
    ))
}

fn start(source: &Configured) -> Running {
    Running::start(source, None, &SourceClock::invented(NOON), 16)
}

fn numbers(intake: &Intake) -> Vec<f64> {
    let number = |value: &Value| if let Value::Number(number) = value { Some(*number) } else { None };
    intake.samples.iter().filter_map(|sample| number(&sample.reading.value)).collect()
}

/// A process that is there and not merely waiting to be reaped.
fn runs(process: f64) -> bool {
    let about = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    about.rsplit_once(')').is_some_and(|(_, state)| !state.trim_start().starts_with('Z'))
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(serde::Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let sample: Sample = toml::from_str(include_str!("sample.toml")).unwrap();
    sample.source[0].validate().unwrap();
    let Any::Exec(full) = &sample.source[0].settings else { unreachable!() };
    let Any::Exec(bare) = exec(&["/bin/true"], "").settings else { unreachable!() };
    let defaults = Settings {
        command: full.command.clone(),
        environment: full.environment.clone(),
        restart_s: restart_s(),
        silence_s: 60,
        separator: Some(' '),
        series: full.series.clone(),
        ..bare
    };
    assert_eq!(&defaults, full);
}

#[test]
fn settings_that_cannot_be_are_named() {
    for (command, more, field) in [
        ("[]", "", "command"),
        ("[\"meter\"]", "", "command"),
        ("[\"/bin/true\"]", "folder = \"here\"", "folder"),
        ("[\"/bin/true\"]", "restart_s = 0", "restart_s"),
        ("[\"/bin/true\"]", "environment = { \"A=B\" = \"1\" }", "environment"),
        ("[\"/bin/true\"]", "line_bytes_max = 1", "line_bytes_max"),
    ] {
        let series = "series = [{ column = \"v\", name = \"v\" }]";
        let text = format!("name = \"p\"\ntype = \"exec\"\ncommand = {command}\nformat = \"json\"\n{more}\n{series}");
        let source: Configured = toml::from_str(&text).unwrap();
        assert_eq!(source.validate().unwrap_err().field, format!("source.p.{field}"));
    }
}

#[tokio::test]
async fn a_program_has_the_environment_that_is_set_and_is_run_again_when_it_ends() {
    let mut running = start(&exec(&["/usr/bin/env"], "environment = { v = \"7\" }"));
    for round in 0..2 {
        let intake = running.next().await;
        assert_eq!((numbers(&intake), intake.rejects.len()), (vec![7.0], 0), "round {round}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_stop_kills_the_program_and_what_it_has_started() {
    let script = "sleep 600 & echo v=$!; echo v=$$; wait";
    let mut running = start(&exec(&["/bin/sh", "-c", script], ""));
    let mut processes = Vec::new();
    while processes.len() < 2 {
        processes.extend(numbers(&running.next().await));
    }
    assert!(processes.iter().all(|process| runs(*process)));
    running.stop().await;
    let began = Instant::now();
    while processes.iter().any(|process| runs(*process)) {
        assert!(began.elapsed() < Duration::from_secs(10), "{processes:?} still run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_program_that_falls_silent_is_killed_and_run_again() {
    let mut running = start(&exec(&["/bin/sh", "-c", "echo v=$$; exec sleep 600"], "silence_s = 1"));
    let first = numbers(&running.next().await);
    let second = numbers(&running.next().await);
    assert_ne!(first, second);
    assert!(!runs(first[0]));
    running.stop().await;
}

#[tokio::test]
async fn what_is_written_to_standard_error_holds_nothing_up() {
    let script = "head -c 1000000 /dev/zero >&2; echo v=1; sleep 600";
    let mut running = start(&exec(&["/bin/sh", "-c", script], "environment = { PATH = \"/usr/bin:/bin\" }"));
    assert_eq!(numbers(&running.next().await), [1.0]);
    running.stop().await;
}

#[tokio::test]
async fn a_program_that_prints_rubbish_without_end_fills_nothing() {
    let mut running = start(&exec(&["/usr/bin/yes", "rubbish"], ""));
    let (began, mut rejects) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(1_500) {
        if let Ok(intake) = tokio::time::timeout(Duration::from_millis(100), running.intakes.recv()).await {
            rejects += intake.unwrap().rejects.len();
        }
    }
    assert!((1..=40).contains(&rejects), "{rejects}");
    running.stop().await;
}
