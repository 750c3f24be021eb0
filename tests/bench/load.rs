//! A gateway as it is released, and devices in another process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use harness::load::{Done, Job, Up, Work, raise_files};
use harness::{Gateway, Load, Pki};

use crate::Bench;
use crate::proc::processor_time;
use crate::rounds::{float, rate};
use crate::stores::{Running, Store};

/// Files that one session takes on either side, and what both processes have beside.
pub(crate) const FILES_BESIDE: u64 = 256;
/// Connections that come while others have not gone yet.
const HALF_OPEN: usize = 1_024;
/// The most devices that fit into the gateway's own `connections_max`, with those.
const DEVICES_BY_DEFAULT: usize = 20_000 - HALF_OPEN;
/// For all of an order to be settled, or all devices to be connected. A figure that takes longer is none.
pub(crate) const DEADLINE: Duration = Duration::from_secs(300);

/// A gateway on a store, and a fleet that is connected to it.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) load: Load,
    pub(crate) up: Up,
    store: Running,
    devices: usize,
    /// The last order's number: each has an epoch of its own.
    run: u8,
    /// Readings that receipts cover.
    confirmed: usize,
}

/// What one order cost and gave.
pub(crate) struct Run {
    pub(crate) done: Done,
    /// Processor time of the gateway and of the store's own server, in seconds.
    pub(crate) gateway_s: f64,
    pub(crate) store_s: f64,
    commits: u64,
}

impl Site {
    /// Starts both, and waits until all devices are connected.
    ///
    /// # Errors
    /// When they are not in time.
    pub(crate) fn open(bench: &Bench, name: &str, store: Store, devices: usize) -> anyhow::Result<Self> {
        let folder = bench.fresh(name)?;
        let (gateway, store) = start_gateway(&folder, store, devices)?;
        let (load, up) = connect(&folder, &gateway, devices)?;
        Ok(Self { gateway, load, up, store, devices, run: 0, confirmed: 0 })
    }

    /// Has every device publish `messages` of `readings` each, as fast as `window` allows, or one `every` so often.
    ///
    /// # Errors
    /// When not all of it is covered by receipts in time.
    pub(crate) fn publish(
        &mut self,
        readings: usize,
        messages: usize,
        window: usize,
        every: Option<Duration>,
    ) -> anyhow::Result<Run> {
        self.run = self.run.checked_add(1).context("too many orders")?;
        let every_us = every.map(|every| u64::try_from(every.as_micros())).transpose()?;
        let work = Work { run: self.run, readings, messages, window, every_us };
        let before = self.times()?;
        let done = self.load.publish(&work, DEADLINE)?;
        let after = self.times()?;
        anyhow::ensure!(done.failures.is_empty(), "connections ended: {:?}", done.failures);
        let wanted = readings * messages * self.devices;
        anyhow::ensure!(done.readings == wanted, "{} of {wanted} readings confirmed", done.readings);
        self.confirmed += done.readings;
        Ok(Run { done, gateway_s: after.0 - before.0, store_s: after.1 - before.1, commits: after.2 - before.2 })
    }

    /// What the store says of itself, and that it holds just what receipts cover.
    ///
    /// # Errors
    /// When it holds less or more.
    pub(crate) fn proof(&self) -> anyhow::Result<String> {
        self.store.proof(&self.gateway.database(), self.confirmed).context("what receipts cover")
    }

    fn times(&self) -> anyhow::Result<(f64, f64, u64)> {
        let of = |process| anyhow::Ok(processor_time(process)?.as_secs_f64());
        let gateway = self.gateway.process.as_ref().context("a gateway that runs")?.id();
        let store = self.store.processes().into_iter().map(of).sum::<anyhow::Result<f64>>()?;
        let text = ureq::get(format!("{}/metrics", self.gateway.http)).call()?.body_mut().read_to_string()?;
        let commits = text.lines().find_map(|line| line.strip_prefix("tributary_commits_total ")?.parse().ok());
        Ok((of(gateway)?, store, commits.context("the gateway counts its commits")?))
    }
}

impl Run {
    /// Readings a second.
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        rate(self.done.readings, Duration::from_secs_f64(self.done.seconds))
    }

    /// Messages a second.
    #[must_use]
    pub(crate) fn messages(&self) -> f64 {
        rate(self.done.messages, Duration::from_secs_f64(self.done.seconds))
    }

    /// Who took which part of the processors, and what a million readings cost: that figure stands on a busy machine
    /// too, where others take time that a rate then lacks.
    #[must_use]
    pub(crate) fn shares(&self) -> String {
        let all = self.done.processor_s + self.gateway_s + self.store_s;
        let percent = |part: f64| 100.0 * part / all.max(1e-9);
        let millions = float(self.done.readings) / 1e6;
        format!(
            "processor time: devices {:.0} %, gateway {:.0} %, store's server {:.0} %; {:.2} s of {} processors' {:.2} s, \
             {:.2} s a million readings; {} commits",
            percent(self.done.processor_s),
            percent(self.gateway_s),
            percent(self.store_s),
            all,
            std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            self.done.seconds * std::thread::available_parallelism().map_or(1.0, |count| float(count.get())),
            all / millions.max(1e-9),
            self.commits
        )
    }
}

/// A gateway of the release that may hold `devices` connections, beside an authority in the same `folder`.
///
/// # Errors
/// When the system allows too few files, or the store does not start.
pub(crate) fn start_gateway(
    folder: &std::path::Path,
    store: Store,
    devices: usize,
) -> anyhow::Result<(Gateway, Running)> {
    let wanted = u64::try_from(devices)? + FILES_BESIDE;
    let files = raise_files(wanted);
    anyhow::ensure!(files >= wanted, "{files} files may be open at once here, and {wanted} are wanted (ulimit -n)");
    let pki = Pki::create(&folder.join("pki"));
    let _ = pki.fleet(devices); // its name is known
    let files = pki.server();
    let store = store.start(folder, &files)?;
    let mut gateway = Gateway::prepare(&folder.join("gateway"), files, "");
    gateway.store = store.config();
    gateway.connections_max = (devices > DEVICES_BY_DEFAULT).then_some(devices + HALF_OPEN);
    gateway.restart();
    Ok((gateway, store))
}

/// The devices' process, whose devices begin to connect.
///
/// # Errors
/// When it does not start.
pub(crate) fn dial(folder: &std::path::Path, gateway: &Gateway, devices: usize) -> anyhow::Result<Load> {
    let pki: PathBuf = folder.join("pki");
    let (authority, fleet) = (pki.join("authority/ca.crt"), pki.join(format!("fleet-{devices}")));
    let job = Job { port: gateway.mqtt_port, authority, fleet, devices, spread_ms: 0 };
    Load::start(&job, folder)
}

/// The devices' process, and all devices connected.
///
/// # Errors
/// When they are not in time.
pub(crate) fn connect(folder: &std::path::Path, gateway: &Gateway, devices: usize) -> anyhow::Result<(Load, Up)> {
    let load = dial(folder, gateway, devices)?;
    let up = load.up(DEADLINE)?;
    Ok((load, up))
}
