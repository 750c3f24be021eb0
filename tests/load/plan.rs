//! What is published, made before the clock starts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use harness::load::Work;
use proto::frame::{Header, Sealed};
use proto::{Basis, Body, BootId, Clock, Column, Epoch, Frame, Instant, Kind, Lane, Quality, Reading, Series, Value};

/// 2026-11-20T00:00:00Z.
const START_US: i64 = 1_795_132_800_000_000;
const BOOT: BootId = BootId([0x3d, 0x91, 0x0c, 0xe7, 0x58, 0x42, 0xb6, 0x1f]);
/// Households that differ. A device has one of them: what it sends is not what its neighbour sends.
const VARIANTS: usize = 8;

/// What each device sends, in its order.
pub(crate) struct Plan {
    /// What was ordered.
    pub(crate) work: Work,
    /// Of all messages.
    pub(crate) epoch: Epoch,
    frames: Vec<Vec<Bytes>>,
}

impl Plan {
    /// Encodes every frame: the committed power at 1 Hz, a series a device, each batch after the one before.
    ///
    /// # Errors
    /// When the readings do not fit.
    pub(crate) fn make(work: &Work) -> anyhow::Result<Self> {
        anyhow::ensure!(work.readings > 0 && work.messages > 0 && work.window > 0, "nothing to do: {work:?}");
        let watts = watts()?;
        let epoch = Epoch([work.run; 8]);
        let frames = (0..VARIANTS).map(|variant| {
            (0..work.messages).map(|place| frame(work, epoch, &watts, variant, place)).collect::<anyhow::Result<_>>()
        });
        Ok(Self { work: work.clone(), epoch, frames: frames.collect::<anyhow::Result<_>>()? })
    }

    /// What `device` sends as `number`, counted from 1.
    pub(crate) fn frame(&self, device: usize, number: u64) -> Option<&Bytes> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        self.frames.get(device % VARIANTS)?.get(place)
    }

    /// Between two messages of one device.
    pub(crate) fn every(&self) -> Option<Duration> {
        self.work.every_us.map(Duration::from_micros)
    }

    /// How much later than the first one's `device`'s messages are due, so that they do not all come at once.
    pub(crate) fn phase(&self, device: usize, devices: usize) -> Duration {
        let share = u32::try_from(device).unwrap_or(0);
        let of = u32::try_from(devices).unwrap_or(u32::MAX).max(1);
        self.every().map_or(Duration::ZERO, |every| every * share / of)
    }
}

fn frame(work: &Work, epoch: Epoch, watts: &[f64], variant: usize, place: usize) -> anyhow::Result<Bytes> {
    let day = i64::from(work.run) * 86_400_000_000;
    let reading = |second: usize| {
        let time = START_US + day + i64::try_from(second).unwrap_or(0) * 1_000_000;
        Reading::new(Instant(time), Value::Number(watts[(second + variant * 2_503) % watts.len()]))
    };
    let from = place * work.readings;
    let readings = (from..from + work.readings).map(reading).collect();
    let series = Series { name: "power.active".parse()?, unit: "W".parse()?, kind: Kind::Gauge };
    let body = Body { boot: BOOT, columns: vec![Column { series, basis: Basis::Source, readings }] };
    let clock = Clock { boot: BOOT, offset_us: START_US - 271_828_182_845, quality: Quality::Synced };
    let header = Header { epoch, first: place as u64 + 1, lane: Lane::Live, clock };
    Ok(Frame { header, bodies: vec![Sealed::new(body.encode()?)] }.encode().into())
}

fn watts() -> anyhow::Result<Vec<f64>> {
    let text = harness::data("power.csv.gz");
    let watts = |line: &str| line.split_once(',').context("two columns")?.1.parse().context("watts");
    text.lines().skip(1).filter(|line| !line.is_empty()).map(watts).collect()
}

/// A plan, and when its clock started.
#[derive(Clone)]
pub(crate) struct Started {
    pub(crate) plan: Arc<Plan>,
    pub(crate) at: std::time::Instant,
}
