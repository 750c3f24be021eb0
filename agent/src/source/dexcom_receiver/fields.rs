//! Numbers and times of a record.

use proto::{Instant, Reading, Value};

use crate::source::glucose::seconds_after;

/// 2009-01-01T00:00:00Z, in seconds since the Unix epoch.
const EPOCH_S: i64 = 1_230_768_000;
/// A display that differs by more than this from the clock shows no local time of today's.
const OFFSET_MINUTES_MAX: i64 = 18 * 60;

/// Numbers at places of a record.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], &'static str> {
        self.0.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or("is too short")
    }

    pub(super) fn byte(&self, at: usize) -> Result<u8, &'static str> {
        self.bytes(at).map(|[byte]| byte)
    }

    pub(super) fn half(&self, at: usize) -> Result<u16, &'static str> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    pub(super) fn word(&self, at: usize) -> Result<u32, &'static str> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    pub(super) fn double(&self, at: usize) -> Result<f64, &'static str> {
        let number = f64::from_le_bytes(self.bytes(at)?);
        if number.is_finite() { Ok(number) } else { Err("has a number that is none") }
    }
}

/// When something was, by a receiver's own clock, and what it showed then.
#[derive(Clone, Copy)]
pub(super) struct When {
    pub(super) system: u32,
    pub(super) display: u32,
}

impl When {
    pub(super) fn reading(self, value: Value) -> Reading {
        let mut reading = Reading::new(instant_of(self.system), value);
        let offset = i64::from(self.display) - i64::from(self.system);
        let minutes = Some(offset / 60).filter(|minutes| offset % 60 == 0 && minutes.abs() <= OFFSET_MINUTES_MAX);
        reading.utc_offset_minutes = minutes.and_then(|minutes| i16::try_from(minutes).ok());
        if reading.utc_offset_minutes.is_none() {
            reading.local_text = seconds_after(2009, self.display).map(|shown| shown.to_string().into());
        }
        reading
    }

    /// The same display, at another time that it showed.
    pub(super) fn shown(self, display: u32) -> Self {
        let system = i64::from(self.system) + i64::from(display) - i64::from(self.display);
        u32::try_from(system).map_or(self, |system| Self { system, display })
    }

    /// The same display, at another time of the clock.
    pub(super) fn moved(self, system: u32) -> Self {
        let display = i64::from(self.display) + i64::from(system) - i64::from(self.system);
        u32::try_from(display).map_or(self, |display| Self { system, display })
    }
}

/// A time of a receiver's own clock, which is taken for UTC.
pub(super) fn instant_of(system: u32) -> Instant {
    Instant((EPOCH_S + i64::from(system)) * 1_000_000)
}

/// A time of a receiver's own clock less another, in whole seconds.
pub(super) fn error_of(system: u32, wall: Instant) -> i64 {
    (instant_of(system).0 - wall.0).div_euclid(1_000_000)
}
