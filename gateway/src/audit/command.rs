//! `tributary-gateway audit …`: checking the trail, and looking at it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;
use jiff::Timestamp;
use proto::DeviceId;
use serde_json::Value;

use super::chain::Link;
use super::verify::{VerifyError, Whole, verify};
use crate::cli::At;
use crate::config::Config;
use crate::store::audit::{Ask, Found};

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check that no entry was changed, removed, moved or cut off; exit code 1 and the first one that was, otherwise
    Verify {
        #[command(flatten)]
        at: At,
        /// Another file of checkpoints to compare with, as of another gateway; may be given more than once
        #[arg(long, value_name = "FILE")]
        checkpoints: Vec<PathBuf>,
    },
    /// Show entries, the last ones unless told otherwise
    List {
        #[command(flatten)]
        at: At,
        /// Only those about this device
        #[arg(long, value_name = "ID")]
        device: Option<DeviceId>,
        /// The first ones behind this entry
        #[arg(long, value_name = "SEQ")]
        after: Option<i64>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// Does what was asked for.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let text = match self {
            Self::Verify { at, checkpoints } => check(&Config::read(&at.config)?, checkpoints)?,
            Self::List { at, device, after, limit, json } => {
                let ask = Ask { after, subject: device, entries_max: limit };
                let found = super::open(&Config::read(&at.config)?)?.page(&ask).context("read the audit trail")?;
                found.iter().map(if json { as_json } else { as_line }).collect()
            }
        };
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).context("write to standard output")
    }
}

fn check(config: &Config, more: Vec<PathBuf>) -> anyhow::Result<String> {
    let own = config.audit_checkpoints();
    anyhow::ensure!(
        own.exists(),
        "{} is missing, which each gateway makes when it starts: without checkpoints nobody can tell whether entries were \
         cut off. It is where the gateway runs; `audit.checkpoint_file` names it",
        own.display()
    );
    let files = [vec![own], more].concat();
    let Whole { entries, trimmed, span_us, head, checkpoints } = match verify(&mut *super::open(config)?, &files) {
        Err(VerifyError::Fault(fault)) => {
            return Err(fault).context("the audit trail is not as it was written");
        }
        other => other?,
    };
    let span = span_us.map(|(first, last)| format!(" from {} to {}", time(first), time(last))).unwrap_or_default();
    let before =
        if trimmed == 0 { String::new() } else { format!("{trimmed} before them went by the rule for growth\n") };
    Ok(format!(
        "{entries} entries{span}, chain whole, head {} {}\n{before}checkpoints that agree: {checkpoints}\n",
        head.sequence, head.hash
    ))
}

/// The instant as people read it.
fn time(time_us: i64) -> String {
    Timestamp::from_microsecond(time_us).map_or_else(|_| format!("{time_us} µs"), |time| format!("{time:.6}"))
}

fn as_line(found: &Found) -> String {
    match found {
        Found::Link(Link { sequence, time_us, actor, event, subject, detail, .. }) => {
            let subject = subject.as_deref().unwrap_or("-");
            let line = format!("{sequence}  {}  {actor}  {event}  {subject}  {detail}", time(*time_us));
            format!("{}\n", plain(&line))
        }
        Found::Unreadable { sequence } => format!("{sequence}  was edited: no gateway has written this\n"),
    }
}

fn as_json(found: &Found) -> String {
    let object = match found {
        Found::Link(link) => {
            let as_it_stands = |_| Value::from(link.detail.clone());
            let detail: Value = serde_json::from_str(&link.detail).unwrap_or_else(as_it_stands);
            serde_json::json!({
                "sequence": link.sequence,
                "time_us": link.time_us,
                "time": time(link.time_us),
                "actor": link.actor,
                "event": link.event,
                "subject": link.subject,
                "detail": detail,
                "previous": link.previous.to_string(),
                "hash": link.hash.to_string(),
            })
        }
        Found::Unreadable { sequence } => serde_json::json!({ "sequence": sequence, "unreadable": true }),
    };
    format!("{}\n", plain(&object.to_string()))
}

/// What a terminal would act on, or show in another order than it stands, as JSON escapes. Devices choose topics.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            // Writing to a string does not fail.
            let _ = write!(plain, "\\u{:04x}", u32::from(character));
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_device_chose_reaches_a_terminal_as_a_command() {
        assert_eq!(plain("a\u{1b}[2Jb\u{9b}c\u{202e}d\r\né"), "a\\u001b[2Jb\\u009bc\\u202ed\\u000d\\u000aé");
    }

    #[test]
    fn any_instant_has_a_text() {
        assert_eq!(time(1_772_323_200_000_001), "2026-03-01T00:00:00.000001Z");
        assert_eq!(time(i64::MAX), "9223372036854775807 µs");
    }
}
