//! An agent at the end of a hostile line: its readings come over a serial line that we hold, and its connections go
//! through a [`Proxy`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::judge::{self, Verdict};
use crate::offered::{self, Key};
use crate::pki::Pki;
use crate::proxy::Proxy;
use crate::pty::Port;
use crate::{Agent, Gateway};

/// The series that the serial line brings.
const SERIES: &str = "count";
/// The first reading's time, 2026-09-21; the others follow a second apart.
const START_US: i64 = 1_790_000_000_000_000;
/// Lines that the kernel surely holds (4 KiB) until they are read.
const LINES_AT_ONCE: usize = 32;
/// For the agent to read the line, which it does at once.
const LINE_DEADLINE: Duration = Duration::from_secs(20);

/// The agent, its lines in and out, and what it was offered.
pub struct Outpost {
    /// The agent.
    pub agent: Agent,
    /// Before the gateway.
    pub proxy: Proxy,
    port: Port,
    offered: Vec<Key>,
    database: PathBuf,
    counter: Option<Connection>,
}

impl Outpost {
    /// An agent that is not running yet, quick to seal and to connect again. `more` is more of its configuration.
    ///
    /// # Errors
    /// When the system has no pseudo-terminal or no port to give.
    pub fn new(folder: &Path, device: &str, pki: &Pki, gateway: &Gateway, more: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let port = Port::open(&folder.join("line")).context("open a pseudo-terminal")?;
        let proxy = Proxy::start(gateway.mqtt_port).context("start a proxy")?;
        let path = &port.path;
        let sources = format!(
            "[sealer]\nlinger_ms = 2\nreadings_max = 64\n{more}\
             [[source]]\nname = \"line\"\ntype = \"serial\"\nport = {path:?}\nformat = \"json\"\n\
             trust_first_line = true\ntime = {{ column = \"time\", unit = \"us\" }}\n\
             series = [{{ column = \"{SERIES}\", name = \"{SERIES}\", unit = \"1\" }}]\n"
        );
        let agent = Agent::new(&folder.join("agent"), device, Some(proxy.port), &pki.device(device), &sources);
        agent.set_uplink("reconnect_s_min", "0.01");
        agent.set_uplink("reconnect_s_max", "0.01");
        Ok(Self { agent, proxy, port, offered: Vec::new(), database: gateway.database(), counter: None })
    }

    /// Offers `count` more readings on the serial line, and waits until the agent has read them.
    ///
    /// # Errors
    /// When it does not read them.
    pub fn offer(&mut self, count: usize) -> anyhow::Result<()> {
        for index in 0..count {
            if index % LINES_AT_ONCE == 0 {
                self.wait_until_read()?; // a busy machine's agent may be slow to read what is there
            }
            let place = i64::try_from(self.offered.len())?;
            let time_us = START_US + place * 1_000_000;
            anyhow::ensure!(
                self.port.send(&format!("{{\"time\":{time_us},\"{SERIES}\":{place}}}")),
                "the line is full"
            );
            let value = f64::from(i32::try_from(place)?);
            self.offered.push(Key { series: SERIES.into(), time_us, ordinal: 0, bits: value.to_bits() });
        }
        self.wait_until_read()
    }

    fn wait_until_read(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.port.is_drained() {
            anyhow::ensure!(began.elapsed() < LINE_DEADLINE, "the agent does not read its serial line");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Rows that reach the agent by another source: `(time, value)` of `series`, in their order.
    pub fn also_offers(&mut self, series: &str, rows: impl IntoIterator<Item = (i64, f64)>) {
        self.offered.extend(offered::keys(series, rows));
    }

    /// How many readings were offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.offered.len() as u64
    }

    /// How many readings of this device the gateway's database counts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stored(&mut self) -> anyhow::Result<u64> {
        if self.counter.is_none() {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection =
                Connection::open_with_flags(&self.database, flags).context("open the gateway's database")?;
            connection.busy_timeout(Duration::from_secs(5))?;
            self.counter = Some(connection);
        }
        let Some(counter) = &self.counter else { return Ok(0) };
        let mut statement = counter.prepare_cached("select readings from device where name = ?")?;
        let count: Option<i64> = statement.query_row([&self.agent.device], |row| row.get(0)).optional()?;
        Ok(count.unwrap_or(0).cast_unsigned())
    }

    /// Whether all that was offered is stored.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_settled(&mut self) -> anyhow::Result<bool> {
        Ok(self.stored()? >= self.offered())
    }

    /// Waits until all that was offered is stored, at most `deadline`; answers whether it is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn settles(&mut self, deadline: Duration) -> anyhow::Result<bool> {
        let began = Instant::now();
        while !self.is_settled()? {
            if began.elapsed() > deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    /// Holds the gateway's database against what was offered.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn judge(&self) -> anyhow::Result<Verdict> {
        Ok(judge::compare(&self.offered, &judge::stored(&self.database, &self.agent.device)?))
    }

    /// What the gateway noted beside readings, though nothing was lost or damaged: gaps, quarantine, alarms.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn notes(&mut self) -> anyhow::Result<Vec<String>> {
        self.stored()?; // opens the database
        let Some(counter) = &self.counter else { return Ok(Vec::new()) };
        let mut statement = counter.prepare_cached(
            "with own as (select id from device where name = ?)
             select 'gap: ' || reason from gap join own on device = own.id
             union all select 'quarantined: ' || reason from quarantine join own on device = own.id
             union all select 'alarm: ' || kind || ' × ' || count from alarm join own on device = own.id",
        )?;
        let notes = statement.query_map([&self.agent.device], |row| row.get(0))?;
        Ok(notes.collect::<Result<_, _>>()?)
    }
}
