//! The P1 port of energy meters in the Netherlands, Belgium, Luxembourg and where else DSMR is followed, version 2 to 5.
//!
//! The meter pushes a telegram each second or each ten: energy by tariff, power, voltages, currents, and what gas and
//! water meters on its bus said last. [`telegram`] cuts telegrams out of the bytes and checks them, [`sheet`] says what
//! an object becomes, [`listen`] holds both together.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, Parity, check_port};
use super::pace::Pace;
use super::times::zone_of;
use super::{BadSetting, SourceError};

mod listen;
mod seen;
mod sheet;
mod stamp;
mod telegram;

use seen::Seen;

/// A P1 port's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that the cable is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// The version that the meter speaks, 2 to 5: 2 and 3 send at 9600 7E1 without a checksum, 4 and 5 at 115200 8N1
    /// with one.
    #[serde(default = "version")]
    pub version: u8,
    /// The zone that the meter's clock is set to.
    #[serde(default = "time_zone")]
    pub time_zone: String,
    /// Take a telegram at most so often, in seconds; 0: every one.
    #[serde(default)]
    pub every_s: u32,
    /// Seconds of silence after which the port is opened anew; 0: never.
    #[serde(default = "silence_s")]
    pub silence_s: u32,
}

fn version() -> u8 {
    5
}

fn time_zone() -> String {
    "Europe/Amsterdam".into()
}

fn silence_s() -> u32 {
    60
}

impl Settings {
    fn zone(&self) -> Result<TimeZone, BadSetting> {
        let needed = || BadSetting::new("time_zone", "is needed, such as Europe/Amsterdam");
        zone_of("time_zone", Some(&self.time_zone))?.ok_or_else(needed)
    }

    /// Whether telegrams end with a checksum.
    fn is_checked(&self) -> bool {
        self.version >= 4
    }
}

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        if !(2..=5).contains(&self.version) {
            return Err(BadSetting::new("version", "is to be 2 to 5; a telegram of 4 and 5 says it: 1-3:0.2.8(50)"));
        }
        Pace::check(self.every_s, self.silence_s)?;
        self.zone().map(|_| ())
    }

    /// The telegrams repeat what a gas meter said last, the tariff and counts of failures: the cursor knows what was taken.
    fn resumes(&self) -> bool {
        true
    }

    fn link(&self) -> Link {
        let line = match self.is_checked() {
            true => Line::plain(115_200),
            false => Line { baud: 9_600, data_bits: 7, parity: Parity::Even, stop_bits: 1 },
        };
        Link { port: self.port.clone(), line }
    }

    fn codec(&self, cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        let seen = cursor.map(Seen::decode).transpose()?.unwrap_or_default();
        let pace = Pace::new(self.every_s, self.silence_s);
        Ok(Box::new(listen::Listen::new(self.zone()?, self.is_checked(), pace, seen)))
    }
}

/// A cursor that can be read is written and read again to the same. For `super::fuzzing` alone.
pub(super) fn fuzz_cursor(bytes: &[u8]) {
    if let Ok(seen) = Seen::decode(bytes) {
        assert_eq!(Seen::decode(&seen.encode()).ok(), Some(seen));
    }
}

#[cfg(test)]
mod tests;
