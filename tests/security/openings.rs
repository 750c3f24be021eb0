//! What the agent opens while it runs: no port that listens, no destination but its uplink and its sources, no file but its
//! own. Looked at in `/proc` many times a second, and call by call where `strace` is there. And what cannot be opened at
//! all: none of our crates has unsafe code, but for one of the tests.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use harness::pki::Files;
use harness::pty::Port;
use harness::{Agent, Database, Gateway, Pki};

mod calls;
mod descriptors;
mod forbidden;
mod local;
mod network;
mod sockets;
mod watch;

use crate::part::{Found, Plan};
use crate::site::PATIENCE;
use sockets::Kind;
use watch::{Expected, Watch};

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
    let is_traced = alone(plan, &pki, &mut gateway, &mut found)?;
    network::run(plan, &pki, &gateway, &mut found)?;
    local::run(plan, &pki, &gateway, &mut found)?;
    if !is_traced {
        found.skipped.push("calls were not looked at: strace is missing (Debian: strace)".to_owned());
    }
    Ok(found)
}

/// An agent that reads a file, a line and a simulation: all that it connects to is its uplink. Whether its calls were
/// looked at.
fn alone(plan: &Plan, pki: &Pki, gateway: &mut Gateway, found: &mut Found) -> anyhow::Result<bool> {
    let device = pki.device(DEVICE);
    let (mut agent, mut port, log) = prepare(plan, gateway.mqtt_port, &device)?;
    agent.start();
    let mut watch = Watch::new(&agent, &device, Expected::only(gateway.mqtt_port));
    watch.own.extend(std::fs::canonicalize(&port.path));
    watch.own.push(agent.folder.join("offered.csv"));
    watch.readable.push(port.path.clone());
    let span = Duration::from_secs(if plan.short { 1 } else { 4 });
    let mut lines: u64 = 0;
    let mut line = || lines += u64::from(port.send(&format!("value={lines}")));
    watch.look(span, &mut line, found)?;
    // What it does when nobody is there, and when somebody is again.
    gateway.kill();
    watch.look(span / 2, &mut line, found)?;
    gateway.restart();
    watch.look(span, &mut line, found)?;
    arrived(gateway, found)?;
    agent.stop();
    watch.conclude(found);
    found.measured("agent_destinations", watch.destinations.len() as u64);
    found.check(watch.destinations.len() == 1, || "it was never seen to connect to its uplink".to_owned());
    if let Some(log) = &log {
        calls::judge(log, &watch.allowed(&agent.folder), &watch.expected, found)?;
    }
    Ok(log.is_some())
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
