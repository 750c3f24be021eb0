//! The gateway under attack: the real program, what it has counted, and a device that must not notice anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::database::Database;
use harness::mqtt::{Packet, Stream};
use harness::pki::Files;
use harness::{Gateway, wait_for};

/// For the gateway to do what it always does. Generous: machines that test are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// For counters to follow what a client has already seen.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);
/// The neighbour's name.
pub(crate) const NEIGHBOUR: &str = "neighbour-1";

/// A gateway and a neighbour.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    neighbour: Neighbour,
    database: Database,
}

impl Site {
    /// A gateway of `files` in `folder`; `neighbour` is the device that goes on all the time.
    ///
    /// # Errors
    /// When the neighbour is not let in.
    pub(crate) fn start(
        folder: &Path,
        files: Files,
        crl: Option<std::path::PathBuf>,
        neighbour: Files,
    ) -> anyhow::Result<Self> {
        let mut gateway = Gateway::prepare(&folder.join("gateway"), files, "");
        gateway.crl = crl;
        Self::of(gateway, neighbour)
    }

    /// The same of a gateway that does not run yet.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn of(gateway: Gateway, neighbour: Files) -> anyhow::Result<Self> {
        let database = Database::Sqlite(gateway.database());
        Self::on(database, gateway, NEIGHBOUR, neighbour)
    }

    /// The same of a gateway that keeps what it has in `database`, with a neighbour of that name.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn on(database: Database, mut gateway: Gateway, name: &str, neighbour: Files) -> anyhow::Result<Self> {
        gateway.restart();
        let neighbour = Neighbour::connect(gateway.mqtt_port, name, neighbour)?;
        Ok(Self { gateway, neighbour, database })
    }

    pub(crate) fn port(&self) -> u16 {
        self.gateway.mqtt_port
    }

    /// The gateway's process id.
    pub(crate) fn id(&self) -> u32 {
        self.gateway.process.as_ref().map_or(0, harness::process::Process::id)
    }

    /// The neighbour publishes a reading and has it acknowledged, which is after the commit.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn others_go_on(&mut self) -> anyhow::Result<Duration> {
        self.neighbour.speak().context("another device is disturbed")
    }

    /// What the gateway has counted.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) fn counted(&self) -> anyhow::Result<Counted> {
        let text = self.gateway.text("/metrics")?;
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        Ok(Counted(lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()))
    }

    /// Waits until the gateway has counted `wanted` since `before`, and answers what it has counted otherwise.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) fn has_counted(&self, before: &Counted, wanted: &Counts) -> anyhow::Result<Option<String>> {
        let began = Instant::now();
        loop {
            let since = Counts::between(before, &self.counted()?);
            if since == *wanted {
                return Ok(None);
            }
            if began.elapsed() > COUNTED_WITHIN {
                return Ok(Some(format!("counted {since:?} where {wanted:?} was due")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Resident memory of the gateway in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.gateway.process.as_ref().map_or(0, harness::process::Process::resident_kib)
    }

    /// What the gateway's threads have used of the processors.
    pub(crate) fn processor_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).into_iter().flatten().flatten();
        let of = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(tasks.filter_map(of).sum())
    }

    /// Ends the gateway in good order. Everything the neighbour has had acknowledged must be stored, once; and of others as
    /// many readings as `expected` says. Answers how many readings the neighbour has.
    ///
    /// # Errors
    /// When that is not so, or the gateway did not live to this day.
    pub(crate) fn conclude(mut self, expected: &[(String, u64)]) -> anyhow::Result<u64> {
        let mut process = self.gateway.process.take().context("the gateway runs")?;
        anyhow::ensure!(process.ended().is_none(), "the gateway has ended:\n{}", process.log_text());
        let text = process.log_text();
        anyhow::ensure!(!text.contains("panicked"), "something panicked:\n{text}");
        anyhow::ensure!(!text.contains("this is a defect"), "a task failed:\n{text}");
        let ended = process.terminate();
        anyhow::ensure!(ended.success(), "the gateway ended with {ended}");
        let stored = self.database.ledger(&self.neighbour.name)?.readings.len() as u64;
        let said = self.neighbour.said;
        anyhow::ensure!(stored == said, "the neighbour said {said} readings, {stored} are stored");
        for (device, expected) in expected {
            let stored = self.database.ledger(device)?.readings.len() as u64;
            anyhow::ensure!(stored == *expected, "{stored} readings of {device} are stored, where {expected} are due");
        }
        Ok(stored)
    }
}

