//! What the agent opens while it runs: no port that listens, no destination but its uplink, no file but its own. Looked at
//! in `/proc` many times a second, and call by call where `strace` is there. And what cannot be opened at all: none of our
//! crates has unsafe code, but for one of the tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::pki::Files;
use harness::pty::Port;
use harness::{Agent, Database, Gateway, Pki};

mod calls;
mod descriptors;
mod forbidden;
mod sockets;

use crate::part::{Found, Plan};
use crate::site::PATIENCE;
use sockets::{Kind, Socket};

const DEVICE: &str = "meter-7";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Rows of the file; as many readings must arrive, and more.
const ROWS: usize = 2_000;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    forbidden::run(&mut found)?;
    let pki = Pki::create(&plan.folder.join("pki"));
    let mut gateway = Gateway::start(&plan.folder.join("gateway"), pki.server(), "");
    counter_check(&gateway, &mut found)?;
    let device = pki.device(DEVICE);
    let (mut agent, mut port, log) = prepare(plan, gateway.mqtt_port, &device)?;
    agent.start();
    let mut watch = Watch::new(&agent, &device, &port, gateway.mqtt_port);
    let span = Duration::from_secs(if plan.short { 1 } else { 4 });
    watch.look(span, &mut port, &mut found)?;
    // What it does when nobody is there, and when somebody is again.
    gateway.kill();
    watch.look(span / 2, &mut port, &mut found)?;
    gateway.restart();
    watch.look(span, &mut port, &mut found)?;
    arrived(&gateway, &mut found)?;
    agent.stop();
    watch.conclude(&mut found);
    match log {
        Some(log) => calls::judge(&log, &watch.allowed(&plan.folder), gateway.mqtt_port, &mut found)?,
        None => found.skipped.push("calls were not looked at: strace is missing (Debian: strace)".to_owned()),
    }
    Ok(found)
}

/// What is looked for is found where it is: the gateway listens on two ports, and so does a socket of UDP that is ours.
fn counter_check(gateway: &Gateway, found: &mut Found) -> anyhow::Result<()> {
    let id = gateway.process.as_ref().map_or(0, harness::process::Process::id);
    let listening = sockets::of(id)?.iter().filter(|socket| socket.listens()).count();
    found.check(listening == 2, || format!("the gateway listens on {listening} ports, where 2 are known"));
    let udp = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    let port = udp.local_addr()?.port();
    let own = sockets::of(std::process::id())?;
    let seen = own.iter().any(|socket| socket.kind == Kind::Udp && socket.listens() && socket.port == port);
    found.check(seen, || "a bound socket of UDP was not found".to_owned());
    Ok(())
}

/// An agent with a source of each kind, under `strace` where that is there, and where its calls are written then.
fn prepare(plan: &Plan, gateway: u16, files: &Files) -> anyhow::Result<(Agent, Port, Option<PathBuf>)> {
    let folder = plan.folder.join("agent");
    std::fs::create_dir_all(&folder)?;
    let (rows, port) = (folder.join("offered.csv"), Port::open(&folder.join("line"))?);
    let mut text = "time,value\n".to_owned();
    for place in 0..ROWS {
        writeln!(text, "{},{place}", 1_780_272_000 + place)?;
    }
    std::fs::write(&rows, text)?;
    let sources = format!(
        "[sealer]\nlinger_ms = 20\nreadings_max = 64\n[[source]]\nname = \"f\"\ntype = \"file\"\npath = {rows:?}\n\
         time = {{ column = \"time\", unit = \"s\" }}\nseries = [{{ column = \"value\", name = \"f\" }}]\n\
         [[source]]\nname = \"l\"\ntype = \"serial\"\nport = {:?}\nformat = \"key_value\"\n\
         series = [{{ column = \"value\", name = \"l\" }}]\n\
         [[source]]\nname = \"m\"\ntype = \"simulate\"\nwhat = \"meter\"\nspeed = 20.0\n",
        port.path
    );
    let mut agent = Agent::new(&folder, DEVICE, Some(gateway), files, &sources);
    let log = calls::trace(&mut agent, &folder)?;
    Ok((agent, port, log))
}

