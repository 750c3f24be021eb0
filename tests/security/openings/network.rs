//! An agent with sources in the network: a broker, a Nightscout site, a meter on Modbus TCP and a board behind a TCP port.
//! It connects to those and to its uplink, and to nobody else.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use emulators::mqtt::{Message, PONG, subscribed, welcome};
use emulators::nightscout::{Collection, Site};
use emulators::{Socket as Plug, modbus::Modbus};
use harness::{Agent, Gateway, Pki, judge};
use serde_json::json;

use super::calls;
use super::watch::{Expected, LOOKS_MIN, Watch};
use crate::part::{Found, Plan};
use crate::site::{PATIENCE, now_s};

const DEVICE: &str = "meter-8";
/// From one line or message to the next.
const PACE: Duration = Duration::from_millis(100);

pub(super) fn run(plan: &Plan, pki: &Pki, gateway: &Gateway, found: &mut Found) -> anyhow::Result<()> {
    let site = Site::start(None)?;
    let now_ms = i64::try_from(now_s() * 1_000)?;
    let entry = json!({ "type": "sgv", "sgv": 118, "date": now_ms - 60_000, "device": "cgm" });
    site.store().write_v3(Collection::Entries, now_ms, entry);
    let meter = Plug::over_tcp(Modbus { over_tcp: true, ..Modbus::sdm630() })?;
    let (board, broker) = (serve(board)?, serve(broker)?);
    let sources = format!(
        "[sealer]\nlinger_ms = 20\n\
         [[source]]\nname = \"q\"\ntype = \"mqtt\"\nhost = \"127.0.0.1\"\nport = {}\n[[source.topics]]\nfilter = \"t/x\"\n\
         series = [{{ pointer = \"\", name = \"by.mqtt\", unit = \"Cel\" }}]\n\
         [[source]]\nname = \"n\"\ntype = \"nightscout\"\nurl = \"http://127.0.0.1:{}\"\nevery_s = 10\n\
         allow_http = true\nallow_private_addresses = true\ncollections = [\"entries\"]\n\
         [[source]]\nname = \"b\"\ntype = \"modbus\"\nport = \"tcp://{meter}\"\nevery_s = 1\n[[source.registers]]\n\
         name = \"by.modbus\"\naddress = 0\nkind = \"input\"\ntype = \"f32\"\nunit = \"V\"\n\
         [[source]]\nname = \"l\"\ntype = \"serial\"\nport = \"tcp://{board}\"\nformat = \"key_value\"\n\
         series = [{{ column = \"value\", name = \"by.line\" }}]\n",
        broker.port(),
        site.port,
    );
    let (folder, files) = (plan.folder.join("network"), pki.device(DEVICE));
    let mut agent = Agent::new(&folder, DEVICE, Some(gateway.mqtt_port), &files, &sources);
    let log = calls::trace(&mut agent, &folder)?;
    agent.start();
    let ports = [gateway.mqtt_port, broker.port(), site.port, meter.port(), board.port()];
    let expected = Expected { ports: ports.into(), ..Expected::default() };
    let mut watch = Watch::new(&agent, &files, expected);
    // Until something of each of them has come all the way: by then it has connected to them all.
    let wanted = ["by.mqtt", "glucose", "by.modbus", "by.line"];
    let (began, mut came) = (Instant::now(), BTreeSet::new());
    while (came.len() < wanted.len() || watch.looks < LOOKS_MIN) && began.elapsed() < PATIENCE * 2 {
        watch.look(Duration::from_millis(500), &mut || {}, found)?;
        let stored = judge::stored(&gateway.database(), DEVICE).unwrap_or_default();
        came = wanted.into_iter().filter(|name| stored.iter().any(|key| key.series.starts_with(name))).collect();
    }
    found.check(came.len() == wanted.len(), || format!("of {wanted:?}, only {came:?} came"));
    agent.stop();
    watch.conclude(found);
    // A site is asked and left at once; the others are there all the time.
    let seen = watch.destinations.len();
    found.check((4..=5).contains(&seen), || format!("it was seen to connect to {:?} only", watch.destinations));
    found.measured("agent_network_destinations", seen as u64);
    match log {
        Some(log) => calls::judge(&log, &watch.allowed(&folder), &watch.expected, found),
        None => Ok(()),
    }
}

/// A server on loopback that has `act` for each connection, until it ends.
fn serve(act: fn(&mut TcpStream) -> io::Result<()>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || act(&mut stream));
        }
    });
    Ok(address)
}

/// Lines without end.
fn board(stream: &mut TcpStream) -> io::Result<()> {
    for number in 0_u64.. {
        writeln!(stream, "value={number}")?;
        std::thread::sleep(PACE);
    }
    Ok(())
}

/// A broker for one client that subscribes once, and then hears messages without end.
fn broker(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PACE))?;
    let (mut chunk, mut is_subscribed) = ([0; 4_096], false);
    for number in 0_u64.. {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(_) => match chunk[0] >> 4 {
                1 => stream.write_all(&welcome(false, 0))?,
                8 => {
                    stream.write_all(&subscribed(&[1]))?;
                    is_subscribed = true;
                }
                12 => stream.write_all(&PONG)?,
                _ => {}
            },
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if is_subscribed {
            let payload = format!("{}.5", number % 40);
            let message = Message { topic: "t/x", id: None, dup: false, retain: false, payload: payload.as_bytes() };
            stream.write_all(&message.encode())?;
        }
    }
    Ok(())
}
