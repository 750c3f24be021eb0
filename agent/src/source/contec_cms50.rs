//! Contec CMS50 pulse oximeters (CMS50D+, CMS50E, CMS50F and what is sold under other names) on their USB cable.
//!
//! Older ones send 5 bytes 60 times a second unasked; newer ones, with firmware 7, send 9 bytes once they are asked, as
//! long as they are reminded. Neither has a checksum: bit 7 tells where a frame begins, and a value is taken when two frames
//! in a row say it.
//!
//! Facts: atbrask/CMS50Dplus (old), timegrid/CMS50Dplus7 and headrotor/contec_data (v7).

use proto::Instant;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::device::{Codec, Device, Line, Link, Noise, Now, Out, Parity, check_port};
use super::oximetry::{SILENCE, SILENT, Said, Sampler, Status};
use super::{BadSetting, SourceError};

/// An oximeter's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that its cable is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// Which of two protocols it speaks.
    pub protocol: Protocol,
}

/// A protocol of these oximeters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// 19200 baud with odd parity, as firmware up to 4 has it.
    Old,
    /// 115200 baud, as firmware 7 has it.
    V7,
}

/// Starts the readings of firmware 7.
const START: [u8; 9] = [0x7d, 0x81, 0xa1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];
/// Reminds it that someone listens.
const REMIND: [u8; 9] = [0x7d, 0x81, 0xaf, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];
/// How often that is to be.
const REMIND_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a frame of either protocol, and what the newer one begins with where it holds a reading.
const OLD_BYTES: usize = 5;
const V7_BYTES: usize = 9;
const V7_READING: u8 = 0x01;

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)
    }

    fn link(&self) -> Link {
        let line = match self.protocol {
            Protocol::Old => Line { parity: Parity::Odd, ..Line::plain(19_200) },
            Protocol::V7 => Line::plain(115_200),
        };
        Link { port: self.port.clone(), line }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        Ok(Box::new(Cms50 {
            protocol: self.protocol,
            buffer: Vec::new(),
            noise: Noise::default(),
            sampler: Sampler::default(),
            before: None,
            silent_at: Instant(0),
            remind_at: None,
        }))
    }
}

struct Cms50 {
    protocol: Protocol,
    buffer: Vec<u8>,
    noise: Noise,
    sampler: Sampler,
    /// What the frame before said.
    before: Option<Said>,
    /// When it is given up unless it says something that makes sense.
    silent_at: Instant,
    /// When it is to be reminded.
    remind_at: Option<Instant>,
}

impl Cms50 {
    fn wait(&self, out: &mut Out) {
        out.wake_at(self.remind_at.map_or(self.silent_at, |remind| remind.min(self.silent_at)));
    }

    /// Takes the next frame off the buffer, as far as it is there.
    fn next(&mut self) -> Option<Vec<u8>> {
        // A frame of either protocol begins with the one byte in it whose bit 7 is unlike that of all others.
        let (begins, length) = match self.protocol {
            Protocol::Old => (0x80, OLD_BYTES),
            Protocol::V7 => (0, V7_BYTES),
        };
        self.noise.skip_until(&mut self.buffer, |byte| byte & 0x80 == begins);
        let rest = self.buffer.get(1..)?;
        let end = rest.iter().take(length - 1).position(|byte| byte & 0x80 == begins);
        match end {
            Some(end) => Some(self.buffer.drain(..=end).collect()),
            None if rest.len() >= length - 1 => Some(self.buffer.drain(..length).collect()),
            None => None,
        }
    }

    /// What a frame says; none where it holds no reading.
    fn read(&self, frame: &[u8]) -> Option<Said> {
        match self.protocol {
            Protocol::Old => old(frame),
            Protocol::V7 => v7(frame),
        }
    }
}

impl Codec for Cms50 {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.buffer.clear();
        self.before = None;
        self.silent_at = now.after(SILENCE);
        if self.protocol == Protocol::V7 {
            out.write(&START);
            self.remind_at = Some(now.after(REMIND_EVERY));
        }
        self.wait(out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        self.buffer.extend_from_slice(bytes);
        while let Some(frame) = self.next() {
            let said = self.read(&frame);
            let before = std::mem::replace(&mut self.before, said);
            if let Some(said) = said {
                // Without a checksum, what is said once may be damage: frames come 60 times a second, values change each second.
                if before == Some(said) {
                    self.noise.tell(out);
                    self.silent_at = now.after(SILENCE);
                    self.sampler.take(said, now, out);
                }
            } else if self.protocol == Protocol::Old || frame[0] == V7_READING || frame.len() == 1 {
                self.noise.skip(&frame); // other frames of firmware 7 answer what was not asked here
            }
        }
        self.wait(out);
    }

    fn due(&mut self, now: Now, out: &mut Out) {
        if now.boot >= self.silent_at {
            self.noise.tell(out);
            return out.hang_up(SILENT);
        }
        out.write(&REMIND);
        self.remind_at = Some(now.after(REMIND_EVERY));
        self.wait(out);
    }

    fn lost(&mut self, now: Now, out: &mut Out) {
        self.sampler.lost(now, out);
    }
}

/// Bit 4 of the first byte: no finger. Of the third: bit 4, the sensor; bit 5, searching; bit 6 is bit 7 of the pulse.
fn old(frame: &[u8]) -> Option<Said> {
    let &[signal, _, bar, pulse, spo2] = frame else { return None };
    let status = match (signal & 0x10 != 0, bar & 0x10 != 0, bar & 0x20 != 0) {
        (true, ..) => Status::FingerOut,
        (_, true, _) => Status::SensorDisconnected,
        (_, _, true) => Status::Searching,
        _ => Status::Measuring,
    };
    Some(said(status, (bar & 0x40) << 1 | pulse, spo2))
}

/// Bits 7 of seven bytes are gathered in the second. Of the third, bit 7: no finger, bit 4: long without a pulse; of the
/// fourth, bit 7: searching.
fn v7(frame: &[u8]) -> Option<Said> {
    let &[V7_READING, high, signal, _, _, pulse, spo2, _, _] = frame else { return None };
    let whole = |byte: u8, bit: u8| byte & 0x7f | (high >> bit & 1) << 7;
    let status = match (high & 0x01 != 0, high & 0x02 != 0 || signal & 0x10 != 0) {
        (true, _) => Status::FingerOut,
        (_, true) => Status::Searching,
        _ => Status::Measuring,
    };
    Some(said(status, whole(pulse, 3), whole(spo2, 4)))
}

/// 127 % and a pulse of 255 stand for none, as 0 does.
fn said(status: Status, pulse: u8, spo2: u8) -> Said {
    let in_range =
        |number: u8, most: u8| if (1..=most).contains(&number) { Ok(number.into()) } else { Err(number.into()) };
    Said { status, spo2: in_range(spo2, 100), pulse: in_range(pulse, 254) }
}

#[cfg(test)]
mod tests;
