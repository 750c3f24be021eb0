//! How many devices this machine holds connected at once, and what runs out first.

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::load::{Order, Up, Work, raise_files};
use harness::{Gateway, Load};

use crate::Bench;
use crate::load::{FILES_BESIDE, dial, start_gateway};
use crate::proc::{available_mib, processor_time, resident_mib, sockets_mib};
use crate::rounds::{float, rate};
use crate::sessions::settled;
use crate::stores::Store;
use crate::table::{Measure, Table};

/// Devices, one number after the other, until something runs out.
const STEPS: [usize; 2] = [20_000, 40_000];
/// For the whole search, certificates included.
const ALL: Duration = Duration::from_secs(240);
/// Memory that is left to the system: a search must not end in its out-of-memory killer.
const FREE_MIB_MIN: f64 = 2_048.0;
/// How long silent devices are watched.
const QUIET: Duration = Duration::from_secs(5);
/// Within this all must be back after a mass drop.
const BACK_S_MAX: f64 = 120.0;
/// What was connected in time is asked for a batch each, though the search is over then.
const PUBLISH_WITHIN: Duration = Duration::from_secs(20);
/// Readings of each device's one batch.
const READINGS: usize = 10;
/// From one look at what may run out to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Searches, from 20 000 devices on.
///
/// # Errors
/// When a process does not start, or the store has not what was published.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let name = "sessions_most";
    if bench.quick {
        table.skip(name, "only without --quick: it takes minutes");
        return Ok(());
    }
    let until = Instant::now() + ALL;
    let (mut most, mut first) = (Measure::new(name, 0.0, "sessions"), format!("nothing, up to {} devices", STEPS[1]));
    let mut reached = 0;
    for wanted in STEPS {
        let files = raise_files(u64::try_from(wanted)? + FILES_BESIDE);
        let devices = wanted.min(usize::try_from(files.saturating_sub(FILES_BESIDE))?);
        if devices > reached {
            match step(bench, devices, until)? {
                Step::Held(measure) => (most, reached) = (measure, devices),
                Step::Short(sessions, why) => {
                    first = format!("{why}, with {sessions} of {devices} devices connected");
                    break;
                }
            }
        }
        if devices < wanted {
            first = format!(
                "descriptors: a process may have {files} files open here (the hard limit, `ulimit -Hn`, which this user may \
                 not raise), and each session is one"
            );
            break;
        }
    }
    table.add(&most.note(format!("what runs out first: {first}")));
    Ok(())
}

/// What came of a number of devices.
enum Step {
    /// All were connected, and what they published was stored.
    Held(Measure),
    /// So many were connected when something ran out.
    Short(usize, String),
}

/// A gateway and its devices, and what they had taken when they were last looked at.
struct Stand {
    gateway: Gateway,
    load: Load,
    until: Instant,
}

fn step(bench: &Bench, devices: usize, until: Instant) -> anyhow::Result<Step> {
    let folder = bench.fresh("most")?;
    let (gateway, store) = start_gateway(&folder, Store::Sqlite, devices)?;
    let before = Taken::of(&gateway, None)?;
    let load = dial(&folder, &gateway, devices)?;
    let mut stand = Stand { gateway, load, until };
    let up = match stand.wait()? {
        Ok(up) => up,
        Err(why) => return Ok(Step::Short(stand.connected()?, why)),
    };
    settled(&stand.gateway)?;
    let silent_from = stand.gateway_s()?;
    std::thread::sleep(QUIET);
    let silent = (stand.gateway_s()? - silent_from) / QUIET.as_secs_f64();
    let connected = Taken::of(&stand.gateway, Some(&stand.load))?;
    let work = Work { run: 1, readings: READINGS, messages: 1, window: 1, every_us: None };
    let done = stand.load.publish(&work, until.saturating_duration_since(Instant::now()).max(PUBLISH_WITHIN))?;
    let proof = store.proof(&stand.gateway.database(), devices * READINGS)?;
    let measure = Measure::new("sessions_most", float(devices), "sessions")
        .note(format!("connected and subscribed in {}", words(&up, stand.gateway_s()?)))
        .note(connected.words(&before, devices))
        .note(format!(
            "{:.1} % of a processor while all are silent, with keep-alives 20 minutes apart; every minute they would be \
             {:.0} pings/s",
            100.0 * silent,
            float(devices) / 60.0
        ))
        .note(format!("a batch of {READINGS} readings from each in {:.1} s; {proof}", done.seconds));
    Ok(Step::Held(measure.note(stand.back(devices, &up)?)))
}

