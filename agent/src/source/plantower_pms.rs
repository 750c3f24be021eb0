//! Plantower PMS sensors: fine dust by mass and by count, as the sensor sends it by itself.
//!
//! A frame begins with `42 4D` and the number of bytes that follow, high byte first: words, and the 16-bit sum of all
//! before it. The PMS3003 has 9 words, the PMS5003, PMS7003 and PMSA003 have 13, the PMS5003ST has 17, of which the
//! first 12 are the same.

use std::sync::Arc;

use proto::{Basis, Kind, Reading, Series, Value};
use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, Noise, Now, Out, check_port, series};
use super::pace::Pace;
use super::{BadSetting, SourceError};

/// A sensor's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that the sensor is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// Which one it is, as the `T` cannot be told from the others by what it sends.
    #[serde(default)]
    pub model: Model,
    /// Take a measurement at most so often, in seconds; 0: every one.
    #[serde(default)]
    pub every_s: u32,
    /// Seconds without a measurement after which the port is opened anew; 0: never.
    #[serde(default = "silence_s")]
    pub silence_s: u32,
}

/// A kind of sensor. Those that send alike are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// PMS3003, PMS5003, PMS5003ST, PMS7003, PMSA003 and those sold under other names.
    #[default]
    Pms,
    /// PMS5003T: temperature and humidity in place of the two largest counts.
    Pms5003t,
}

fn silence_s() -> u32 {
    30
}

/// Names and units of the words, in their order: mass by the factory's calibration, mass in air, counts.
const WORDS: [(&str, &str); 12] = [
    ("pm1.standard", "ug/m3"),
    ("pm2.5.standard", "ug/m3"),
    ("pm10.standard", "ug/m3"),
    ("pm1", "ug/m3"),
    ("pm2.5", "ug/m3"),
    ("pm10", "ug/m3"),
    ("particles.0.3", "{particles/dL}"),
    ("particles.0.5", "{particles/dL}"),
    ("particles.1", "{particles/dL}"),
    ("particles.2.5", "{particles/dL}"),
    ("particles.5", "{particles/dL}"),
    ("particles.10", "{particles/dL}"),
];
/// Words that the smallest sensor has.
const WORDS_SMALL: usize = 6;

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        Pace::check(self.every_s, self.silence_s)
    }

    fn link(&self) -> Link {
        Link { port: self.port.clone(), line: Line::plain(9_600) }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        let mut words = WORDS;
        if self.model == Model::Pms5003t {
            (words[10], words[11]) = (("temperature", "Cel"), ("humidity", "%"));
        }
        Ok(Box::new(Pms {
            held: Vec::new(),
            noise: Noise::default(),
            pace: Pace::new(self.every_s, self.silence_s),
            series: words.map(|(name, unit)| series(name, unit, Kind::Gauge)),
            is_t: self.model == Model::Pms5003t,
        }))
    }
}

struct Pms {
    held: Vec<u8>,
    noise: Noise,
    pace: Pace,
    series: [Arc<Series>; 12],
    /// Whether the last two words are temperature and humidity.
    is_t: bool,
}

impl Pms {
    /// A whole frame whose sum was right, without it.
    fn take(&self, said: &[u8], now: Now, out: &mut Out) {
        let known = if said.len() < 30 { WORDS_SMALL } else { self.series.len() };
        let words = said[4..].chunks_exact(2).map(|word| [word[0], word[1]]);
        for (place, (series, word)) in self.series.iter().take(known).zip(words).enumerate() {
            let value = match (self.is_t, place) {
                (true, 10) => f64::from(i16::from_be_bytes(word)) / 10.0,
                (true, 11) => f64::from(u16::from_be_bytes(word)) / 10.0,
                _ => u16::from_be_bytes(word).into(),
            };
            out.sample(series, Basis::Boot, Reading::new(now.boot, Value::Number(value)));
        }
    }
}

impl Codec for Pms {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.held.clear();
        self.pace.expect(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        self.held.extend_from_slice(bytes);
        loop {
            self.noise.skip_until(&mut self.held, |byte| *byte == 0x42);
            let length = match self.held.first_chunk() {
                None => break,
                Some([0x42, 0x4d, 0, length @ (20 | 28 | 36)]) => 4 + usize::from(*length),
                Some(_) => {
                    self.noise.skip(&self.held[..1]);
                    self.held.drain(..1);
                    continue;
                }
            };
            let Some(frame) = self.held.get(..length).map(<[u8]>::to_vec) else { break };
            self.noise.tell(out);
            let (said, sum) = frame.split_at(length - 2);
            let expected = said.iter().fold(0_u16, |sum, byte| sum.wrapping_add((*byte).into()));
            if sum != expected.to_be_bytes() {
                out.reject("frame", "has a wrong checksum", &frame);
                self.held.drain(..1); // a frame may begin within it
                continue;
            }
            self.held.drain(..length);
            out.well();
            self.pace.expect(now, out);
            if self.pace.is_due(now) {
                self.take(said, now, out);
            }
        }
        self.noise.tell_much(out);
    }

    fn due(&mut self, _now: Now, out: &mut Out) {
        self.noise.tell(out);
        self.pace.give_up("is it powered with 5 V, awake (SET high), and its TX connected?", out);
    }
}

#[cfg(test)]
mod tests;
