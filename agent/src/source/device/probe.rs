//! Finds out what is at the end of a wire, and which configuration would read it.
//!
//! Nothing here knows a protocol: what is tried are the codecs themselves, as they would read the device. A codec that
//! writes nothing when its port is opened only listens. All of those are run at once over what comes by itself, and one
//! that makes readings of it and rejects nothing has recognised the device. Only then, and only if that is wanted, are the
//! codecs that ask given the port, one after the other, each for a few seconds: one that goes through a conversation, or
//! reads all there is, has recognised the device too. What speaks by itself in lines of text is [`guess`]ed at last.
//!
//! To ask is safe because of what codecs are: they change nothing in a device, set no clock and erase no memory.
//!
//! # How to have a device found
//! One line in [`known`], in the order in which devices are to be tried: what it is, and its `[[source]]` as a person
//! would write it, without `name` and `port`. A test demands a line of every kind of source that is at the end of a wire.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use tokio::time::timeout;

use super::ports::Usb;
use super::{Link, TCP};
use crate::source::{Configured, SourceClock};
use trial::Trial;

mod ask;
mod guess;
mod known;
mod listen;
#[cfg(test)]
mod tests;
mod trial;

/// How long one port may take, whatever is there.
const PORT_TIME_MAX: Duration = Duration::from_secs(180);

/// A device that may be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// What it is called.
    what: &'static str,
    /// Its `[[source]]` without `name` and `port`. `{zone}` stands for the zone of this machine.
    settings: &'static str,
    /// What it is known by on USB.
    ids: Ids,
    /// What a person has to look at in the settings; empty: nothing.
    check: &'static str,
}

/// A vendor and a product of USB.
type Id = (u16, u16);

/// What is known of a device's plug.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "glucose"),
    allow(dead_code, reason = "a family that is left out has no plugs to be known by")
)]
enum Ids {
    /// Nothing: it is at the end of any serial cable.
    Any,
    /// Its maker's cable has one of these: it is tried first there.
    Cable(&'static [Id]),
    /// It has a plug of its own with one of these: it is tried nowhere else, and nothing else is tried there.
    Own(&'static [Id]),
}

/// A port that is to be tried, and how.
pub(crate) struct Wire<'a> {
    /// As it would be configured.
    pub(crate) port: &'a str,
    /// What is plugged in, where that is known.
    pub(crate) usb: Option<&'a Usb>,
    /// How long to listen at each speed.
    pub(crate) listen: Duration,
    /// How long nothing may come before a device that was asked is taken for another one.
    pub(crate) silence: Duration,
    /// Whether devices may be asked; if not, nothing is written.
    pub(crate) ask: bool,
    /// What readings are stamped by.
    pub(crate) clock: SourceClock,
}

/// What is there.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A device that was recognised.
    Found(Found),
    /// Something that speaks, so many bytes in the time given, and that nothing here understands.
    Unknown(usize),
    /// Nothing that speaks by itself, or answers.
    Silent,
}

/// A device that was recognised.
#[derive(Debug)]
pub(crate) struct Found {
    /// What it is.
    pub(crate) what: String,
    /// How that is known.
    pub(crate) evidence: String,
    /// What the source is called.
    pub(crate) name: String,
    /// The `[[source]]` that reads it.
    pub(crate) table: String,
    /// What a person has to look at in there; empty: nothing.
    pub(crate) check: &'static str,
}

/// Tries what may be at `wire`; `say` is told what is tried.
///
/// # Errors
/// When the port cannot be opened, is lost meanwhile, or takes too long: what is wrong and what to do.
pub(crate) async fn probe(wire: &Wire<'_>, say: &mut (dyn FnMut(&str) + Send)) -> Result<Answer, String> {
    let tried = timeout(PORT_TIME_MAX, try_all(wire, say)).await;
    tried.unwrap_or_else(|_| Err(format!("{} s were not enough", PORT_TIME_MAX.as_secs())))
}

