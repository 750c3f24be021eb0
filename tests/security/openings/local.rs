//! An agent that runs a program, and has a Unix socket for others on its machine: the one is all that it starts, the other
//! all that listens, and neither is a port.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Agent, Gateway, Pki, judge};

use super::calls;
use super::watch::{Expected, LOOKS_MIN, Watch};
use crate::part::{Found, Plan};
use crate::site::PATIENCE;

const DEVICE: &str = "meter-9";
/// It prints a line now and then, and ends with the agent.
const PROGRAM: &str = "/bin/sh";
const SCRIPT: &str = "i=0; while [ $i -lt 500 ]; do echo value=$i; i=$((i+1)); done; exec sleep 1000";

pub(super) fn run(plan: &Plan, pki: &Pki, gateway: &Gateway, found: &mut Found) -> anyhow::Result<()> {
    let (folder, files) = (plan.folder.join("local"), pki.device(DEVICE));
    let socket = folder.join("in.sock");
    let sources = format!(
        "[sealer]\nlinger_ms = 20\n\
         [[source]]\nname = \"p\"\ntype = \"exec\"\ncommand = [{PROGRAM:?}, \"-c\", {SCRIPT:?}]\n\
         environment = {{ PATH = \"/usr/bin:/bin\" }}\nformat = \"key_value\"\n\
         series = [{{ column = \"value\", name = \"by.program\" }}]\n\
         [[source]]\nname = \"s\"\ntype = \"socket\"\npath = {socket:?}\n\
         series = [{{ column = \"value\", name = \"by.socket\" }}]\n"
    );
    let mut agent = Agent::new(&folder, DEVICE, Some(gateway.mqtt_port), &files, &sources);
    let log = calls::trace(&mut agent, &folder)?;
    agent.start();
    let answer = said(&socket);
    found.check(answer.as_deref().is_ok_and(|answer| answer.contains("\"ok\":true")), || {
        format!("the socket's answer: {answer:?}")
    });
    // It is made under another name and then put in its place; the kernel goes on calling it by the first.
    let made = Some(folder.join("in.sock.new"));
    let expected = Expected { socket: made, program: Some(PROGRAM), ..Expected::only(gateway.mqtt_port) };
    let mut watch = Watch::new(&agent, &files, expected);
    let (began, mut came) = (Instant::now(), false);
    while (!came || watch.looks < LOOKS_MIN) && began.elapsed() < PATIENCE {
        watch.look(Duration::from_millis(500), &mut || {}, found)?;
        let stored = judge::stored(&gateway.database(), DEVICE).unwrap_or_default();
        came = ["by.program", "by.socket"].iter().all(|name| stored.iter().any(|key| key.series == *name));
    }
    found.check(came, || "readings of the program and of the socket did not both come".to_owned());
    agent.stop();
    watch.conclude(found);
    match log {
        Some(log) => calls::judge(&log, &watch.allowed(&folder), &watch.expected, found),
        None => Ok(()),
    }
}

/// Hands a record over, once the socket is there, and hears what becomes of it.
fn said(socket: &Path) -> anyhow::Result<String> {
    let began = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"{\"value\":7}\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}
