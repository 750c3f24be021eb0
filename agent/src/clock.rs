//! What this device knows of the time.
//!
//! Readings are stamped with the time since boot, which no step of the wall clock moves; the offset to the wall
//! clock is kept beside, with how far it can be trusted. A disciplined clock of the system is believed first, then the
//! gateway, and only then a clock that was merely kept running: it may have stood still in a drawer.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use proto::{BootId, Clock, Instant, Quality};
use rustix::time::{ClockId, clock_gettime};

#[cfg(test)]
mod tests;

/// A wall clock before this has never been set: 2026-01-01, before the first release.
const WALL_CLOCK_FLOOR_US: i64 = 1_767_225_600_000_000;
/// systemd-timesyncd keeps this file while the clock is disciplined (systemd-timesyncd.service(8)).
const SYNCHRONIZED_FILE: &str = "/run/systemd/timesync/synchronized";
/// How often to look whether the clock is disciplined by now.
const LOOK_EVERY_US: i64 = 1_000_000;
/// A clock that is wrong by no more than this is right.
const ERROR_MAX_US: i64 = 1_000_000;

/// The clock of this boot. Shared by all who stamp or send readings.
#[derive(Debug)]
pub struct BootClock {
    boot: BootId,
    wall: WallClock,
    known: Mutex<Known>,
}

/// What the system says of the time of day.
#[derive(Debug)]
struct WallClock {
    now_us: fn() -> i64,
    synchronized_file: PathBuf,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    offset_us: i64,
    quality: Quality,
    /// The gateway was told: from now on the offset stays, so that all copies of a reading have the same time.
    told: bool,
    /// Readings went out with no time at all: the gateway is to be told once there is one.
    went_unset: bool,
    looked_at_us: i64,
}

impl BootClock {
    /// The clock of the boot that the kernel is in. Without a kernel boot id, `random` takes its place.
    #[must_use]
    pub fn start(random: [u8; 8]) -> Self {
        let boot = boot_id(&fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default());
        let wall = WallClock { now_us: wall_clock_us, synchronized_file: SYNCHRONIZED_FILE.into() };
        Self::with(BootId(boot.unwrap_or(random)), wall)
    }

    /// The clock of a device whose wall clock was never set.
    #[cfg(test)]
    pub(crate) fn in_1970() -> Self {
        Self::with(BootId([1; 8]), WallClock { now_us: || 0, synchronized_file: PathBuf::new() })
    }

    fn with(boot: BootId, wall: WallClock) -> Self {
        let unset =
            Known { offset_us: 0, quality: Quality::Unset, told: false, went_unset: false, looked_at_us: i64::MIN };
        Self { boot, wall, known: Mutex::new(unset) }
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

    /// What is known of the time now. As long as that is not the best it can be, the system is asked again.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.of(*self.look())
    }

    /// What is known of the time, for a frame that leaves now: the offset stays as it is from here on, unless it means
    /// nothing yet.
    #[must_use]
    pub fn for_sending(&self) -> Clock {
        let mut known = self.look();
        known.told = true;
        known.went_unset |= known.quality == Quality::Unset;
        self.of(*known)
    }

    /// A clock that the gateway lacks for readings that went out without one.
    #[must_use]
    pub fn owed(&self) -> Option<Clock> {
        let known = *self.look();
        (known.went_unset && known.quality != Quality::Unset).then(|| self.of(known))
    }

    /// The absolute time, where it is known at all.
    #[must_use]
    pub fn wall_clock(&self) -> Option<Instant> {
        let clock = self.clock();
        (clock.quality != Quality::Unset).then(|| clock.absolute(self.now()))
    }

    /// Takes up what an earlier start in this same boot knew: the gateway may have been told. Whether it was told of a
    /// merely held clock is not known. It places a boot by the first offset it was told, so another does no harm.
    pub fn resume(&self, kept: Clock) {
        if kept.boot == self.boot && kept.quality != Quality::Unset {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let Clock { offset_us, quality, .. } = kept;
            *known = Known { offset_us, quality, told: quality == Quality::Synced, ..*known };
        }
    }

    /// Takes the time from the gateway's receipt, whose hello was said at `asked_at`, if the gateway has one, and this
    /// device has none, or held another that nobody was told. The receipt's way here is not known, so what is learned may
    /// be late by as much: some tens of milliseconds, at worst the hello's deadline. What that allows for is not moved.
    pub fn learn(&self, asked_at: Instant, gateway_time: Instant) {
        let mut known = self.look();
        if gateway_time.0 < WALL_CLOCK_FLOOR_US {
            return;
        }
        let offset_at = |since_boot_us: i64| gateway_time.0.saturating_sub(since_boot_us);
        let heard_us = offset_at(since_boot_us());
        let allowed = heard_us.saturating_sub(ERROR_MAX_US)..=offset_at(asked_at.0).saturating_add(ERROR_MAX_US);
        let is_wrong = match known.quality {
            Quality::Unset => true,
            Quality::Held => !known.told && !allowed.contains(&known.offset_us),
            Quality::Synced => false,
        };
        if is_wrong {
            (known.offset_us, known.quality) = (heard_us, Quality::Synced);
        }
    }

    /// What is known, after another look at the system's clock where that may have become better.
    fn look(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now_us = since_boot_us();
        if known.quality != Quality::Synced && now_us.saturating_sub(known.looked_at_us) >= LOOK_EVERY_US {
            known.looked_at_us = now_us;
            self.wall.improve(&mut known);
        }
        known
    }

    fn of(&self, known: Known) -> Clock {
        Clock { boot: self.boot, offset_us: known.offset_us, quality: known.quality }
    }
}

impl WallClock {
    /// A clock that was set or disciplined meanwhile is taken over. The offset moves only where nobody relies on it, and
    /// one that stays is only called as good as it is.
    fn improve(&self, known: &mut Known) {
        let wall_us = (self.now_us)();
        let quality = match wall_us {
            ..WALL_CLOCK_FLOOR_US => Quality::Unset,
            _ if fs::exists(&self.synchronized_file).unwrap_or(false) => Quality::Synced,
            _ => Quality::Held,
        };
        if quality <= known.quality {
            return;
        }
        let offset_us = wall_us.saturating_sub(since_boot_us());
        if known.quality == Quality::Unset || !known.told {
            known.offset_us = offset_us;
        }
        if known.offset_us.abs_diff(offset_us) <= ERROR_MAX_US.unsigned_abs() {
            known.quality = quality;
        }
    }
}

/// The system's wall clock, if it was ever set.
#[must_use]
pub fn system_wall_clock() -> Option<Instant> {
    Some(Instant(wall_clock_us())).filter(|now| now.0 >= WALL_CLOCK_FLOOR_US)
}

#[allow(clippy::disallowed_methods, reason = "this is where the time comes from")]
fn wall_clock_us() -> i64 {
    let micros = |span: std::time::Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => micros(since),
        Err(before) => -micros(before.duration()),
    }
}

fn since_boot_us() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// The first half of a UUID in its text form.
fn boot_id(text: &str) -> Option<[u8; 8]> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    (digits.len() == 16).then(|| u64::from_str_radix(&digits, 16).ok())?.map(u64::to_be_bytes)
}
