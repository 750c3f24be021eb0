//! Blood glucose meters on a cable: each new record once, as the meter holds it.
//!
//! A meter is asked, not listened to: who it is, then its records from the newest back to those that are known. It is
//! asked again after a while, and at once when the port comes back. Nothing in it is changed: no clock is set, no memory
//! erased. [`session`] holds the conversation together, [`memory`] knows which records were taken, [`record`] says what
//! a record becomes; the other modules each speak one protocol.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, check_port};
use super::times::zone_of;
use super::{BadSetting, SourceError};

mod codefree;
mod contour;
mod freestyle;
mod harvest;
mod lifescan;
mod memory;
mod record;
mod session;
mod taidoc;
mod text;
mod ultra2;

use memory::Memory;
use session::{Protocol, Session};
pub(super) use text::seconds_after;

/// A meter's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that its cable is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// Which protocol it speaks.
    pub model: Model,
    /// The zone that its clock is set to, such as `Europe/Berlin`: meters know local time only.
    pub time_zone: String,
    /// Seconds from one look for new records to the next, 10 to 86400, while the port stays open.
    #[serde(default = "every_s")]
    pub every_s: u32,
}

/// A kind of meter. Those that speak alike are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Abbott FreeStyle Lite and Freedom Lite.
    FreestyleLite,
    /// Abbott FreeStyle Optium, Optium Xceed and Precision Xtra, which measure ketone too.
    FreestyleOptium,
    /// LifeScan OneTouch UltraMini and UltraEasy.
    OnetouchUltraMini,
    /// LifeScan OneTouch Verio IQ.
    OnetouchVerioIq,
    /// LifeScan OneTouch Ultra2.
    #[serde(rename = "onetouch_ultra2")]
    OnetouchUltra2,
    /// Bayer and Ascensia Contour on a serial cable.
    Contour,
    /// TaiDoc TD-42xx, sold as GlucoRx Nexus and under other names.
    Taidoc,
    /// SD Biosensor CodeFree.
    Codefree,
}

fn every_s() -> u32 {
    300
}

impl Model {
    fn line(self) -> Line {
        match self {
            Self::FreestyleLite | Self::FreestyleOptium | Self::Taidoc => Line::plain(19_200),
            Self::OnetouchUltraMini | Self::OnetouchUltra2 | Self::Contour => Line::plain(9_600),
            Self::OnetouchVerioIq | Self::Codefree => Line::plain(38_400),
        }
    }

    fn protocol(self) -> Box<dyn Protocol> {
        match self {
            Self::FreestyleLite => Box::new(freestyle::Freestyle::lite()),
            Self::FreestyleOptium => Box::new(freestyle::Freestyle::optium()),
            Self::OnetouchUltraMini => Box::new(lifescan::LifeScan::ultra_mini()),
            Self::OnetouchVerioIq => Box::new(lifescan::LifeScan::verio_iq()),
            Self::OnetouchUltra2 => Box::<ultra2::Ultra2>::default(),
            Self::Contour => Box::<contour::Contour>::default(),
            Self::Taidoc => Box::<taidoc::TaiDoc>::default(),
            Self::Codefree => Box::<codefree::CodeFree>::default(),
        }
    }
}

impl Settings {
    fn zone(&self) -> Result<TimeZone, BadSetting> {
        let needed = || BadSetting::new("time_zone", "is needed, such as Europe/Berlin");
        zone_of("time_zone", Some(&self.time_zone))?.ok_or_else(needed)
    }
}

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        if !(10..=86_400).contains(&self.every_s) {
            return Err(BadSetting::new("every_s", "is to be 10 to 86400"));
        }
        self.zone().map(|_| ())
    }

    fn resumes(&self) -> bool {
        true
    }

    fn link(&self) -> Link {
        Link { port: self.port.clone(), line: self.model.line() }
    }

    fn codec(&self, cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        let memory = cursor.map(Memory::decode).transpose()?.unwrap_or_default();
        let every = Duration::from_secs(self.every_s.into());
        Ok(Box::new(Session::new(self.model.protocol(), self.zone()?, memory, every)))
    }
}

/// A cursor that can be read is written and read again to the same. For `super::fuzzing` alone.
pub(super) fn fuzz_cursor(bytes: &[u8]) {
    if let Ok(memory) = Memory::decode(bytes) {
        assert_eq!(Memory::decode(&memory.encode()).ok(), Some(memory));
    }
}

#[cfg(test)]
mod tests;
