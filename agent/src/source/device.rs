//! The seam for devices at the end of a wire: a serial port, or the same over TCP.
//!
//! What a device says and wants to be asked is a [`Codec`]: bytes and the time go in; readings, rejects, bytes to write
//! and the next deadline come out, through [`Out`]. It opens nothing, waits for nothing and cannot block. One shell does
//! the rest for all of them: it opens the port by its stable name, waits for one that is not there (0.5 s at first, then
//! less often, up to 10 s), closes a lost one at once, bounds the rejects that are kept, and hands over what was read.
//!
//! # How to write a source
//! 1. A folder `agent/src/source/<name>/`: the codec, `README.md` (wiring, settings, what becomes which series and unit),
//!    `sample.toml`, which a test parses, and `testdata`; `<name>.rs` beside it holds the settings.
//! 2. The settings: a struct with `port` and what else a person must say, `deny_unknown_fields`, and [`Device`] for it.
//! 3. The codec:
//!    - [`Codec::opened`] is called with each opening of the port, and what was half read is to be forgotten there. A
//!      device that must be asked is asked there: [`Out::write`], and [`Out::wake_at`] for when it is late.
//!    - [`Codec::heard`] takes bytes in any pieces: parts of frames, several frames, noise. Hold what is not whole, within
//!      a bound. What belongs to no frame goes to a [`Noise`], which tells of it in one reject.
//!    - [`Codec::due`] is called when the deadline has passed, which it then has to set anew where it wants another. A
//!      device that does not answer, or one that pushes and has fallen silent, is given up with [`Out::hang_up`]; the
//!      port is then opened again after a while.
//!    - Readings leave by [`Out::sample`], with [`series`] made once, when the codec is. On arrival: `Basis::Boot` and
//!      `now.boot`. With the device's own time: `Basis::Source`, see `super::times::local`.
//!    - A device with a record index calls [`Out::commit`] with its cursor behind the readings that the cursor covers,
//!      and says `true` in [`Device::resumes`]. Both are stored in one transaction, or neither. At most
//!      [`super::INTAKE_SAMPLES_MAX`] readings belong between two cursors.
//!    - A device that has been understood and had nothing new to say is [`Out::well`].
//! 4. Registration: a variant of `Settings` in `settings.rs` and an arm of its `device`, behind the feature of the family.
//! 5. `tributary-agent probe` finds it by one line in [`probe`]'s list of known devices.
//! 6. Tests: [`testing::Bench`] drives a codec in invented time; an emulator in `tests/emulators` speaks over a PTY, from
//!    published bytes and not from the codec; `fuzzing.rs` takes the codec into the fuzz targets.

use std::fmt;
use std::time::Duration;

use proto::Instant;
use serde::{Deserialize, Serialize};

use super::{BadSetting, SourceError};

mod limit;
#[cfg(any(feature = "energy", feature = "environment", feature = "glucose", feature = "vitals"))]
mod noise;
mod out;
mod port;
pub(crate) mod ports;
pub(crate) mod probe;
#[cfg(feature = "programs")]
mod program;
mod shell;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(feature = "glucose")]
mod tests;

#[cfg(any(feature = "mqtt", feature = "programs"))]
pub(crate) use limit::Limit;
#[cfg(any(feature = "energy", feature = "environment", feature = "glucose", feature = "vitals"))]
pub(crate) use noise::Noise;
pub(crate) use out::Out;
#[cfg(feature = "programs")]
pub(crate) use program::Program;
pub(crate) use shell::Shell;

/// A protocol, without any input or output of its own.
pub(crate) trait Codec: Send {
    /// The port was opened, for the first time or again. What was half read before is gone.
    fn opened(&mut self, now: Now, out: &mut Out);

    /// Bytes came, in whatever pieces.
    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out);

    /// The deadline has passed. It is gone until another is set.
    fn due(&mut self, now: Now, out: &mut Out);

    /// The port was lost or hung up on. Nothing that is written now is sent.
    fn lost(&mut self, _now: Now, _out: &mut Out) {}
}

/// What is configured for a device: where it is, and who understands it.
pub(crate) trait Device {
    /// Whether all settings can be. Opens nothing.
    fn validate(&self) -> Result<(), BadSetting>;

