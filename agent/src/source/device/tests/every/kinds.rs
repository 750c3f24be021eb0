//! Every kind of device on a wire, what is configured for it, and what it must become.

use std::ops::Range;

use emulators::Device as Emulator;
use emulators::air::Air;
use emulators::dsmr::Dsmr;
use emulators::modbus::Modbus;
use emulators::oximeters::{Contec, Nonin, Vitals};

use super::rig::Said;

mod memories;

pub(super) use memories::{DEXCOM, METERS};

/// How a device gives what it has, and so what may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It keeps records, and is asked for them: each comes once, whatever happens. `at_once`: all are one answer.
    Keeps { at_once: bool },
    /// It says each thing once, unasked: what came whole over the wire comes once.
    Speaks,
    /// It is asked for what it measures now: another value with each answer, and none comes twice.
    Asked,
    /// It says the same many times a second, and one of them is taken each second.
    Repeats,
}

/// A kind of device.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// What is configured but for name and port.
    pub(super) toml: &'static str,
    pub(super) way: Way,
    /// The series that is looked at.
    pub(super) series: &'static str,
    /// Whether damage can be told by a checksum.
    pub(super) is_checked: bool,
    /// How many things it has to say in a test.
    pub(super) count: u16,
    /// One that has these things to say.
    pub(super) device: fn(Range<u16>) -> Box<dyn Emulator>,
    /// What the thing of a number becomes.
    pub(super) said: fn(u16) -> Said,
    /// Of a device that speaks by itself, the bytes that say it.
    pub(super) frame: fn(u16) -> Vec<u8>,
}

pub(super) const SDS011: Kind = Kind {
    name: "sds011",
    toml: "type = \"sds011\"\nsilence_s = 10",
    series: "pm2.5",
    device: |range| speaking(&SDS011, range),
    said: |number| (None, (f64::from(number) / 10.0).to_string()),
    frame: |number| Air::sds011(&[(number, number + 100)]).idle(),
    ..SPEAKS
};

const PLANTOWER: Kind = Kind {
    name: "plantower_pms",
    toml: "type = \"plantower_pms\"\nsilence_s = 10",
    series: "pm1.standard",
    device: |range| speaking(&PLANTOWER, range),
    said: |number| (None, number.to_string()),
    frame: |number| {
        let words: Vec<u16> = (number..number + 13).collect();
        Air::plantower(&words, 1).idle()
    },
    ..SPEAKS
};

/// A telegram a second.
pub(super) const DSMR: Kind = Kind {
    name: "dsmr",
    toml: "type = \"dsmr\"\nsilence_s = 10",
    series: "energy.active.import.t1",
    device: |range| speaking(&DSMR, range),
    said: |number| {
        let at = (1_483_380_000 + i64::from(number)) * 1_000_000; // 2017-01-02T19:00:00+01:00
        (Some(at), (f64::from(4_000 + number) / 1_000.0).to_string())
    },
    frame: |number| Dsmr::telegram(number.into()),
    ..SPEAKS
};

const NMEA: Kind = Kind {
    name: "nmea",
    toml: "type = \"nmea\"\nsilence_s = 10",
    series: "position.latitude",
    device: |range| speaking(&NMEA, range),
    said: |number| (Some((1_657_886_400 + i64::from(number)) * 1_000_000), "53.3613367".into()),
    frame: |number| {
        let time = format!("12{:02}{:02}.00", number / 60, number % 60);
        let body = format!("GPRMC,{time},A,5321.6802,N,00630.3372,W,1.5,,150722,,,A");
        format!("${body}*{:02X}\r\n", body.bytes().fold(0, |sum, byte| sum ^ byte)).into_bytes()
    },
    ..SPEAKS
};

/// Lines without a checksum: what two broken ones become is out of range.
const SERIAL: Kind = Kind {
    name: "serial",
    toml: "type = \"serial\"\nformat = \"csv\"\ntrust_first_line = true\nsilence_s = 10\n\
           series = [{ column = 1, name = \"v\", min = 1000, max = 1999 }, { column = 2, name = \"w\" }]\ncolumns = 2",
    series: "v",
    is_checked: false,
    device: |range| speaking(&SERIAL, range),
    said: |number| (None, (1_000 + number).to_string()),
    frame: |number| format!("{},7\n", 1_000 + number).into_bytes(),
    ..SPEAKS
};

const SPEAKS: Kind = Kind {
    name: "",
    toml: "",
    way: Way::Speaks,
    series: "",
    is_checked: true,
    count: 60,
    device: |_| Box::new(Air::pushing(Vec::new())),
    said: |_| (None, String::new()),
    frame: |_| Vec::new(),
};

