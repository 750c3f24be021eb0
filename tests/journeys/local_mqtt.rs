//! Devices that publish at a Mosquitto nearby, and an agent that listens there: nothing is lost, nothing doubled, whoever
//! is killed meanwhile.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use agent::buffer::Access;
use harness::mqtt::{Packet, Stream};
use harness::pki::Files;
use harness::servers::mosquitto::Settings;
use harness::servers::{Mosquitto, or_skip};
use harness::{Agent, Pki, wait_for};
use proto::{Body, Value};

mod library;
mod sparkplug;

/// For the slowest thing here on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Kills of the agent.
const KILLS: u32 = 20;

/// A broker as it stands in a house: anybody on this machine, and what it keeps outlives its end.
fn broker(folder: &Path) -> Option<Mosquitto> {
    let store = folder.join("store");
    std::fs::create_dir_all(&store).unwrap();
    or_skip(Mosquitto::start_with(folder, |port| {
        format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {}/\nmax_queued_messages 0\nlog_dest stderr\n",
            store.display()
        )
    }))
}

/// A device that publishes without TLS.
struct Device {
    stream: TcpStream,
    rest: Vec<u8>,
    id: u16,
}

impl Device {
    fn connect(port: u16, client: &str) -> Self {
        let connect = || TcpStream::connect(("127.0.0.1", port)).ok();
        let stream = wait_for("a broker", DEADLINE, connect);
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut device = Self { stream, rest: Vec::new(), id: 0 };
        device.send(&Packet::Connect { client: client.into(), clean: true, keep_alive_s: 0 });
        assert!(matches!(device.wait(), Packet::ConnAck { code: 0, .. }));
        device
    }

    fn send(&mut self, packet: &Packet) {
        self.stream.write_all(&packet.encode()).unwrap();
    }

    fn poll(&mut self) -> Option<Packet> {
        loop {
            if let Some((packet, length)) = Packet::decode(&self.rest).unwrap() {
                self.rest.drain(..length);
                return Some(packet);
            }
            let mut chunk = [0; 4_096];
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the broker has gone"),
                Ok(count) => self.rest.extend(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn wait(&mut self) -> Packet {
        wait_for("the broker's answer", DEADLINE, || self.poll())
    }

    /// At QoS 1; the broker has it when this returns.
    fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.id = self.id % 1_000 + 1;
        let (id, topic) = (Some(self.id), topic.to_owned());
        self.send(&Packet::Publish { topic, id, dup: false, retain: false, payload: payload.into() });
        assert_eq!(self.wait(), Packet::PubAck(self.id));
    }
}

/// An agent that reads `n` of everything below `home`, with more settings.
fn listener(folder: &Path, port: u16, more: &str) -> Agent {
    let none = Files { authority: PathBuf::new(), certificate: PathBuf::new(), key: PathBuf::new() };
    let sources = format!(
        "[[source]]\nname = \"home\"\ntype = \"mqtt\"\nhost = \"localhost\"\nport = {port}\nkeep_alive_s = 5\n{more}\n\
         [[source.topics]]\nfilter = \"home/+\"\nseries = [{{ pointer = \"/n\", name = \"n.{{1}}\" }}]\n"
    );
    Agent::new(folder, "meter-7", None, &none, &sources)
}

/// Everything that was accepted: how often each value of each series.
fn accepted(agent: &Agent) -> BTreeMap<(String, i64), u32> {
    let mut found = BTreeMap::new();
    let Ok(access) = Access::open(&agent.buffer()) else { return found };
    for batch in access.list(100_000).unwrap() {
        for column in Body::decode(&access.body(batch.row).unwrap()).unwrap().columns {
            for reading in column.readings {
                let Value::Number(number) = reading.value else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "small whole numbers are published")]
                let key = (column.series.name.to_string(), number as i64);
                *found.entry(key).or_default() += 1;
            }
        }
    }
    found
}

fn rejected(agent: &Agent) -> Vec<String> {
    let Ok(access) = Access::open(&agent.buffer()) else { return Vec::new() };
    access.rejected(1_000).unwrap().into_iter().map(|one| format!("{}: {}", one.place, one.reason)).collect()
}

fn log(agent: &Agent) -> String {
    std::fs::read_to_string(agent.folder.join("agent.log")).unwrap_or_default()
}