async fn try_all(wire: &Wire<'_>, say: &mut (dyn FnMut(&str) + Send)) -> Result<Answer, String> {
    let (mut askers, mut listeners): (Vec<Trial>, Vec<Trial>) = trials(wire)?.into_iter().partition(|trial| trial.asks);
    let heard = match listen::listen(wire, &mut listeners, say).await? {
        listen::Heard::Found(found) => return Ok(Answer::Found(found)),
        listen::Heard::Bytes(count) => count,
    };
    if wire.ask {
        // One that begins by itself and then wants an answer goes first: it was understood so far.
        let begun = listeners.into_iter().filter(|trial| trial.wants_to_answer);
        askers.splice(0..0, begun.collect::<Vec<_>>());
        for trial in &mut askers {
            say(&format!("asking for {}", trial.what));
            if ask::ask(wire, trial, heard > 0).await? {
                return Ok(Answer::Found(trial.found()));
            }
        }
    }
    Ok(if heard > 0 { Answer::Unknown(heard) } else { Answer::Silent })
}

/// The devices that may be at `wire`, the likeliest first.
fn trials(wire: &Wire<'_>) -> Result<Vec<Trial>, String> {
    let id = wire.usb.map(|usb| (usb.vendor, usb.product));
    let has = |ids: &[Id]| id.is_some_and(|id| ids.contains(&id));
    let is_own = |candidate: &Candidate| matches!(candidate.ids, Ids::Own(ids) if has(ids));
    let has_own_plug = known::KNOWN.iter().any(is_own);
    let may_be = |candidate: &&Candidate| match candidate.ids {
        _ if id.is_none() => true,
        Ids::Own(ids) => has(ids),
        Ids::Any | Ids::Cable(_) => !has_own_plug,
    };
    let is_cable = |candidate: &&Candidate| matches!(candidate.ids, Ids::Cable(ids) if has(ids));
    let (mut candidates, others): (Vec<_>, Vec<_>) = known::KNOWN.iter().filter(may_be).partition(is_cable);
    candidates.extend(others);
    let zone = own_zone();
    let trial = |candidate: &Candidate| {
        let settings = candidate.settings.replace("{zone}", &zone);
        Trial::new(candidate.what, &settings, candidate.check, wire)
    };
    candidates.into_iter().map(trial).collect()
}

/// The zone that this machine is in, as systemd has it; UTC where that is not known.
fn own_zone() -> String {
    let link = std::fs::read_link("/etc/localtime").unwrap_or_default();
    let name = link.to_str().and_then(|link| link.split_once("zoneinfo/")).map(|(_, name)| name);
    name.filter(|name| TimeZone::get(name).is_ok()).unwrap_or("UTC").to_owned()
}

/// Whether two line settings are one to `port`: a TCP port has none.
fn is_same_line(port: &str, one: super::Line, other: super::Line) -> bool {
    port.starts_with(TCP) || one == other
}

impl Found {
    /// Gives the source another name: each of a configuration needs its own.
    pub(crate) fn rename(&mut self, name: String) {
        let line = |name: &str| format!("name = \"{name}\"\n");
        self.table = self.table.replacen(&line(&self.name), &line(&name), 1);
        self.name = name;
    }
}

/// A source as it stands in a configuration.
fn table(what: &str, port: &str, settings: &str) -> String {
    let mut name: String =
        what.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { ' ' }).collect();
    name.make_ascii_lowercase();
    let name = name.split_whitespace().take(4).collect::<Vec<_>>().join("-");
    let port = toml::Value::from(port);
    format!("[[source]]\nname = \"{name}\"\nport = {port}\n{}\n", settings.trim())
}

/// Reads a table, as the configuration is read.
fn configured(table: &str) -> Result<Configured, String> {
    #[derive(Deserialize)]
    struct Sources {
        source: Vec<Configured>,
    }
    let sources: Sources = toml::from_str(table).map_err(|error| error.to_string())?;
    let source = sources.source.into_iter().next().ok_or("it has no source")?;
    source.validate().map_err(|error| error.to_string())?;
    Ok(source)
}

/// What is guessed of lines is a configuration that is accepted. For `crate::source::fuzzing` alone.
pub(crate) fn fuzz_guess(heard: &[u8], clock: SourceClock) {
    let (listen, silence) = (Duration::ZERO, Duration::ZERO);
    let wire = Wire { port: "/dev/x", usb: None, listen, silence, ask: false, clock };
    if let Some(guess) = guess::settings(heard, 9_600) {
        let trial = Trial::new(guess.what, &guess.settings, guess::CHECK, &wire);
        assert!(trial.is_ok(), "{:?}: {}", trial.err(), guess.settings);
    }
}

/// The same port with another line setting.
fn link(wire: &Wire<'_>, line: super::Line) -> Link {
    Link { port: wire.port.to_owned(), line }
}