/// Everything on `/metrics`.
#[derive(Clone, Debug)]
pub(crate) struct Counted(BTreeMap<String, f64>);

impl Counted {
    /// One of them, without the beginning that they all have.
    pub(crate) fn get(&self, name: &str) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of one run")]
        let count = self.0.get(&format!("tributary_{name}")).copied().unwrap_or(0.0) as u64;
        count
    }
}

/// What the listener has counted in some span. The neighbour's publishes are left out by not having any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) handshakes_failed: u64,
    pub(crate) connects_refused: u64,
    pub(crate) connections: u64,
    pub(crate) publishes: u64,
    pub(crate) publishes_denied: u64,
    pub(crate) wrong_packets: u64,
    /// Handshakes at the door for people.
    pub(crate) people_failed: u64,
}

impl Counts {
    pub(crate) fn between(before: &Counted, after: &Counted) -> Self {
        let since = |name: &str| after.get(name).saturating_sub(before.get(name));
        Self {
            handshakes_failed: since("handshakes_failed_total"),
            connects_refused: since("connects_refused_total"),
            connections: since("connections_total"),
            publishes: since("publishes_total"),
            publishes_denied: since("publishes_denied_total"),
            people_failed: since("http_handshakes_failed_total"),
            wrong_packets: since("protocol_errors_total") + since("oversized_total"),
        }
    }
}

/// A device that publishes when it is told to.
struct Neighbour {
    name: String,
    stream: Stream,
    said: u64,
    began_s: u64,
}

impl Neighbour {
    fn connect(port: u16, name: &str, files: Files) -> anyhow::Result<Self> {
        let mut stream = Stream::connect(port, &files)?;
        stream.send(&Packet::Connect { client: name.into(), clean: true, keep_alive_s: 600 })?;
        let answer = stream.wait(PATIENCE).context("wait for CONNACK")?;
        anyhow::ensure!(matches!(answer, Packet::ConnAck { code: 0, .. }), "not let in: {answer:?}");
        Ok(Self { name: name.into(), stream, said: 0, began_s: now_s().saturating_sub(86_400) })
    }

    fn speak(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let payload = pack("steady", self.began_s + self.said, self.said);
        let topic = format!("trib/1/{}/senml", self.name);
        let id = u16::try_from(1 + self.said % 60_000)?;
        self.stream.send(&Packet::Publish { topic, id: Some(id), dup: false, retain: false, payload })?;
        let answer = self.stream.wait(PATIENCE).context("wait for PUBACK")?;
        anyhow::ensure!(answer == Packet::PubAck(id), "an answer that was not asked for: {answer:?}");
        self.said += 1;
        Ok(began.elapsed())
    }
}

/// A reading as SenML.
pub(crate) fn pack(series: &str, seconds: u64, value: u64) -> Vec<u8> {
    format!(r#"[{{"n":"{series}","u":"W","t":{seconds},"v":{value}}}]"#).into_bytes()
}

/// Seconds since the Unix epoch.
pub(crate) fn now_s() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "certificates and readings are made for now")]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Waits until the gateway has so many connections, of which one is the neighbour's.
///
/// # Panics
/// When it does not.
pub(crate) fn wait_for_connections(site: &Site, count: u64) {
    wait_for("connections to end", PATIENCE, || (site.counted().ok()?.get("connections_open") == count).then_some(()));
}
