//! From publish to receipt, over TLS and MQTT, at half of what the gateway takes of such messages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent::uplink::mqtt::{Arrival, Connection};
use agent::uplink::{Pace, Settings};
use anyhow::Context;
use harness::pki::Files;
use harness::{Gateway, Pki};
use proto::frame::{Header, Sealed};
use proto::message::Receipt;
use proto::{Channel, DeviceId, Epoch, Frame, Lane};

use crate::Bench;
use crate::data::{CLOCK, HOUSEHOLD_SERIES, Household, START_US};
use crate::rounds::{float, quantile};
use crate::table::{Limit, Measure, Table};

const DEVICES: usize = 4;
/// Frames of one device without a receipt, as the agent's own window has it.
const WINDOW: usize = 16;
const FULL_LOAD_FOR: Duration = Duration::from_secs(3);
const HALF_LOAD_FOR: Duration = Duration::from_secs(10);
/// When a device whose receipts do not come gives up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// Takes the measures of this group.
///
/// # Errors
/// When the gateway does not answer.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let folder = bench.fresh("latency")?;
    let pki = Pki::create(&folder.join("pki"));
    // All at once: a certificate must not outlive the authority that was made a moment ago.
    let devices: Vec<(String, Files)> = (0..DEVICES).map(|index| named(&pki, index)).collect();
    let gateway = Gateway::start(&folder.join("gateway"), pki.server(), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let full = runtime.block_on(load(&devices, &gateway, 1, None, FULL_LOAD_FOR))?;
    let a_second = float(full.len()) / FULL_LOAD_FOR.as_secs_f64();
    let spacing = Duration::from_secs_f64(2.0 * float(DEVICES) / a_second);
    let lasts = if bench.quick { FULL_LOAD_FOR } else { HALF_LOAD_FOR };
    let half = runtime.block_on(load(&devices, &gateway, 2, Some(spacing), lasts))?;
    let words = format!(
        "{} frames of one batch of {HOUSEHOLD_SERIES} readings from {DEVICES} devices, {:.0}/s; without a pause it was {a_second:.0}/s",
        half.len(),
        float(half.len()) / lasts.as_secs_f64()
    );
    for (name, share, most) in [("receipt_p50", 0.5, 15.0), ("receipt_p99", 0.99, 150.0)] {
        let measure = Measure::new(name, quantile(half.clone(), share), "ms").limit(Limit::AtMost(most));
        table.add(
            &measure.note(&words).note("counted from when a frame was due; devices and gateway share the processors"),
        );
    }
    Ok(())
}

/// Milliseconds from publish to receipt of every frame. Without `spacing`, each device keeps its window full.
async fn load(
    devices: &[(String, Files)],
    gateway: &Gateway,
    run: u8,
    spacing: Option<Duration>,
    lasts: Duration,
) -> anyhow::Result<Vec<f64>> {
    let local = tokio::task::LocalSet::new();
    let mut tasks = Vec::new();
    for (device, files) in devices {
        let connection = connect(device, files.clone(), gateway)?;
        let device = Device::new(connection, Epoch([run; 8]), START_US + i64::from(run) * 86_400_000_000);
        tasks.push(local.spawn_local(device.run(spacing, lasts)));
    }
    local.await;
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

fn named(pki: &Pki, index: usize) -> (String, Files) {
    let device = format!("latency-{index}");
    let files = pki.device(&device);
    (device, files)
}

fn connect(device: &str, files: Files, gateway: &Gateway) -> anyhow::Result<Connection> {
    let settings = Settings {
        host: "localhost".to_owned(),
        port: gateway.mqtt_port,
        authority_file: files.authority,
        certificate_file: files.certificate,
        key_file: files.key,
        pace: Pace::default(),
    };
    let device: DeviceId = device.parse()?;
    let tls = agent::identity::tls(&settings)?;
    Ok(Connection::dial(&device, &settings.host, settings.port, tls, settings.pace.keep_alive))
}

/// A device that only publishes and listens.
struct Device {
    connection: Connection,
    household: Household,
    epoch: Epoch,
    start_us: i64,
    next: u64,
    /// When those without a receipt were due.
    waiting: BTreeMap<u64, Instant>,
    took_ms: Vec<f64>,
}

impl Device {
    fn new(connection: Connection, epoch: Epoch, start_us: i64) -> Self {
        let (waiting, took_ms) = (BTreeMap::new(), Vec::new());
        Self { connection, household: Household::new(), epoch, start_us, next: 1, waiting, took_ms }
    }

    async fn run(mut self, spacing: Option<Duration>, lasts: Duration) -> anyhow::Result<Vec<f64>> {
        let arrival = tokio::time::timeout(GIVE_UP_AFTER, self.connection.next()).await.context("no connection")?;
        anyhow::ensure!(matches!(arrival, Arrival::Up), "{arrival:?}");
        let start = Instant::now();
        let (end, mut due) = (start + lasts, start);
        loop {
            let now = Instant::now();
            while now < end && due <= now && self.waiting.len() < WINDOW {
                self.publish(if spacing.is_some() { due } else { Instant::now() })?;
                due += spacing.unwrap_or_default();
            }
            if now >= end && self.waiting.is_empty() {
                return Ok(self.took_ms);
            }
            anyhow::ensure!(now < end + GIVE_UP_AFTER, "{} receipts did not come", self.waiting.len());
            let wake = if now < end && self.waiting.len() < WINDOW { due.min(end) } else { now + GIVE_UP_AFTER };
            tokio::select! {
                arrival = self.connection.next() => self.arrived(arrival)?,
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn publish(&mut self, due: Instant) -> anyhow::Result<()> {
        let body = self.household.body(self.start_us, usize::try_from(self.next)?, 1);
        let header = Header { epoch: self.epoch, first: self.next, lane: Lane::Live, clock: CLOCK };
        let frame = Frame { header, bodies: vec![Sealed::new(body.encode()?)] };
        self.connection.publish(Channel::Batch, frame.encode())?;
        self.waiting.insert(self.next, due);
        self.next += 1;
        Ok(())
    }

    fn arrived(&mut self, arrival: Arrival) -> anyhow::Result<()> {
        let payload = match arrival {
            Arrival::Message(Channel::Receipt, payload) => payload,
            Arrival::Down(why) => anyhow::bail!("the connection ended: {why}"),
            _ => return Ok(()),
        };
        let receipt = Receipt::decode(&payload)?;
        anyhow::ensure!(receipt.refused.is_empty(), "refused: {:?}", receipt.refused);
        let now = Instant::now();
        for settled in receipt.ranges.iter().filter(|_| receipt.epoch == self.epoch) {
            while let Some((&number, &due)) = self.waiting.range(settled.range.first..=settled.range.last).next() {
                self.waiting.remove(&number);
                self.took_ms.push((now - due).as_secs_f64() * 1e3);
            }
        }
        Ok(())
    }
}
