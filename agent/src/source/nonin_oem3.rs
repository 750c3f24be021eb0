//! Nonin OEM III and the oximeters with such a module in them (Xpod, iPod and others), in their formats 2 and 7.
//!
//! Both send 75 frames of 5 bytes a second, which end in the sum of the four before; 25 frames make a packet, in which the
//! fourth byte of each has another meaning. Format 2 begins each frame with 01; format 7 has the status there.
//!
//! Facts: mdpnp (format 2), IBME SleepAp and the Cordova plug-in for Nonin (format 7, codes for what is missing).

use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, Noise, Now, Out, check_port};
use super::oximetry::{SILENCE, SILENT, Said, Sampler, Status};
use super::{BadSetting, SourceError};

/// An oximeter's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that it is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// The format that it is set to: 2 or 7.
    #[serde(default = "format")]
    pub format: u8,
}

fn format() -> u8 {
    2
}

/// Bytes of a frame, and frames of a packet.
const FRAME_BYTES: usize = 5;
const FRAMES: usize = 25;
/// What a frame of format 2 begins with.
const START: u8 = 0x01;
/// Bits of a status: it is one, it is of the first frame, and what is wrong.
const IS_STATUS: u8 = 0x80;
const IS_FIRST: u8 = 0x01;
const DISCONNECTED: u8 = 0x40;
const OUT_OF_TRACK: u8 = 0x10;
const SENSOR_ALARM: u8 = 0x08;
/// What stands for no value.
const NO_PULSE: u16 = 511;
const NO_SPO2: u16 = 127;

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        match self.format {
            2 | 7 => Ok(()),
            _ => Err(BadSetting::new("format", "is to be 2 or 7, as the oximeter is set")),
        }
    }

    fn link(&self) -> Link {
        Link { port: self.port.clone(), line: Line::plain(9_600) }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        Ok(Box::new(Oem3 {
            is_format_2: self.format == 2,
            buffer: Vec::new(),
            locked: false,
            packet: None,
            noise: Noise::default(),
            sampler: Sampler::default(),
        }))
    }
}

struct Oem3 {
    is_format_2: bool,
    buffer: Vec<u8>,
    /// Whether frames follow upon each other: a sum is right by chance too.
    locked: bool,
    /// What a packet says in the frames that came of it; none before its first one.
    packet: Option<Vec<u8>>,
    noise: Noise,
    sampler: Sampler,
}

impl Oem3 {
    /// Whether a frame is at `at`, as far as that can be known; its status and what it says.
    fn frame_at(&self, at: usize) -> Option<(u8, u8)> {
        let &[first, a, b, said, sum] = self.buffer.get(at..at + FRAME_BYTES)?.first_chunk()?;
        let status = if self.is_format_2 { a } else { first };
        let is_right = [a, b, said].into_iter().fold(first, u8::wrapping_add) == sum;
        let begins = !self.is_format_2 || first == START;
        (is_right && begins && status & IS_STATUS != 0).then_some((status, said))
    }

    /// Takes the next frame off the buffer.
    fn next(&mut self) -> Option<(u8, u8)> {
        loop {
            let needed = if self.locked { FRAME_BYTES } else { 2 * FRAME_BYTES };
            if self.buffer.len() < needed {
                return None;
            }
            let follows = self.locked || self.frame_at(FRAME_BYTES).is_some();
            if let Some(frame) = self.frame_at(0).filter(|_| follows) {
                self.buffer.drain(..FRAME_BYTES);
                self.locked = true;
                return Some(frame);
            }
            (self.locked, self.packet) = (false, None);
            self.noise.skip(&self.buffer[..1]);
            self.buffer.drain(..1);
        }
    }

    /// Adds a frame to its packet; what the packet says once it is whole.
    fn gather(&mut self, status: u8, said: u8, out: &mut Out) -> Option<Said> {
        if status & IS_FIRST != 0
            && let Some(packet) = self.packet.replace(Vec::with_capacity(FRAMES))
        {
            out.reject("packet", format!("broke off after {} of {FRAMES} frames", packet.len()), &packet);
        }
        let packet = self.packet.as_mut()?;
        packet.push(said);
        if packet.len() < FRAMES {
            return None;
        }
        let packet = self.packet.take()?;
        let &[high, low, spo2, ..] = packet.as_slice() else { return None };
        Some(packet_says(status, [high, low, spo2]))
    }
}

/// Pulse, averaged over four beats, in the first two frames; saturation, averaged likewise, in the third.
fn packet_says(status: u8, [high, low, spo2]: [u8; 3]) -> Said {
    let status = match status {
        bits if bits & DISCONNECTED != 0 => Status::SensorDisconnected,
        bits if bits & SENSOR_ALARM != 0 => Status::FingerOut,
        bits if bits & OUT_OF_TRACK != 0 => Status::Searching,
        _ => Status::Measuring,
    };
    let pulse = u16::from(high & 0x03) << 7 | u16::from(low & 0x7f);
    let spo2 = u16::from(spo2 & 0x7f);
    let known = |number: u16, none: u16| if number == none { Err(number) } else { Ok(number) };
    Said { status, spo2: known(spo2, NO_SPO2), pulse: known(pulse, NO_PULSE) }
}

impl Codec for Oem3 {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.buffer.clear();
        (self.locked, self.packet) = (false, None);
        out.wake_at(now.after(SILENCE));
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        self.buffer.extend_from_slice(bytes);
        while let Some((status, said)) = self.next() {
            self.noise.tell(out);
            if let Some(said) = self.gather(status, said, out) {
                self.sampler.take(said, now, out);
                out.wake_at(now.after(SILENCE));
            }
        }
    }

    fn due(&mut self, _now: Now, out: &mut Out) {
        self.noise.tell(out);
        out.hang_up(SILENT);
    }

    fn lost(&mut self, now: Now, out: &mut Out) {
        self.sampler.lost(now, out);
    }
}

#[cfg(test)]
mod tests;
