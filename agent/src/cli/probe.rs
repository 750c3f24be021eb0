//! `probe`: which serial ports there are, what is at their ends, and the configuration that reads it.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::{json_text, say};
use crate::clock::BootClock;
use crate::source::SourceClock;
use crate::source::device::ports::{self, SerialPort, Usb};
use crate::source::device::probe::{Answer, Found, Wire, probe};

/// What to look at.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is printed is a configuration with comments: add it to yours, with `tributary-agent probe --yes >> agent.toml`, and \
see with `check-config` and `dry-run` whether it is right.

Listening comes first, and writes nothing. Devices are asked only with --yes, or where you agree: with questions that \
change nothing, set no clock and erase nothing. Ports on the board, which may have a console or a motor at their end, are \
tried only when they are named. A port that the agent has open is not tried: stop it first.")]
pub(super) struct Probe {
    /// Try this port alone: /dev/serial/by-id/… or tcp://host:port
    #[arg(long)]
    port: Option<String>,
    /// Ask the devices without asking you
    #[arg(long)]
    yes: bool,
    /// Seconds to listen at each speed; 12 and more for devices that speak seldom
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    listen: u64,
    /// Milliseconds without a byte after which a device that was asked is taken for another one
    #[arg(long, value_name = "MS", default_value_t = 2_500, value_parser = clap::value_parser!(u64).range(50..=30_000))]
    silence: u64,
    /// One JSON document instead
    #[arg(long)]
    json: bool,
    /// Where the file system begins, for tests
    #[arg(long, hide = true, default_value = "/")]
    root: PathBuf,
}

/// One port and what is there.
struct Tried {
    port: SerialPort,
    /// None where it was not tried.
    result: Option<Result<Answer, String>>,
}

