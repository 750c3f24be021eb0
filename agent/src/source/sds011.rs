//! Nova SDS011: fine dust, as the sensor sends it by itself.
//!
//! A frame has ten bytes: `AA C0`, PM2.5 and PM10 in tenths of a microgram (the low byte first), two bytes of the
//! sensor's number, the sum of these six, `AB`.

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
    /// Take a measurement at most so often, in seconds; 0: every one.
    #[serde(default)]
    pub every_s: u32,
    /// Seconds without a measurement after which the port is opened anew; 0: never.
    #[serde(default = "silence_s")]
    pub silence_s: u32,
}

fn silence_s() -> u32 {
    120
}

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        Pace::check(self.every_s, self.silence_s)
    }

    fn link(&self) -> Link {
        Link { port: self.port.clone(), line: Line::plain(9_600) }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        Ok(Box::new(Sds011 {
            held: Vec::new(),
            noise: Noise::default(),
            pace: Pace::new(self.every_s, self.silence_s),
            series: ["pm2.5", "pm10"].map(|name| series(name, "ug/m3", Kind::Gauge)),
        }))
    }
}

struct Sds011 {
    held: Vec<u8>,
    noise: Noise,
    pace: Pace,
    series: [Arc<Series>; 2],
}

impl Codec for Sds011 {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.held.clear();
        self.pace.expect(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        self.held.extend_from_slice(bytes);
        loop {
            self.noise.skip_until(&mut self.held, |byte| *byte == 0xaa);
            let Some(&frame) = self.held.first_chunk::<10>() else { break };
            let [0xaa, 0xc0, data @ .., sum, 0xab] = frame else {
                self.noise.skip(&self.held[..1]);
                self.held.drain(..1);
                continue;
            };
            self.noise.tell(out);
            if sum != data.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) {
                out.reject("frame", "has a wrong checksum", &frame);
                self.held.drain(..1); // a frame may begin within it
                continue;
            }
            self.held.drain(..10);
            out.well();
            self.pace.expect(now, out);
            if self.pace.is_due(now) {
                let [fine_low, fine_high, low, high, ..] = data;
                for (series, tenths) in self.series.iter().zip([[fine_low, fine_high], [low, high]]) {
                    let value = f64::from(u16::from_le_bytes(tenths)) / 10.0; // rounded once: the nearest to the tenths
                    out.sample(series, Basis::Boot, Reading::new(now.boot, Value::Number(value)));
                }
            }
        }
        self.noise.tell_much(out);
    }

    fn due(&mut self, _now: Now, out: &mut Out) {
        self.noise.tell(out);
        self.pace
            .give_up("is it powered, and its TX connected? Where it was set to rest for minutes, set `silence_s`", out);
    }
}

#[cfg(test)]
mod tests;
