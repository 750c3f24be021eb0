//! A world: who is in it, what is due in it, and its two times, the hostile and the quiet one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent::uplink::Pace;
use proto::{BootId, DeviceId, Quality};

use super::cloud::{Cloud, set_wall_clock};
use super::device::Device;
use super::faults::Trouble;
use super::log::Log;
use super::network::{Message, Network, SECOND, Weather};
use super::oracle::Oracle;
use super::random::Random;
use crate::rig::{Fault, Found};

/// 2026-11-20T00:00:00Z: when worlds begin.
const BEGIN_US: i64 = 1_795_132_800_000_000;
/// How long the quiet time may last until every backlog is gone: a backoff of five minutes, a doubled deadline of ten,
/// the next hello after a quarter of an hour, and the same again for a copy that takes over.
const QUIET_MAX: u64 = 6 * 3_600 * SECOND;
/// Events after which a world is taken to go in circles.
const EVENTS_MAX: u64 = 400_000;

/// What is due.
#[derive(Debug)]
pub(super) enum What {
    /// Sources of a device have readings.
    Read(usize),
    /// A connection stands, if both ends can.
    Stands(usize),
    /// A connection does not come about.
    DialFails(usize),
    /// A message reaches the gateway.
    Up(Message),
    /// The same for the second time, however its connection is.
    UpAgain(Message),
    /// A message reaches an agent.
    Down(Message),
    /// An agent's MQTT client is to ping.
    Ping(usize),
    /// Its ping reaches the gateway.
    PingArrives(usize),
    /// A packet reaches an agent that says nothing but that the other end lives: PUBACK, PINGRESP.
    Heard(usize),
    /// The agent learns that its connection has ended.
    AgentLoses(usize),
    /// The gateway does.
    GatewayLoses(usize),
    /// The gateway records what waits.
    Commit,
    /// An agent starts (again).
    AgentStarts(usize),
    /// The gateway starts again.
    CloudStarts,
    /// Something goes wrong.
    Trouble,
}

/// Everything there is.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) folder: PathBuf,
    /// Microseconds since it began.
    pub(super) now: u64,
    start: Instant,
    pub(super) random: Random,
    pub(super) log: Log,
    pub(super) network: Network,
    pub(super) weather: Weather,
    pub(super) devices: Vec<Device>,
    pub(super) cloud: Cloud,
    pub(super) oracle: Oracle,
    pub(super) found: Found,
    /// What can go wrong in this world.
    pub(super) troubles: Vec<Trouble>,
    pub(super) is_quiet: bool,
    /// When the quiet time began.
    pub(super) quiet_since: u64,
    /// No database and no buffer was put back to an earlier day, and no disk was copied.
    pub(super) is_history_whole: bool,
    /// How far the gateway's wall clock is off.
    pub(super) cloud_off_us: i64,
    /// How long the gateway takes to commit, at most.
    pub(super) commit_max: u64,
    pub(super) is_commit_due: bool,
    /// The gateway's database takes nothing until then.
    pub(super) store_away_until: u64,
    /// Bytes of text beside each batch of readings, at most; large ones make buffers evict.
    pub(super) padding_max: usize,
    /// The last value that was given to a reading.
    pub(super) last_value: u64,
    due: BTreeMap<(u64, u64), What>,
    sequence: u64,
}

impl World {
    /// The world that follows from `seed`.
    ///
    /// # Errors
    /// When its databases cannot be made.
    pub(super) fn begin(seed: u64, folder: &Path, text: bool) -> anyhow::Result<Self> {
        let mut random = Random::new(seed);
        let mut world = Self {
            seed,
            folder: folder.into(),
            now: 0,
            start: Instant::now(),
            log: Log::new(text),
            network: Network::default(),
            weather: Weather {
                delay_max: random.of(&[SECOND / 20, SECOND, 20 * SECOND]),
                twice: random.of(&[0, 3, 20]),
                receipt_lost: random.of(&[0, 3, 20]),
            },
            devices: Vec::new(),
            cloud: Cloud::new(folder),
            oracle: Oracle::new(),
            found: Found::default(),
            troubles: Trouble::some(&mut random),
            is_quiet: false,
            quiet_since: 0,
            is_history_whole: true,
            cloud_off_us: 0,
            commit_max: random.of(&[SECOND / 50, SECOND, 30 * SECOND]),
            is_commit_due: false,
            store_away_until: 0,
            padding_max: 0,
            last_value: 0,
            due: BTreeMap::new(),
            sequence: 0,
            random,
        };
        world.set_clock();
        world.cloud.start()?;
        world.oracle.open(world.cloud.path())?;
        let small = world.troubles.contains(&Trouble::Evictions);
        world.padding_max = if small { 8_000 } else { 0 };
        for index in 0..world.random.between(1, 4) {
            let name: DeviceId = format!("device-{index}").parse()?;
            let path = folder.join(format!("agent-{index}.db"));
            let bytes_max = if small { world.random.between(500, 900) * 1024 } else { 8 << 20 };
            let pace = world.any_pace();
            world.devices.push(Device::new(name, path, bytes_max, pace));
            let at = world.devices.len() - 1;
            world.boot(at);
            let (first, start) = (world.soon(10), world.soon(10));
            world.plan(first, What::Read(at));
            world.plan(start, What::AgentStarts(at));
        }
        let first = world.soon(60);
        world.plan(first, What::Trouble);
        Ok(world)
    }

