//! Both doors with TLS, judged by sslyze against the two profiles that Mozilla advises: "modern" where TLS 1.3 alone is set,
//! "intermediate" as the gateway is by itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::pki::Files;
use harness::servers::fetched;
use harness::{Gateway, Pki};

use crate::part::{Found, Plan};

/// For both doors. It takes some five seconds on a quiet machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// What [`fetched`] has of it.
const FOLDER: &str = "sslyze";

/// A profile, and the oldest version of TLS with which the gateway is to fit it.
const PROFILES: [(&str, Option<&str>, &str); 2] =
    [("modern", Some("1.3"), "sslyze_modern"), ("intermediate", None, "sslyze_intermediate")];

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let Some(python) = program() else {
        found.skipped.push("sslyze is not here: run tests/servers/sslyze/fetch".to_owned());
        return Ok(found);
    };
    let pki = Pki::create(&plan.folder.join("pki"));
    let (files, device) = (pki.server(), pki.device("meter-7"));
    let judged = std::thread::scope(|scope| {
        let judge = |(profile, tls_min, _): (&'static str, Option<&'static str>, &str)| {
            let (python, files, device) = (&python, &files, &device);
            let folder = plan.folder.join(profile);
            scope.spawn(move || judge(python, &folder, files, device, profile, tls_min))
        };
        let all: Vec<_> = PROFILES.map(judge).into_iter().collect();
        all.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for ((profile, _, figure), judged) in PROFILES.into_iter().zip(judged) {
        let verdicts = judged.map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        for (door, verdict) in verdicts {
            let fits = verdict.is_empty();
            found.check(fits, || format!("sslyze: {door} does not fit \"{profile}\": {}", verdict.join("; ")));
            found.count(figure, usize::from(fits));
        }
    }
    Ok(found)
}

/// The Python that has it.
fn program() -> Option<PathBuf> {
    let folder = fetched().join(FOLDER);
    (folder.join("bin/python").is_file() && folder.join("made").is_file()).then(|| folder.join("bin/python"))
}

/// What each door of a gateway lacks to fit `profile`.
fn judge(
    python: &Path,
    folder: &Path,
    files: &Files,
    device: &Files,
    profile: &str,
    tls_min: Option<&'static str>,
) -> anyhow::Result<Vec<(&'static str, Vec<String>)>> {
    let mut gateway = Gateway::prepare(folder, files.clone(), "");
    (gateway.http_files, gateway.tls_min) = (Some(files.clone()), tls_min);
    gateway.restart();
    let doors = [("listener", gateway.mqtt_port), ("https", gateway.http_port())];
    let names = doors.map(|(_, port)| format!("localhost:{port}"));
    let mut command = Command::new(python);
    command.args(["-W", "ignore", "-m", "sslyze", "--quiet", "--mozilla_config", profile]);
    command.arg("--certinfo_ca_file").arg(&files.authority);
    // The listener lets nobody renegotiate who has no certificate; that is asked too.
    command.arg("--cert").arg(&device.certificate).arg("--key").arg(&device.key);
    command.args(&names).stdin(Stdio::null());
    let text = words(command, &folder.join("sslyze.txt"))?;
    doors.iter().zip(&names).map(|((door, _), name)| Ok((*door, lacks(&text, name)?))).collect()
}

/// Runs `command` and answers what it wrote to `file`.
fn words(mut command: Command, file: &Path) -> anyhow::Result<String> {
    let output = std::fs::File::create(file)?;
    let mut child = command.stdout(output.try_clone()?).stderr(output).spawn().context("run sslyze")?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("sslyze takes longer than {DEADLINE:?}: {}", std::fs::read_to_string(file)?);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::read_to_string(file).context("read what sslyze wrote")
}

/// The rules that `name` breaks, as `text` says.
///
/// # Errors
/// When it says nothing of it: that is no pass.
fn lacks(text: &str, name: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with(&format!("{name}: ")));
    let verdict = lines.next().with_context(|| format!("sslyze says nothing of {name}: {text}"))?;
    if verdict.ends_with("OK - Compliant.") {
        return Ok(Vec::new());
    }
    let rules: Vec<String> = lines.map_while(|line| Some(line.strip_prefix("* ")?.to_owned())).collect();
    anyhow::ensure!(verdict.contains("FAILED") && !rules.is_empty(), "sslyze could not judge {name}: {text}");
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sslyze_says_of_each_door_is_read_and_silence_is_no_pass() {
        let text = "\n    localhost:1: OK - Compliant.\n\n    localhost:12: FAILED - Not compliant.\n        * a: b\n        * c: d\n";
        assert_eq!(lacks(text, "localhost:1").unwrap(), Vec::<String>::new());
        assert_eq!(lacks(text, "localhost:12").unwrap(), ["a: b", "c: d"]);
        assert!(lacks(text, "localhost:2").is_err());
        assert!(lacks("localhost:1: ERROR - Scan did not run successfully", "localhost:1").is_err());
    }
}
