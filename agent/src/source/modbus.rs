//! Registers of meters, inverters, heat pumps and other devices on Modbus: RTU on a serial line, and TCP.
//!
//! Every `every_s` seconds the registers are asked for, neighbours in one request, and become readings stamped with the
//! moment of the answer. Nothing is ever written to a device. [`frame`] knows the wire, [`register`] what a register
//! holds, [`plan`] what is asked together, [`poll`] when.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, Parity, check_port};
use super::{BadSetting, SourceError};

mod frame;
mod plan;
mod poll;
mod register;

use frame::Framing;
use register::Register;
pub use register::RegisterSettings;

/// Settings of the devices on one bus, or behind one TCP port.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `/dev/serial/by-id/…`, or `tcp://host:502`.
    pub port: String,
    /// `rtu` or `tcp`. Left out: `tcp` for `tcp://`, `rtu` for a serial port. A gateway that passes a serial line
    /// through as it is wants `tcp://` and `rtu`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framing: Option<String>,
    /// Bits per second of a serial port.
    #[serde(default = "baud")]
    pub baud: u32,
    /// `none`, `even` or `odd`.
    #[serde(default)]
    pub parity: Parity,
    /// 1 or 2.
    #[serde(default = "stop_bits")]
    pub stop_bits: u8,
    /// The device's address on the bus, 1 to 247; behind TCP its unit identifier, 0 to 255.
    #[serde(default = "slave")]
    pub slave: u8,
    /// Seconds from one round to the next, 1 to 86400.
    #[serde(default = "every_s")]
    pub every_s: u32,
    /// Milliseconds that a device may take to answer, 50 to 60000; what the line needs is added.
    #[serde(default = "answer_ms")]
    pub answer_ms: u32,
    /// Registers in one request, 4 to 125.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_max: Option<u16>,
    /// Registers that are asked for and not wanted, between two that are, 0 to 100.
    #[serde(default = "holes_max")]
    pub holes_max: u16,
    /// A built-in list of registers: `sdm630`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// Registers that are no part of the map.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registers: Vec<RegisterSettings>,
}

/// A list of registers that is data.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    request_max: u16,
    registers: Vec<RegisterSettings>,
}

const MAPS: &[(&str, &str)] = &[("sdm630", include_str!("modbus/maps/sdm630.toml"))];
/// Registers of one request (Modbus application protocol 1.1b3, section 6.3).
const REQUEST_MAX: u16 = 125;

fn baud() -> u32 {
    9_600
}

fn stop_bits() -> u8 {
    1
}

fn slave() -> u8 {
    1
}

fn every_s() -> u32 {
    10
}

fn answer_ms() -> u32 {
    1_000
}

fn holes_max() -> u16 {
    16
}

impl Settings {
    fn framing(&self) -> Result<Framing, BadSetting> {
        let over_tcp = self.port.starts_with("tcp://");
        match self.framing.as_deref() {
            None if over_tcp => Ok(Framing::Tcp),
            None | Some("rtu") => Ok(Framing::Rtu),
            Some("tcp") if over_tcp => Ok(Framing::Tcp),
            Some("tcp") => Err(BadSetting::new("framing", "`tcp` is for tcp:// ports; a serial port speaks `rtu`")),
            Some(other) => {
                let other: String = other.chars().take(40).collect();
                Err(BadSetting::new("framing", format!("`{other}` is neither rtu nor tcp")))
            }
        }
    }

    fn map(&self) -> Result<Option<Map>, BadSetting> {
        let Some(name) = &self.map else { return Ok(None) };
        let Some((_, text)) = MAPS.iter().find(|(known, _)| known == name) else {
            let name: String = name.chars().take(40).collect();
            let known = MAPS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
            return Err(BadSetting::new("map", format!("`{name}` is no map known here; there is {known}")));
        };
        toml::from_str(text).map(Some).map_err(|error| BadSetting::new("map", error.to_string()))
    }

    /// All registers, checked, in the order of their addresses, and how many are asked for at once.
    fn registers(&self, framing: Framing) -> Result<(Vec<Register>, u16), BadSetting> {
        let map = self.map()?;
        let request_max = self.request_max.or(map.as_ref().map(|map| map.request_max)).unwrap_or(REQUEST_MAX);
        let of_map = map.map(|map| map.registers).unwrap_or_default();
        let all = of_map.iter().map(|register| (None, register));
        let all = all.chain(self.registers.iter().enumerate().map(|(index, register)| (Some(index), register)));
        Ok((register::check(all, self.slave, framing)?, request_max))
    }

    fn poll(&self) -> Result<poll::Poll, BadSetting> {
        let framing = self.framing()?;
        let (registers, request_max) = self.registers(framing)?;
        let line = (!self.port.starts_with("tcp://")).then_some(self.baud);
        let times = poll::Times {
            every: Duration::from_secs(self.every_s.into()),
            answer: Duration::from_millis(self.answer_ms.into()),
            line,
        };
        let blocks = plan::plan(&registers, request_max, self.holes_max);
        Ok(poll::Poll::new(framing, registers, blocks, times))
    }
}

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        let bad = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        if !(300..=4_000_000).contains(&self.baud) {
            return bad("baud", "is to be 300 to 4000000; most devices have 9600 or 19200");
        }
        if !(1..=2).contains(&self.stop_bits) {
            return bad("stop_bits", "is to be 1 or 2");
        }
        if !(1..=86_400).contains(&self.every_s) {
            return bad("every_s", "is to be 1 to 86400");
        }
        if !(50..=60_000).contains(&self.answer_ms) {
            return bad("answer_ms", "is to be 50 to 60000");
        }
        if self.request_max.is_some_and(|registers| !(4..=REQUEST_MAX).contains(&registers)) {
            return bad("request_max", "is to be 4 to 125");
        }
        if self.holes_max > 100 {
            return bad("holes_max", "is to be 0 to 100");
        }
        self.poll().map(|_| ())
    }

    fn link(&self) -> Link {
        let Self { baud, parity, stop_bits, .. } = *self;
        Link { port: self.port.clone(), line: Line { baud, data_bits: 8, parity, stop_bits } }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        Ok(Box::new(self.poll()?))
    }
}

#[cfg(test)]
mod tests;