impl Stand {
    /// Waits until all are connected; else says what has run out.
    fn wait(&mut self) -> anyhow::Result<Result<Up, String>> {
        let (began, before) = (Instant::now(), self.processors_s()?);
        loop {
            if let Ok(up) = self.load.up(LOOK_EVERY) {
                return Ok(Ok(up));
            }
            anyhow::ensure!(self.load.process.ended().is_none(), "devices ended: {}", self.load.process.log_text());
            let gateway = self.gateway.process.as_mut().context("a gateway that runs")?;
            anyhow::ensure!(gateway.ended().is_none(), "the gateway ended: {}", gateway.log_text());
            let free = available_mib()?;
            if free < FREE_MIB_MIN {
                return Ok(Err(format!("memory: {free:.0} MiB are left")));
            }
            if Instant::now() >= self.until {
                let processors = std::thread::available_parallelism().map_or(1.0, |count| float(count.get()));
                let busy = (self.processors_s()? - before) / (began.elapsed().as_secs_f64() * processors);
                return Ok(Err(format!(
                    "time: {:.0} s of handshakes, with the processors {:.0} % busy with both ends",
                    began.elapsed().as_secs_f64(),
                    100.0 * busy
                )));
            }
        }
    }

    /// In words, how soon all are back after every socket was closed, if there is time to see that.
    fn back(&mut self, devices: usize, first: &Up) -> anyhow::Result<String> {
        let left = self.until.saturating_duration_since(Instant::now()).as_secs_f64();
        if left < 2.0 * first.seconds {
            return Ok(format!("no time to drop all: {left:.0} s of the search are left"));
        }
        self.load.order(&Order::Drop)?;
        let up = match self.wait()? {
            Ok(up) => up,
            Err(why) => return Ok(format!("not all were back after every socket was closed: {why}")),
        };
        let a_second = rate(devices, Duration::from_secs_f64(up.seconds));
        Ok(format!(
            "all back {:.1} s after every socket was closed, failed meanwhile: {:?}; at this pace {:.0} would be back within \
             {BACK_S_MAX:.0} s",
            up.seconds,
            up.failures,
            a_second * BACK_S_MAX
        ))
    }

    fn gateway_s(&self) -> anyhow::Result<f64> {
        Ok(processor_time(self.gateway.process.as_ref().context("a gateway that runs")?.id())?.as_secs_f64())
    }

    fn processors_s(&self) -> anyhow::Result<f64> {
        Ok(self.gateway_s()? + processor_time(self.load.process.id())?.as_secs_f64())
    }

    fn connected(&self) -> anyhow::Result<usize> {
        let text = ureq::get(format!("{}/metrics", self.gateway.http)).call()?.body_mut().read_to_string()?;
        let open = text.lines().find_map(|line| line.strip_prefix("tributary_connections_open ")?.parse().ok());
        open.context("the gateway counts its connections")
    }
}

fn words(up: &Up, gateway_s: f64) -> String {
    format!(
        "{:.1} s, {} connections tried, failed: {:?}; processor time: gateway {gateway_s:.1} s in all, devices {:.1} s",
        up.seconds, up.attempts, up.failures, up.processor_s
    )
}

/// Memory, in MiB.
struct Taken {
    gateway: f64,
    devices: f64,
    /// What the kernel keeps for sockets, on both ends.
    sockets: f64,
    available: f64,
}

impl Taken {
    fn of(gateway: &Gateway, load: Option<&Load>) -> anyhow::Result<Self> {
        let gateway = resident_mib(gateway.process.as_ref().context("a gateway that runs")?.id())?.0;
        let devices = load.map_or(Ok(0.0), |load| Ok::<_, anyhow::Error>(resident_mib(load.process.id())?.0))?;
        Ok(Self { gateway, devices, sockets: sockets_mib()?, available: available_mib()? })
    }

    fn words(&self, before: &Self, devices: usize) -> String {
        let each = |mib: f64| 1024.0 * mib / float(devices);
        let parts = [self.gateway - before.gateway, self.devices, self.sockets - before.sockets].map(each);
        // Others on the machine take and give, so that the whole may look like less than its parts.
        let taken = each(before.available - self.available).max(parts.iter().sum());
        format!(
            "KiB a session: gateway {:.1}, devices' end {:.1}, sockets' buffers {:.1}; with what the kernel adds {taken:.1}, and \
             {:.0} MiB are available: enough for {:.0} more",
            parts[0],
            parts[1],
            parts[2],
            self.available,
            1024.0 * self.available / taken.max(1.0)
        )
    }
}
