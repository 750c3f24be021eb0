//! What the rigs that run agent and gateway in this process share: batches to offer, and folders in memory.

use std::path::Path;

use agent::buffer::{Batch, Buffer, BufferError, Settings};
use agent::source::Priority;
use proto::frame::Sealed;
use proto::{Basis, Body, BootId, Clock, Column, Instant, Kind, Lane, Quality, Reading, Series, Value};
use vfs::Dice;

/// The boot that everything is sealed in.
pub(super) const BOOT: BootId = BootId([0xC4; 8]);
/// A clock that knows the time: 2026-11-20T00:00:00Z.
pub(super) const CLOCK: Clock = Clock { boot: BOOT, offset_us: 1_795_132_800_000_000, quality: Quality::Synced };

/// A folder that costs no disk. It goes with its owner.
pub(super) fn scratch(otherwise: &Path) -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    tempfile::Builder::new()
        .prefix("tributary-")
        .tempdir_in(memory)
        .or_else(|_| tempfile::Builder::new().tempdir_in(otherwise))
}

/// Removes all files of `folder`.
pub(super) fn clear(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        std::fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// The agent's buffer in `folder`.
pub(super) fn open(folder: &Path, bytes_max: u64) -> Result<Buffer, BufferError> {
    open_with(folder, bytes_max, CLOCK)
}

/// The same, in a boot that has `clock`.
pub(super) fn open_with(folder: &Path, bytes_max: u64, clock: Clock) -> Result<Buffer, BufferError> {
    Buffer::open(Settings { path: folder.join("buffer.db"), bytes_max, free_bytes_min: 0 }, clock)
}

/// Batches that differ in every bit, one after the other.
pub(super) struct Offers {
    second: i64,
}

impl Offers {
    pub(super) fn new() -> Self {
        Self { second: 0 }
    }

    /// A batch of at most `readings_max` readings, a second apart.
    pub(super) fn batch(&mut self, dice: &mut Dice, readings_max: u64) -> anyhow::Result<Batch> {
        let body = self.body(dice, readings_max)?;
        let lane = if dice.chance(80) { Lane::Live } else { Lane::Backfill };
        Ok(Batch {
            lane,
            priority: Priority::Normal,
            readings: body.readings() as u64,
            sealed: Sealed::new(body.encode()?),
        })
    }

    /// What such a batch seals. No two readings that were ever offered are of one instant.
    pub(super) fn body(&mut self, dice: &mut Dice, readings_max: u64) -> anyhow::Result<Body> {
        let series = Series { name: "power.active".parse()?, unit: "W".parse()?, kind: Kind::Gauge };
        let readings = (0..=dice.below(readings_max)).map(|_| {
            self.second += 1;
            // 48 bits: any value that is exact, and none that is not a number.
            let value = f64::from(u32::try_from(dice.roll() >> 32).unwrap_or(0)) / 65_536.0;
            Reading::new(Instant(self.second * 1_000_000), Value::Number(value))
        });
        let column = Column { series, basis: Basis::Boot, readings: readings.collect() };
        Ok(Body { boot: BOOT, columns: vec![column] })
    }
}