fn wait_accepted(agent: &Agent, count: usize) {
    let begun = Instant::now();
    while accepted(agent).len() < count {
        assert!(begun.elapsed() < DEADLINE, "{} of {count} came: {}", accepted(agent).len(), log(agent));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Xorshift (Marsaglia, 2003): the moments only have to differ.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn an_agent_that_is_killed_at_random_takes_each_message_of_a_local_broker_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut broker) = broker(&folder.path().join("broker")) else { return };
    let mut agent = listener(&folder.path().join("agent"), broker.port, "");
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state: u64 = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={state} repeats this run");

    agent.start();
    wait_for("the agent to listen", DEADLINE, || log(&agent).contains("listening").then_some(()));
    // So many ids that the agent knows how this broker gives them.
    let mut device = Device::connect(broker.port, "device");
    let mut count = 40;
    (0..count).for_each(|number| device.publish("home/x", format!("{{\"n\":{number}}}")));
    wait_accepted(&agent, 40);

    let over = AtomicBool::new(false);
    let published = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut number = count;
            while !over.load(Ordering::Relaxed) {
                device.publish("home/x", format!("{{\"n\":{number}}}"));
                number += 1;
                thread::sleep(Duration::from_millis(2));
            }
            number
        });
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(30 + random(&mut state) % 300));
            agent.kill();
            agent.start();
        }
        over.store(true, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    count = published;
    wait_accepted(&agent, count);

    // The broker ends and begins again, with and without the agent there.
    drop(device);
    broker.restart().unwrap();
    let mut device = Device::connect(broker.port, "device");
    (count..count + 50).for_each(|number| device.publish("home/x", format!("{{\"n\":{number}}}")));
    count += 50;
    agent.kill();
    (count..count + 50).for_each(|number| device.publish("home/x", format!("{{\"n\":{number}}}")));
    count += 50;
    drop(device);
    broker.restart().unwrap();
    agent.start();
    wait_accepted(&agent, count);
    agent.stop();

    let found = accepted(&agent);
    assert!((0..count).all(|number| found.contains_key(&("n.x".into(), i64::try_from(number).unwrap()))));
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?} of {count}\n{}", log(&agent));
    println!("{count} messages, {KILLS} kills");
    assert_eq!(rejected(&agent), [] as [&str; 0]);
}

#[test]
fn a_lost_session_is_told_of_and_hostile_messages_delay_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut broker) = broker(&folder.path().join("broker")) else { return };
    let mut agent = listener(&folder.path().join("agent"), broker.port, "");
    agent.start();
    wait_for("the agent to listen", DEADLINE, || log(&agent).contains("listening").then_some(()));
    let mut device = Device::connect(broker.port, "device");
    device.publish("home/x", vec![b'7'; 1_000_000]);
    device.publish("home/x", format!("{}1", "[".repeat(60_000)));
    device.publish("home/x", *b"{\"n\":\xff}");
    device.publish("home/x", *b"{\"n\":1e999}");
    device.publish("home/x", *b"");
    device.publish("home/x", *b"{\"n\":1}");
    wait_accepted(&agent, 1);
    let told = rejected(&agent);
    for what in ["1000000 bytes long", "is no JSON", "is not UTF-8", "no finite number"] {
        assert!(told.iter().any(|line| line.contains(what)), "{what}: {told:?}");
    }
    assert_eq!(told.len(), 4, "{told:?}");

    agent.stop();
    drop(device);
    broker.stop().unwrap();
    broker.forget().unwrap();
    broker.restart().unwrap();
    agent.start();
    let forgotten = || rejected(&agent).iter().any(|line| line.contains("forgotten the session")).then_some(());
    wait_for("word that the session is gone", DEADLINE, forgotten);
    let mut device = Device::connect(broker.port, "device");
    device.publish("home/x", *b"{\"n\":2}");
    wait_accepted(&agent, 2);
    assert!(accepted(&agent).values().all(|times| *times == 1));
    agent.stop();
}

#[test]
fn a_broker_with_tls_is_listened_to_by_those_whom_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let (agents, devices) = (pki.device("listener-1"), pki.device("plug-1"));
    let rights = "user listener-1\ntopic read home/#\nuser plug-1\ntopic write home/#\n";
    let settings = Settings::new(pki.server(), rights);
    let Some(broker) = or_skip(Mosquitto::start(&folder.path().join("broker"), &settings)) else { return };
    let tls = |files: &Files| {
        let Files { authority, certificate, key } = files;
        format!("authority_file = {authority:?}\ncertificate_file = {certificate:?}\nkey_file = {key:?}")
    };
    let mut agent = listener(&folder.path().join("agent"), broker.port, &tls(&agents));
    agent.start();
    wait_for("the agent to listen", DEADLINE, || log(&agent).contains("listening").then_some(()));
    let mut device = Stream::connect(broker.port, &devices).unwrap();
    device.send(&Packet::Connect { client: "plug-1".into(), clean: true, keep_alive_s: 0 }).unwrap();
    let payload = b"{\"n\":5}".to_vec();
    device.send(&Packet::Publish { topic: "home/x".into(), id: Some(1), dup: false, retain: false, payload }).unwrap();
    wait_accepted(&agent, 1);
    agent.stop();

    // One of another authority is told what to look at, and tries again.
    let foreign = Pki::create(&folder.path().join("foreign")).device("listener-1");
    let mut stranger = listener(&folder.path().join("stranger"), broker.port, &tls(&foreign));
    stranger.start();
    let told = || log(&stranger).contains("check `port`, `authority_file`").then_some(());
    wait_for("word of what is wrong", DEADLINE, told);
    stranger.stop();
}
