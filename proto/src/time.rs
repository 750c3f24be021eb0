//! When a reading was taken, and how far that can be trusted.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Microseconds; what they count from is the column's [`Basis`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Instant(pub i64);

/// What a column's times count from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Basis {
    /// From the start of the device's boot, on a clock that counts through suspend and never steps. The frame's
    /// [`Clock`] makes it absolute, and a better clock learned later corrects it.
    Boot,
    /// From the Unix epoch, UTC, as the origin said it. Never corrected.
    Source,
}

/// One boot of a device: the high half of the kernel's random boot id, or a random number where there is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct BootId(pub [u8; 8]);

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// How well the device knew the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Quality {
    /// Not at all: the offset means nothing yet.
    #[default]
    Unset,
    /// From a clock that was kept running but not compared lately.
    Held,
    /// From a clock that is disciplined by NTP, or from a receipt.
    Synced,
}

/// What the device knows of the time in one boot: instant = offset + time since boot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Clock {
    /// The boot this is about.
    pub boot: BootId,
    /// Microseconds from the Unix epoch (UTC) to the start of the boot.
    pub offset_us: i64,
    /// How far `offset_us` can be trusted.
    pub quality: Quality,
}

impl Clock {
    /// The absolute instant of `time`, saturating: a hostile offset must not overflow.
    #[must_use]
    pub fn absolute(&self, time: Instant) -> Instant {
        Instant(self.offset_us.saturating_add(time.0))
    }
}
