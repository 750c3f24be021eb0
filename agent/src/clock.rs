//! What this device knows of the time.
//!
//! Readings are stamped with the time since boot, which no step of the wall clock moves; the offset to the wall
//! clock is kept beside, with how far it can be trusted.

use std::fs;
use std::sync::Mutex;

use proto::{BootId, Clock, Instant, Quality};
use rustix::time::{ClockId, clock_gettime};

/// A wall clock before this has never been set: 2026-01-01, before the first release.
const WALL_CLOCK_FLOOR_US: i64 = 1_767_225_600_000_000;
/// systemd-timesyncd keeps this file while the clock is disciplined (systemd-timesyncd.service(8)).
const SYNCHRONIZED_FILE: &str = "/run/systemd/timesync/synchronized";

/// The clock of this boot. Shared by all who stamp or send readings.
#[derive(Debug)]
pub struct BootClock {
    boot: BootId,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    offset_us: i64,
    quality: Quality,
}

impl BootClock {
    /// The clock of the boot that the kernel is in. Without a kernel boot id, `random` takes its place.
    #[must_use]
    pub fn start(random: [u8; 8]) -> Self {
        let boot = boot_id(&fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default());
        Self { boot: BootId(boot.unwrap_or(random)), known: Mutex::new(from_wall_clock()) }
    }

    /// Which boot this is.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Microseconds since boot, suspend included, floored to milliseconds: nothing we read arrives with better, and
    /// the common tick makes steady series small.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant(since_boot_us() / 1_000 * 1_000)
    }

    /// What is known of the time.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let known = *self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Clock { boot: self.boot, offset_us: known.offset_us, quality: known.quality }
    }

    /// The absolute time, where it is known at all.
    #[must_use]
    pub fn wall_clock(&self) -> Option<Instant> {
        let clock = self.clock();
        (clock.quality != Quality::Unset).then(|| clock.absolute(self.now()))
    }

    /// Takes the time from the gateway's receipt if this device has none of its own. The receipt's way here is not
    /// known, so the clock may be late by as much: some tens of milliseconds, at worst the hello's deadline.
    pub fn learn(&self, gateway_time: Instant) {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.quality == Quality::Unset {
            *known = Known { offset_us: gateway_time.0.saturating_sub(since_boot_us()), quality: Quality::Synced };
        }
    }
}

fn from_wall_clock() -> Known {
    let wall_us = micros(clock_gettime(ClockId::Realtime));
    let offset_us = wall_us - since_boot_us();
    let quality = match wall_us {
        ..WALL_CLOCK_FLOOR_US => Quality::Unset,
        _ if fs::exists(SYNCHRONIZED_FILE).unwrap_or(false) => Quality::Synced,
        _ => Quality::Held,
    };
    Known { offset_us, quality }
}

fn since_boot_us() -> i64 {
    micros(clock_gettime(ClockId::Boottime))
}

fn micros(time: rustix::time::Timespec) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// The first half of a UUID in its text form.
fn boot_id(text: &str) -> Option<[u8; 8]> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    (digits.len() == 16).then(|| u64::from_str_radix(&digits, 16).ok())?.map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_the_first_half_of_the_kernels() {
        let kernel = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n";
        assert_eq!(boot_id(kernel), Some([0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78]));
        assert_eq!(boot_id(""), None);
    }

    #[test]
    fn a_device_without_time_learns_it_once_from_a_receipt() {
        let unset = Mutex::new(Known { offset_us: 0, quality: Quality::Unset });
        let clock = BootClock { boot: BootId([1; 8]), known: unset };
        assert_eq!(clock.wall_clock(), None);
        clock.learn(Instant(1_790_000_000_000_000));
        let learned = clock.clock();
        clock.learn(Instant(5));
        assert_eq!(clock.clock(), learned, "a clock that is known is not moved");
        assert!(clock.wall_clock().is_some_and(|now| now.0 >= 1_790_000_000_000_000 - 1_000));
    }
}