/// The readings did come while it was looked at.
fn arrived(gateway: &Gateway, found: &mut Found) -> anyhow::Result<()> {
    let (began, mut stored) = (Instant::now(), 0);
    while stored <= ROWS && began.elapsed() < PATIENCE {
        stored = Database::Sqlite(gateway.database()).ledger(DEVICE)?.readings.len();
        std::thread::sleep(Duration::from_millis(50));
    }
    found.check(stored > ROWS, || format!("{stored} readings came, of a file of {ROWS} and two other sources"));
    Ok(())
}

/// What was seen of one agent.
struct Watch {
    id: u32,
    own: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    gateway: u16,
    looks: u64,
    lines: u64,
    listening: u64,
    destinations: BTreeSet<String>,
    strange: BTreeSet<String>,
    most: usize,
}

impl Watch {
    fn new(agent: &Agent, files: &Files, port: &Port, gateway: u16) -> Self {
        let buffer = agent.buffer().display().to_string();
        let mut own: Vec<PathBuf> =
            ["", "-journal", "-wal", "-shm", ".reserve", ".lock"].map(|end| format!("{buffer}{end}").into()).into();
        own.extend(std::fs::canonicalize(&port.path));
        own.extend([agent.folder.join("agent.log"), agent.folder.join("offered.csv"), "/dev/null".into()]);
        let Files { authority, certificate, key } = files.clone();
        Self {
            id: agent.process.as_ref().map_or(0, harness::process::Process::id),
            own,
            readable: vec![authority, certificate, key, agent.config(), port.path.clone()],
            gateway,
            looks: 0,
            lines: 0,
            listening: 0,
            destinations: BTreeSet::new(),
            strange: BTreeSet::new(),
            most: 0,
        }
    }

    /// Looks again and again, while the line goes on.
    fn look(&mut self, span: Duration, port: &mut Port, found: &mut Found) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < span {
            let all = sockets::of(self.id)?;
            self.listening += all.iter().filter(|socket| socket.listens()).count() as u64;
            self.strange.extend(all.iter().filter(|socket| socket.is_strange()).map(|socket| format!("{socket:?}")));
            self.destinations.extend(all.iter().filter_map(Socket::destination));
            let open = descriptors::of(self.id)?;
            self.most = self.most.max(open.len());
            self.strange.extend(descriptors::strange(&open, &self.own, &self.readable));
            self.looks += 1;
            self.lines += u64::from(port.send(&format!("value={}", self.lines)));
            std::thread::sleep(LOOK_EVERY);
        }
        let children = descriptors::children(self.id);
        found.check(children.is_empty(), || format!("it has started {children:?}"));
        Ok(())
    }

    /// Files that the calls may name.
    fn allowed(&self, folder: &Path) -> Vec<PathBuf> {
        self.own.iter().chain(&self.readable).cloned().chain([folder.join("agent")]).collect()
    }

    fn conclude(&self, found: &mut Found) {
        let wanted = format!("127.0.0.1:{}", self.gateway);
        found.measured("agent_listening_sockets", self.listening);
        found.measured("agent_destinations", self.destinations.len() as u64);
        found.measured("agent_looked_at", self.looks);
        found.measured("agent_descriptors_most", self.most as u64);
        found.check(self.listening == 0, || format!("{} times something listened", self.listening));
        found.check(self.destinations.iter().eq([&wanted]), || {
            format!("it connects to {:?}, where {wanted} is its uplink", self.destinations)
        });
        self.strange.iter().for_each(|what| found.wrong(format!("the agent has open: {what}")));
        found.check(self.looks >= 20, || format!("it was looked at {} times only", self.looks));
    }
}