    /// Whether it goes on from a cursor.
    fn resumes(&self) -> bool {
        false
    }

    /// Where it is.
    fn link(&self) -> Link;

    /// What is run in the place of a port, where its lines are a program's.
    #[cfg(feature = "programs")]
    fn program(&self) -> Option<Program> {
        None
    }

    /// Who understands it, going on from `cursor`. Called once a start, after `validate`.
    fn codec(&self, cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError>;
}

/// The present, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// Since boot. Deadlines are on this clock.
    pub(crate) boot: Instant,
    /// Since the Unix epoch, UTC; none while this machine does not know it.
    pub(crate) wall: Option<Instant>,
}

impl Now {
    /// The deadline that is so much later.
    pub(crate) fn after(self, wait: Duration) -> Instant {
        Instant(self.boot.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// Where a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// `/dev/serial/by-id/…`, or `tcp://host:port` for a device that is reached through a raw TCP socket.
    pub(crate) port: String,
    /// How a serial port is set; nothing to TCP.
    pub(crate) line: Line,
}

/// How characters go over a serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Bits per second.
    pub(crate) baud: u32,
    /// Bits of a character: 5 to 8.
    pub(crate) data_bits: u8,
    /// How a character is checked.
    pub(crate) parity: Parity,
    /// 1 or 2.
    pub(crate) stop_bits: u8,
}

impl Line {
    /// Eight bits, no parity, one stop bit: what most devices use.
    pub(crate) const fn plain(baud: u32) -> Self {
        Self { baud, data_bits: 8, parity: Parity::None, stop_bits: 1 }
    }
}

/// As people write it: `9600 baud 8N1`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} baud {}{parity}{}", self.baud, self.data_bits, self.stop_bits)
    }
}

/// How a character is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// Not at all.
    #[default]
    None,
    /// By a bit that makes the number of ones even.
    Even,
    /// By a bit that makes the number of ones odd.
    Odd,
}

impl Link {
    /// What to look at where a device never said anything that makes sense; `is_heard` is whether it said something.
    fn advice(&self, is_heard: bool) -> String {
        let line = self.line;
        match (is_heard, self.port.starts_with(TCP)) {
            (true, false) => {
                format!("what comes makes no sense at {line}: is this device at this port, and set to that speed?")
            }
            (true, true) => {
                format!("what comes makes no sense: is this device there, and the converter before it set to {line}?")
            }
            (false, false) => format!("nothing at all comes at {line}"),
            (false, true) => "nothing at all comes".to_owned(),
        }
    }
}

/// What `tcp://` begins the port of a device with that is not on a serial line.
const TCP: &str = "tcp://";

/// Whether `port` can be one. Opens nothing.
pub(crate) fn check_port(port: &str) -> Result<(), BadSetting> {
    let bad = |problem: &str| Err(BadSetting::new("port", problem));
    let Some(address) = port.strip_prefix(TCP) else {
        return match port {
            "" => bad("is empty; use a name such as /dev/serial/by-id/… or tcp://host:port"),
            _ if port.starts_with('/') => Ok(()),
            _ => bad("is to be an absolute path such as /dev/serial/by-id/…, or tcp://host:port"),
        };
    };
    match address.rsplit_once(':') {
        Some((host, number)) if !host.is_empty() && number.parse().is_ok_and(|number: u16| number > 0) => Ok(()),
        _ => bad("is to say a host and a port: tcp://192.168.1.20:502"),
    }
}

/// A series that a codec always has.
///
/// # Panics
/// On a name or a unit that cannot be: they are the source's own words, not a person's.
#[cfg(any(
    feature = "energy",
    feature = "environment",
    feature = "files",
    feature = "glucose",
    feature = "mqtt",
    feature = "programs",
    feature = "vitals"
))]
pub(crate) fn series(name: &str, unit: &str, kind: proto::Kind) -> std::sync::Arc<proto::Series> {
    let name = name.parse().expect("a series' name that the source chose");
    let unit = unit.parse().expect("a unit that the source chose");
    std::sync::Arc::new(proto::Series { name, unit, kind })
}