impl Probe {
    /// Lists and tries the ports.
    ///
    /// # Errors
    /// When a named port cannot be tried, or nothing was recognised there.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let ports = self.ports();
        let is_tried = |port: &SerialPort| self.port.is_some() || port.usb.is_some() && port.denied.is_none();
        let count = ports.iter().filter(|port| is_tried(port)).count();
        let ask = count > 0 && self.may_ask(count)?;
        let clock = SourceClock::from(Arc::new(BootClock::start([0; 8])));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let mut all = Vec::new();
        for port in ports {
            let result = is_tried(&port).then(|| {
                let (listen, silence) = (Duration::from_secs(self.listen), Duration::from_millis(self.silence));
                let (usb, clock) = (port.usb.as_ref(), clock.clone());
                let wire = Wire { port: &port.path, usb, listen, silence, ask, clock };
                runtime.block_on(probe(&wire, &mut |what| eprintln!("{}: {what}", port.path)))
            });
            all.push(Tried { port, result });
        }
        give_own_names(&mut all);
        if self.json {
            let ports: Vec<String> = all.iter().map(Tried::to_json).collect();
            say(format_args!("{{\"ports\":[{}]}}", ports.join(",")))?;
        } else {
            all.iter().try_for_each(|tried| tried.print(ask))?;
            if all.is_empty() {
                say(format_args!("# This machine has no serial port now."))?;
            }
        }
        match (&self.port, all.first().and_then(|tried| tried.result.as_ref())) {
            (Some(port), Some(Err(problem))) => anyhow::bail!("{port}: {problem}"),
            (Some(port), Some(Ok(answer))) if !matches!(answer, Answer::Found(_)) => {
                anyhow::bail!("{port}: nothing was recognised there")
            }
            _ => Ok(()),
        }
    }

    /// The ports that are spoken of.
    fn ports(&self) -> Vec<SerialPort> {
        let mut ports = ports::list(&self.root);
        let Some(named) = &self.port else { return ports };
        let target = Path::new(named).canonicalize().ok();
        let is_it = |port: &SerialPort| {
            port.path == *named || target.is_some() && Path::new(&port.path).canonicalize().ok() == target
        };
        let known = ports.iter().position(is_it).map(|index| ports.swap_remove(index));
        let unknown = || SerialPort { path: named.clone(), name: named.clone(), usb: None, denied: None };
        // By the name that was given: whoever gave it may have made it by a rule of his own.
        vec![SerialPort { path: named.clone(), ..known.unwrap_or_else(unknown) }]
    }

    /// Whether devices may be asked.
    fn may_ask(&self, count: usize) -> anyhow::Result<bool> {
        let (input, ports) = (std::io::stdin(), if count == 1 { "port" } else { "ports" });
        if self.yes || !input.is_terminal() {
            return Ok(self.yes);
        }
        eprintln!(
            "May the devices at {count} {ports} be asked who they are, with questions that change nothing? [y/N]"
        );
        let mut answer = String::new();
        input.lock().read_line(&mut answer).context("read your answer")?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// Two meters of one kind are two sources.
fn give_own_names(all: &mut [Tried]) {
    let mut names: Vec<String> = Vec::new();
    for tried in all {
        let Some(Ok(Answer::Found(found))) = &mut tried.result else { continue };
        let same = names.iter().filter(|name| **name == found.name).count();
        names.push(found.name.clone());
        if same > 0 {
            found.rename(format!("{}-{}", found.name, same + 1));
        }
    }
}

impl Tried {
    fn print(&self, asked: bool) -> anyhow::Result<()> {
        let SerialPort { path, name, usb, denied } = &self.port;
        let mut known: Vec<String> = Vec::new();
        known.extend((name != path).then(|| name.clone()));
        if let Some(usb) = usb {
            known.push(format!("USB {}", usb.id()));
            known.extend(usb.manufacturer.clone());
            known.extend(usb.called.clone());
            known.extend(usb.serial_ends.as_ref().map(|end| format!("serial number …{end}")));
        }
        let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
        say(format_args!("# {path}{known}"))?;
        match (&self.result, denied) {
            (None | Some(Err(_)), Some(problem)) => say(format_args!("#   may not be opened: {problem}"))?,
            (None, None) => say(format_args!("#   not tried; to try it: --port {path}"))?,
            (Some(Err(problem)), None) => say(format_args!("#   {}", problem.replace('\n', " ")))?,
            (Some(Ok(Answer::Silent)), _) if asked => {
                say(format_args!(
                    "#   nothing speaks or answers there; is the device on, and does it speak within --listen?"
                ))?;
            }
            (Some(Ok(Answer::Silent)), _) => {
                say(format_args!("#   nothing speaks there by itself; with --yes devices are asked too"))?;
            }
            (Some(Ok(Answer::Unknown(bytes))), _) => {
                say(format_args!(
                    "#   something speaks, {bytes} bytes, and nothing here understands it: see docs/devices.md"
                ))?;
            }
            (Some(Ok(Answer::Found(Found { what, evidence, table, check, .. }))), _) => {
                say(format_args!("#   {what}: {evidence}"))?;
                if !check.is_empty() {
                    say(format_args!("#   Look at it: {check}."))?;
                }
                say(format_args!("{table}"))?;
            }
        }
        Ok(())
    }

    /// `{"path":…,"name":…,"usb":…,"denied":…,"result":…}`
    fn to_json(&self) -> String {
        let SerialPort { path, name, usb, denied } = &self.port;
        let maybe = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_owned(), json_text);
        let usb = usb.as_ref().map_or_else(|| "null".to_owned(), |usb| {
            let (maker, called, end) = (maybe(&usb.manufacturer), maybe(&usb.called), maybe(&usb.serial_ends));
            let Usb { vendor, product, .. } = usb;
            format!(
                r#"{{"vendor":{vendor},"product":{product},"manufacturer":{maker},"called":{called},"serial_ends":{end}}}"#
            )
        });
        let result = match &self.result {
            None => r#""not_tried""#.to_owned(),
            Some(Err(problem)) => format!(r#"{{"problem":{}}}"#, json_text(problem)),
            Some(Ok(Answer::Silent)) => r#""silent""#.to_owned(),
            Some(Ok(Answer::Unknown(bytes))) => format!(r#"{{"unknown_bytes":{bytes}}}"#),
            Some(Ok(Answer::Found(Found { what, evidence, table, check, .. }))) => {
                let [what, evidence, table, check] = [what, evidence, table, *check].map(json_text);
                format!(r#"{{"what":{what},"evidence":{evidence},"configuration":{table},"check":{check}}}"#)
            }
        };
        let (path, name, denied) = (json_text(path), json_text(name), maybe(denied));
        format!(r#"{{"path":{path},"name":{name},"usb":{usb},"denied":{denied},"result":{result}}}"#)
    }
}