/// A device that says the frames of these things, one after the other.
fn speaking(kind: &Kind, range: Range<u16>) -> Box<dyn Emulator> {
    Box::new(Air::pushing(range.rev().map(kind.frame).collect()))
}

/// Four registers that are too far apart for one request.
pub(super) const MODBUS: Kind = Kind {
    name: "modbus",
    toml: "type = \"modbus\"\nevery_s = 1\nanswer_ms = 1000\nregisters = [\
           { name = \"v1\", address = 0, kind = \"input\", type = \"f32\" },\
           { name = \"v2\", address = 200, kind = \"input\", type = \"f32\" },\
           { name = \"v3\", address = 400, kind = \"input\", type = \"f32\" },\
           { name = \"v4\", address = 600, kind = \"input\", type = \"f32\" }]",
    way: Way::Asked,
    series: "v*",
    is_checked: true,
    count: 12,
    device: |range| {
        let set = |meter: &mut Modbus, number: u16| {
            (0..4).for_each(|register| meter.float(1, register * 200, number.into()));
        };
        Box::new(Counting { device: Modbus::default(), set, next: range.start })
    },
    said: |number| (None, number.to_string()),
    frame: |_| Vec::new(),
};

/// The same with the header of TCP, which has no checksum: TCP has one.
pub(super) const MODBUS_TCP: Kind = Kind {
    name: "modbus over TCP",
    is_checked: false,
    device: |range| {
        let set = |meter: &mut Modbus, number: u16| {
            (0..4).for_each(|register| meter.float(1, register * 200, number.into()));
        };
        let device = Modbus { over_tcp: true, ..Modbus::default() };
        Box::new(Counting { device, set, next: range.start })
    },
    ..MODBUS
};

pub(super) const MHZ19: Kind = Kind {
    name: "mhz19",
    toml: "type = \"mhz19\"\nevery_s = 2",
    way: Way::Asked,
    series: "co2",
    is_checked: true,
    count: 2,
    device: |range| {
        let set = |sensor: &mut Air, number: u16| sensor.answers = Air::mhz19(400 + number, 23).answers;
        Box::new(Counting { device: Air::mhz19(0, 0), set, next: range.start })
    },
    said: |number| (None, (400 + number).to_string()),
    frame: |_| Vec::new(),
};

/// A device that measures something else with each answer.
struct Counting<D> {
    device: D,
    set: fn(&mut D, u16),
    next: u16,
}

impl<D: Emulator> Emulator for Counting<D> {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        (self.set)(&mut self.device, self.next);
        let answer = self.device.hear(bytes);
        self.next += u16::from(!answer.is_empty());
        answer
    }
}

/// What the oximeters measure.
pub(super) const WELL: Vitals = Vitals { spo2: 97, pulse: 165, finger: true };

const CONTEC_OLD: Kind = Kind {
    name: "contec_cms50, old",
    toml: "type = \"contec_cms50\"\nprotocol = \"old\"",
    way: Way::Repeats,
    series: "spo2",
    is_checked: false,
    count: 3,
    device: |_| Box::new(Contec::new(false, WELL)),
    said: |_| (None, WELL.spo2.to_string()),
    frame: |_| Vec::new(),
};

const CONTEC_V7: Kind = Kind {
    name: "contec_cms50, firmware 7",
    toml: "type = \"contec_cms50\"\nprotocol = \"v7\"",
    device: |_| Box::new(Contec::new(true, WELL)),
    ..CONTEC_OLD
};

const NONIN_2: Kind = Kind {
    name: "nonin_oem3, format 2",
    toml: "type = \"nonin_oem3\"\nformat = 2",
    is_checked: true,
    device: |_| Box::new(Nonin::new(2, WELL)),
    ..CONTEC_OLD
};

const NONIN_7: Kind = Kind {
    name: "nonin_oem3, format 7",
    toml: "type = \"nonin_oem3\"\nformat = 7",
    device: |_| Box::new(Nonin::new(7, WELL)),
    ..NONIN_2
};

/// All that are no meters.
pub(super) const OTHERS: [Kind; 12] =
    [DEXCOM, SDS011, PLANTOWER, DSMR, NMEA, SERIAL, MODBUS, MHZ19, CONTEC_OLD, CONTEC_V7, NONIN_2, NONIN_7];

/// Every kind.
pub(super) fn all() -> impl Iterator<Item = Kind> {
    METERS.into_iter().chain(OTHERS)
}
