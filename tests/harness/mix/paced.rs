//! Devices that push at the pace of real ones, from published descriptions.

use std::time::{Duration, Instant};

use emulators::Device;
use emulators::modbus::crc;

/// A device that says something once in a while.
pub(super) struct Paced<S> {
    every: Duration,
    due: Instant,
    said: u32,
    says: S,
}

impl<S: FnMut(u32) -> Vec<u8> + Send> Paced<S> {
    /// What `says` makes of how often it spoke before, at each `every`.
    pub(super) fn new(every: Duration, says: S) -> Self {
        Self { every, due: Instant::now() + every, said: 0, says }
    }
}

impl<S: FnMut(u32) -> Vec<u8> + Send> Device for Paced<S> {
    fn hear(&mut self, _bytes: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    fn idle(&mut self) -> Vec<u8> {
        if Instant::now() < self.due {
            return Vec::new();
        }
        self.due += self.every;
        self.said += 1;
        (self.says)(self.said)
    }
}

/// What changes slowly: up and down by a little.
pub(super) fn wave(count: u32) -> u32 {
    let place = count % 200;
    place.min(200 - place)
}

/// The `count`th telegram of a three-phase meter, version 5: one a second.
pub(super) fn telegram(count: u32) -> Vec<u8> {
    let (minute, second, wave) = (count / 60 % 60, count % 60, wave(count));
    let text = format!(
        "/ISk5\\2MT382-1000\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(17010219{minute:02}{second:02}W)\r\n\
         1-0:1.8.1({:010.3}*kWh)\r\n1-0:1.8.2(000842.472*kWh)\r\n0-0:96.14.0(0002)\r\n1-0:1.7.0(00.{wave:03}*kW)\r\n\
         1-0:2.7.0(00.000*kW)\r\n1-0:32.7.0(0230.{}*V)\r\n1-0:52.7.0(0229.{}*V)\r\n1-0:72.7.0(0231.{}*V)\r\n\
         1-0:31.7.0(001*A)\r\n1-0:51.7.0(000*A)\r\n1-0:71.7.0(002*A)\r\n0-1:24.1.0(003)\r\n\
         0-1:24.2.1(170102{:02}0000W)(00000.107*m3)\r\n!",
        f64::from(4_000 + count) / 1_000.0,
        count % 10,
        count % 7,
        count % 9,
        count / 3_600 % 24,
    );
    let sum = crc(0, text.as_bytes());
    format!("{text}{sum:04X}\r\n").into_bytes()
}

/// The `count`th moment of a satellite receiver, both sentences of it: one a second.
pub(super) fn sentences(count: u32) -> Vec<u8> {
    let (time, wave) = (format!("12{:02}{:02}.00", count / 60 % 60, count % 60), wave(count));
    let rmc = format!("GPRMC,{time},A,6026.{wave:05},N,02217.14087,E,0.{wave:03},12.5,150722,,,A");
    let gga = format!("GPGGA,{time},6026.{wave:05},N,02217.14087,E,1,08,0.96,66.1,M,18.7,M,,");
    let summed = |body: &str| format!("${body}*{:02X}\r\n", body.bytes().fold(0, |sum, byte| sum ^ byte));
    format!("{}{}", summed(&rmc), summed(&gga)).into_bytes()
}
