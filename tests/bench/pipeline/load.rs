//! What is fed in, and the rows that it must become.

use proto::frame::{Header, Sealed};
use proto::{DeviceId, Epoch, Frame, Lane};

use crate::data::{CLOCK, Row, START_US, Set};

/// How many of what.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) devices: usize,
    pub(super) batches_a_frame: usize,
    /// Frames of one device that count; one more is fed before, so that the gateway knows each device.
    pub(super) frames: usize,
}

/// Readings of a batch.
pub(super) const READINGS_A_BATCH: usize = 100;

/// The device's place, and what it publishes.
pub(super) type Published = (usize, bytes::Bytes);

/// A row of table `reading` as it must become: whose, what, and in which batch.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    /// The key of its series, and of its epoch, in a database where devices are entered in their order.
    pub(super) key: i64,
    pub(super) row: Row,
    pub(super) number: i64,
}

/// What is fed in, and the rows that it must become.
pub(super) struct Load {
    pub(super) shape: Shape,
    pub(super) devices: Vec<DeviceId>,
    /// First one of each device that does not count, then all in turns.
    pub(super) frames: Vec<Published>,
    pub(super) rows: Vec<Stored>,
}

impl Load {
    pub(super) fn new(shape: Shape) -> anyhow::Result<Self> {
        let power = Set::power();
        let mut load = Self { shape, devices: Vec::new(), frames: Vec::new(), rows: Vec::new() };
        for device in 0..shape.devices {
            load.devices.push(format!("meter-{device:04}").parse()?);
        }
        for place in 0..=shape.frames {
            for device in 0..shape.devices {
                let frame = load.frame(&power, place, device)?;
                load.frames.push((device, frame));
            }
        }
        Ok(load)
    }

    /// Frames that do not count, and those that do.
    pub(super) fn frames(&self) -> (&[Published], &[Published]) {
        self.frames.split_at(self.shape.devices)
    }

    /// The rows of those that do not count, and of those that do.
    pub(super) fn rows(&self) -> (&[Stored], &[Stored]) {
        self.rows.split_at(self.shape.devices * self.shape.batches_a_frame * READINGS_A_BATCH)
    }

    /// What it is, for people.
    pub(super) fn words(&self) -> String {
        let (rows, frames) = (self.rows().1.len(), self.frames().1.len());
        let Shape { devices, batches_a_frame, .. } = self.shape;
        format!(
            "{rows} rows: {frames} frames of {batches_a_frame} batches of {READINGS_A_BATCH} from {devices} devices"
        )
    }

    /// One frame of `device`, with one reading a second; its rows are noted.
    fn frame(&mut self, power: &Set, place: usize, device: usize) -> anyhow::Result<bytes::Bytes> {
        let first = place * self.shape.batches_a_frame + 1;
        let key = i64::try_from(device)? + 1;
        let mut bodies = Vec::new();
        for number in first..first + self.shape.batches_a_frame {
            let from = (number - 1) * READINGS_A_BATCH;
            let row = |second: usize| Row {
                time_us: START_US + i64::try_from(second).unwrap_or(i64::MAX) * 1_000_000,
                value: power.rows[(second + device * 2_500) % power.rows.len()].value,
            };
            let rows: Vec<Row> = (from..from + READINGS_A_BATCH).map(row).collect();
            bodies.push(Sealed::new(power.body(&rows).encode()?));
            let number = i64::try_from(number)?;
            self.rows.extend(rows.into_iter().map(|row| Stored { key, row, number }));
        }
        let epoch = Epoch(key.to_be_bytes());
        let header = Header { epoch, first: first as u64, lane: Lane::Backfill, clock: CLOCK };
        Ok(Frame { header, bodies }.encode().into())
    }
}
