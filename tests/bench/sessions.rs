//! Many devices connected at once: what a session weighs, and how soon all are back.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::Gateway;
use harness::load::{Order, Up, Work};

use crate::Bench;
use crate::handshakes;
use crate::load::{DEADLINE, connect, start_gateway};
use crate::rounds::{float, rate};
use crate::stores::Store;
use crate::table::{Limit, Measure, Table};

/// Devices that are connected at once; of the last one the design speaks.
const SESSIONS: [usize; 2] = [1_000, 10_000];
/// Memory that changes by less than this in a second has settled.
const SETTLED_KIB: u64 = 128;
/// How long it may take to settle.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

/// Takes the measures of this group.
///
/// # Errors
/// When not all devices can be connected.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let alone = handshakes::measure(bench, table)?;
    for full in SESSIONS {
        let devices = bench.size(full);
        let is_stated = full == SESSIONS[SESSIONS.len() - 1];
        let ending = if is_stated { String::new() } else { format!("_{full}") };
        let folder = bench.fresh("sessions")?;
        let seen = watch(&folder, devices)?;
        let limit = |measure: Measure, most| if is_stated { measure.limit(Limit::AtMost(most)) } else { measure };
        table.add(&limit(seen.memory(&ending, devices), 50.0));
        table.add(&limit(seen.back(&ending, devices, alone), 120.0));
    }
    Ok(())
}

/// What was seen.
struct Seen {
    before_kib: u64,
    connected_kib: u64,
    busy_kib: u64,
    up: Up,
    dropped: Up,
    restarted: Up,
    /// What the store says of itself, and that it has what was published.
    proof: String,
}

fn watch(folder: &Path, devices: usize) -> anyhow::Result<Seen> {
    let (mut gateway, store) = start_gateway(folder, Store::Sqlite, devices)?;
    let before_kib = settled(&gateway)?;
    let (mut load, up) = connect(folder, &gateway, devices)?;
    let connected_kib = settled(&gateway)?;
    // A session that has done something has the buffers that it needs for it.
    let work = Work { run: 1, readings: 100, messages: 2, window: 1, every_us: None };
    load.publish(&work, DEADLINE)?;
    let busy_kib = settled(&gateway)?;
    load.order(&Order::Drop)?;
    let dropped = load.up(DEADLINE).context("after every socket was closed")?;
    gateway.restart();
    let restarted = load.up(DEADLINE).context("after the gateway was killed")?;
    let proof = store.proof(&gateway.database(), devices * 200)?;
    Ok(Seen { before_kib, connected_kib, busy_kib, up, dropped, restarted, proof })
}

/// Resident memory once it changes no more.
pub(crate) fn settled(gateway: &Gateway) -> anyhow::Result<u64> {
    let process = gateway.process.as_ref().context("a gateway that runs")?;
    let (began, mut last) = (Instant::now(), process.resident_kib());
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = process.resident_kib();
        if now.abs_diff(last) < SETTLED_KIB || began.elapsed() > SETTLE_WITHIN {
            return Ok(now);
        }
        last = now;
    }
}

impl Seen {
    fn memory(&self, ending: &str, devices: usize) -> Measure {
        let mib = |kib: u64| float(usize::try_from(kib).unwrap_or(usize::MAX)) / 1024.0;
        let each = |kib: u64| 1024.0 * mib(kib.saturating_sub(self.before_kib)) / float(devices);
        Measure::new(format!("session_kib{ending}"), each(self.busy_kib), "KiB").note(format!(
            "{devices} sessions: the gateway's resident memory went from {:.1} MiB to {:.1} MiB, and to {:.1} MiB after two \
             batches of 100 readings from each; {:.1} KiB a session before these",
            mib(self.before_kib),
            mib(self.connected_kib),
            mib(self.busy_kib),
            each(self.connected_kib)
        ))
        .note(&self.proof)
    }

    fn back(&self, ending: &str, devices: usize, alone: f64) -> Measure {
        let slowest = self.dropped.seconds.max(self.restarted.seconds);
        let words = |what: &str, up: &Up| {
            format!("{what}: {:.1} s, {} connections tried, failed: {:?}", up.seconds, up.attempts, up.failures)
        };
        let a_second = |up: &Up| rate(devices, Duration::from_secs_f64(up.seconds));
        Measure::new(format!("sessions_back{ending}"), slowest, "s")
            .against("by the machine's own handshakes a second", float(devices) / alone)
            .note(words("all at once, the first time", &self.up))
            .note(words("after every socket was closed", &self.dropped))
            .note(words("after the gateway was killed and started again", &self.restarted))
            .note(format!(
                "connected and subscribed; devices wait as agents do, full jitter from 1 s on; {:.0}/s at first",
                a_second(&self.up)
            ))
            .note(&self.proof)
    }
}