    /// Lives it to its end, and has it judged.
    ///
    /// # Errors
    /// When something fails that nothing here makes fail.
    pub(super) fn live(&mut self) -> anyhow::Result<Found> {
        // A buffer needs some minutes until it is full.
        let least = if self.padding_max > 0 { 9 } else { 3 };
        let hostile_until = self.random.between(least, 18) * 60 * SECOND;
        let mut events = 0;
        while self.now < hostile_until && events < EVENTS_MAX {
            self.step()?;
            events += 1;
        }
        self.quieten()?;
        let quiet_until = self.now + QUIET_MAX;
        while !self.is_done()? && self.now < quiet_until && events < EVENTS_MAX {
            self.step()?;
            events += 1;
        }
        let (waiting, took) = (self.backlog()?, Duration::from_micros(self.now + QUIET_MAX - quiet_until));
        let seed = self.seed;
        self.found.fault(Fault::Lost, waiting, || {
            format!("seed {seed}: {waiting} batches wait for ever, {took:?} after everything works ({events} events)")
        });
        self.oracle.look()?;
        let held = self.held()?;
        self.log.note(self.now, format_args!("judged: {} values, {} held", self.last_value, held.len()));
        let judged = self.oracle.judge(&held, self.is_history_whole, seed)?;
        self.found.add(judged);
        self.found.did("simulation_seeds", 1);
        Ok(std::mem::take(&mut self.found))
    }

    /// The next thing that is due: an event, or a session's deadline.
    fn step(&mut self) -> anyhow::Result<()> {
        let deadline = |(at, device): (usize, &Device)| Some((device.running.as_ref()?.session.deadline(), at));
        let wake = self.devices.iter().enumerate().filter_map(deadline).min();
        let wake = wake.map(|(when, at)| (micros(when.saturating_duration_since(self.start)), at));
        let event = self.due.first_key_value().map(|(key, _)| *key);
        match (wake, event) {
            (Some((when, at)), event) if event.is_none_or(|(due, _)| when < due) => {
                self.now = self.now.max(when);
                self.set_clock();
                let now = self.instant();
                if let Some(running) = &mut self.devices[at].running {
                    running.session.handle_deadline(now);
                }
                self.obey(at)
            }
            (_, Some(key)) => {
                self.now = self.now.max(key.0);
                self.set_clock();
                let Some(what) = self.due.remove(&key) else { return Ok(()) };
                self.happen(what)
            }
            _ => {
                self.now += SECOND;
                Ok(())
            }
        }
    }

    fn happen(&mut self, what: What) -> anyhow::Result<()> {
        match what {
            What::Read(at) => self.read(at),
            What::Stands(connection) => self.stands(connection),
            What::DialFails(connection) | What::AgentLoses(connection) => self.agent_loses(connection),
            What::GatewayLoses(connection) => {
                self.gateway_loses(connection);
                Ok(())
            }
            What::Up(message) => {
                let has_it = self.network.connections[message.connection].gateway_has_it;
                if has_it && self.network.arrives(message.connection, self.now) {
                    self.reaches_cloud(&message);
                }
                Ok(())
            }
            What::UpAgain(message) => {
                self.reaches_cloud(&message);
                Ok(())
            }
            What::Down(message) => self.reaches_agent(&message),
            What::Ping(connection) => self.ping(connection),
            What::PingArrives(connection) => {
                self.ping_arrives(connection);
                Ok(())
            }
            What::Heard(connection) => self.heard(connection),
            What::Commit => self.commit(),
            What::AgentStarts(at) => self.start_agent(at),
            What::CloudStarts => self.start_cloud(),
            What::Trouble => self.trouble(),
        }
    }

    /// Has `what` happen `at`.
    pub(super) fn plan(&mut self, at: u64, what: What) {
        self.sequence += 1;
        self.due.insert((at, self.sequence), what);
    }

    /// Some time within the next `seconds`.
    pub(super) fn soon(&mut self, seconds: u64) -> u64 {
        self.now + self.random.between(1, seconds * SECOND)
    }

    /// Now, as a session counts.
    pub(super) fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    /// What time it really is.
    pub(super) fn true_time_us(&self) -> i64 {
        BEGIN_US + i64::try_from(self.now).unwrap_or(i64::MAX - BEGIN_US)
    }

    pub(super) fn set_clock(&self) {
        set_wall_clock(self.true_time_us() + self.cloud_off_us);
    }

    /// A boot of a device begins; what it believes of the time is true, long ago, or nothing.
    pub(super) fn boot(&mut self, at: usize) {
        let boot = BootId(self.random.next().to_be_bytes());
        let years = i64::try_from(self.random.between(0, 40)).unwrap_or(0) - 20;
        let off_us = years * 365 * 86_400 * 1_000_000;
        let (offset_us, quality) = match self.random.between(0, 3) {
            0 => (0, Quality::Unset),
            1 => (self.true_time_us() + off_us, Quality::Held),
            _ => (self.true_time_us(), Quality::Synced),
        };
        self.oracle.clock(boot, offset_us);
        self.devices[at].boot(boot, offset_us, quality, self.now);
    }

    fn any_pace(&mut self) -> Pace {
        let usual = Pace::default();
        Pace {
            frame_bytes_max: self.random.of(&[300, 2_000, usual.frame_bytes_max]),
            window_frames: self.random.of(&[2, 4, usual.window_frames]),
            window_bytes: self.random.of(&[4_000, usual.window_bytes]),
            hello_every: self.random.of(&[Duration::from_secs(120), usual.hello_every]),
            reconnect_max: self.random.of(&[Duration::from_secs(20), usual.reconnect_max]),
            ..usual
        }
    }
}

/// Rounded up: a deadline counts in nanoseconds, and must have passed when it is handled.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}
