//! Winsen MH-Z19 and its relatives: carbon dioxide, asked for.
//!
//! Question and answer have nine bytes; the last makes the sum of all but the first zero. The answer has the
//! concentration, and a temperature that the maker does not speak of.

use std::sync::Arc;
use std::time::Duration;

use proto::{Basis, Kind, Reading, Series, Value};
use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, Noise, Now, Out, check_port, series};
use super::{BadSetting, SourceError};

/// A sensor's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that the sensor is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// Seconds from one question to the next, 2 to 86400; the sensor measures every 5.
    #[serde(default = "every_s")]
    pub every_s: u32,
}

fn every_s() -> u32 {
    10
}

/// The question for the concentration.
const QUESTION: [u8; 9] = [0xff, 0x01, 0x86, 0, 0, 0, 0, 0, 0x79];
/// How long an answer may take, and how often is asked for it.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES_MAX: u32 = 3;
/// What a temperature of 0 °C is sent as.
const ZERO_CELSIUS: i16 = 40;

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        match self.every_s {
            2..=86_400 => Ok(()),
            _ => Err(BadSetting::new("every_s", "is to be 2 to 86400")),
        }
    }

    fn link(&self) -> Link {
        Link { port: self.port.clone(), line: Line::plain(9_600) }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        Ok(Box::new(Mhz19 {
            held: Vec::new(),
            noise: Noise::default(),
            every: Duration::from_secs(self.every_s.into()),
            tries: 0,
            co2: series("co2", "[ppm]", Kind::Gauge),
            temperature: series("temperature", "Cel", Kind::Gauge),
        }))
    }
}

struct Mhz19 {
    held: Vec<u8>,
    noise: Noise,
    every: Duration,
    /// How often was asked without an answer; 0 between answer and question.
    tries: u32,
    co2: Arc<Series>,
    temperature: Arc<Series>,
}

impl Mhz19 {
    fn ask(&mut self, now: Now, out: &mut Out) {
        self.noise.skip(&self.held);
        self.held.clear();
        self.noise.tell(out);
        out.write(&QUESTION);
        out.wake_at(now.after(PATIENCE));
        self.tries += 1;
    }

    fn take(&mut self, frame: [u8; 9], now: Now, out: &mut Out) {
        let [_, _, high, low, temperature, ..] = frame;
        let co2 = f64::from(u16::from_be_bytes([high, low]));
        let temperature = f64::from(i16::from(temperature) - ZERO_CELSIUS);
        for (series, number) in [(&self.co2, co2), (&self.temperature, temperature)] {
            out.sample(series, Basis::Boot, Reading::new(now.boot, Value::Number(number)));
        }
        self.tries = 0;
        out.wake_at(now.after(self.every));
    }
}

impl Codec for Mhz19 {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.held.clear();
        self.tries = 0;
        self.ask(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        self.held.extend_from_slice(bytes);
        loop {
            self.noise.skip_until(&mut self.held, |byte| *byte == 0xff);
            let Some(&frame) = self.held.first_chunk::<9>() else { break };
            let is_answer = frame[1] == 0x86;
            let is_sound = frame[1..].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) == 0;
            if is_answer && is_sound && self.tries > 0 {
                self.held.drain(..9);
                self.noise.tell(out);
                self.take(frame, now, out);
                continue;
            }
            if is_answer && !is_sound {
                self.noise.tell(out);
                out.reject("answer", "has a wrong checksum", &frame);
            } else if frame != QUESTION {
                self.noise.skip(&frame[..1]);
            }
            // What some adapters give back of the question is no noise.
            self.held.drain(..if frame == QUESTION { 9 } else { 1 });
        }
        self.noise.tell_much(out);
    }

    fn due(&mut self, now: Now, out: &mut Out) {
        if self.tries >= TRIES_MAX {
            self.noise.tell(out);
            return out.hang_up("does not answer; is it powered with 5 V, and are TX and RX crossed?");
        }
        self.ask(now, out);
    }
}

#[cfg(test)]
mod tests;
