//! `tributary-gateway doctor`: looks at all that a gateway goes by, and says in a line each what is to be seen to.
//!
//! [`gather`] reads, and each other part judges what was read: facts in, findings out. Nothing is changed, and a gateway
//! may run beside it (but see `ingest/broker/doctor.rs` for brokers that bind client ids to certificates).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::config::{Config, StoreKind};
use crate::now;
use clock::Clocks;

mod access;
mod broker;
mod certificates;
mod clock;
mod database;
mod files;
mod finding;
mod forgotten;
mod gather;
mod lists;
mod samples;
mod settings;
mod trail;

pub use finding::{Finding, Level};

/// The exit code where there is a fault; or a warning, and these count.
const TO_BE_SEEN_TO: u8 = 1;
/// The exit code where there is no such thing, but not all could be looked at.
const NOT_EXAMINED: u8 = 2;

/// How it is asked for.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The configuration file
    #[arg(long, short, default_value = "/etc/tributary/gateway.toml")]
    config: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Exit code 1 for warnings too: what ends in weeks, before it ends in days. Meant for timers
    #[arg(long)]
    warnings: bool,
}

impl Doctor {
    /// Looks, and says what it found. The exit code is 1 where there is a fault, or a warning and those count; else 2 where
    /// something could not be looked at; else 0.
    ///
    /// # Errors
    /// The findings cannot be written.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let findings = match Config::read(&self.config) {
            Ok(config) => examine(&self.config, &config),
            Err(error) => vec![Finding::unknown("settings", &error.into())],
        };
        let mut out = std::io::stdout().lock();
        for finding in &findings {
            let line = if self.json { serde_json::to_string(finding)? } else { finding.to_string() };
            writeln!(out, "{line}").context("write to standard output")?;
        }
        Ok(ExitCode::from(code(&findings, self.warnings)))
    }
}

/// The exit code for `findings`, where warnings count and where they do not.
fn code(findings: &[Finding], warnings_count: bool) -> u8 {
    let has = |level| findings.iter().any(|finding| finding.level == level);
    if has(Level::Fault) || warnings_count && has(Level::Warning) {
        TO_BE_SEEN_TO
    } else if has(Level::Unknown) {
        NOT_EXAMINED
    } else {
        0
    }
}

/// All that is found of a gateway with the settings of this file. Blocks.
#[must_use]
pub fn examine(config_file: &Path, config: &Config) -> Vec<Finding> {
    let (now, mut found) = (now(), Vec::new());
    let own_s = now.0.div_euclid(1_000_000);
    let mut seen = gather::certificates(config, &mut found);
    let lists = gather::lists(config, &mut found);
    let secrets = gather::secrets(config, &mut found);
    let mut clocks = Clocks { own_s, database_s: None, last_arrival_s: None };
    match database::ask(config, now) {
        Ok(known) => {
            seen.extend(known.issued);
            found.extend(known.twice);
            clocks.last_arrival_s = known.last_arrival_us.map(|last| last.div_euclid(1_000_000));
        }
        Err(error) => found.push(Finding::unknown("database", &error)),
    }
    if config.store.kind == StoreKind::Postgres {
        match database::roles(config) {
            Ok((roles, database_s)) => {
                found.extend(roles);
                clocks.database_s = Some(database_s);
            }
            Err(error) => found.push(Finding::unknown("roles", &error)),
        }
    }
    found.extend(certificates::examine(&seen, gather::authority(config), own_s));
    found.extend(lists::examine(&lists, &seen, own_s));
    found.extend(forgotten::examine(config, now).unwrap_or_else(|error| vec![Finding::unknown("revocation", &error)]));
    match files::look(&gather::files(config_file, config)) {
        Ok(met) => found.extend(files::examine(&met, &owners(config))),
        Err(error) => found.push(Finding::unknown("files", &error)),
    }
    found.extend(access::examine(config));
    found.extend(samples::examine(&secrets));
    found.extend(settings::examine(config));
    found.extend(clock::examine(&clocks));
    found.extend(trail::examine(config));
    found.extend(broker::examine(config));
    found
}

/// Whom files may belong to besides root: who asks, and whose the folder of the gateway's state is.
fn owners(config: &Config) -> Vec<u32> {
    let runs_as = gather::runs_as(config).map(|(user, _)| user);
    std::iter::once(rustix::process::geteuid().as_raw()).chain(runs_as).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_counts_for_the_exit_code_where_it_is_asked_to_and_a_fault_always() {
        let (ok, warning) = (Finding::ok("files", ""), Finding::warning("certificates", "", ""));
        let unknown = Finding::unknown("database", &anyhow::anyhow!("away"));
        let fault = Finding::fault("keys", "", "");
        let codes = |findings: &[&Finding]| {
            let findings: Vec<Finding> = findings.iter().copied().cloned().collect();
            (code(&findings, false), code(&findings, true))
        };
        assert_eq!(codes(&[&ok]), (0, 0));
        assert_eq!(codes(&[&ok, &warning]), (0, TO_BE_SEEN_TO));
        assert_eq!(codes(&[&warning, &unknown]), (NOT_EXAMINED, TO_BE_SEEN_TO));
        assert_eq!(codes(&[&ok, &unknown]), (NOT_EXAMINED, NOT_EXAMINED));
        assert_eq!(codes(&[&unknown, &fault, &warning]), (TO_BE_SEEN_TO, TO_BE_SEEN_TO));
    }
}
