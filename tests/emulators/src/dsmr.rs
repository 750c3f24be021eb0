//! An energy meter's P1 port, after the P1 companion standard: it pushes telegrams of version 5.

use crate::Device;
use crate::modbus::crc;

/// A meter that pushes one telegram after the other.
#[derive(Clone, Debug)]
pub struct Dsmr {
    /// Telegrams that are still to come.
    pub left: u32,
    /// How many went before.
    pub sent: u32,
}

impl Dsmr {
    /// One that sends `count` telegrams.
    #[must_use]
    pub fn new(count: u32) -> Self {
        Self { left: count, sent: 0 }
    }

    /// The `number`th telegram: a second and a watt-hour later than the one before.
    #[must_use]
    pub fn telegram(number: u32) -> Vec<u8> {
        let (minute, second) = (number / 60 % 60, number % 60);
        let text = format!(
            "/ISk5\\2MT382-1000\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(17010219{minute:02}{second:02}W)\r\n\
             1-0:1.8.1({:010.3}*kWh)\r\n0-1:24.1.0(003)\r\n0-1:24.2.1(170102{:02}0000W)(00000.107*m3)\r\n!",
            f64::from(4_000 + number) / 1_000.0,
            number / 100 % 24
        );
        let sum = crc(0, text.as_bytes());
        format!("{text}{sum:04X}\r\n").into_bytes()
    }
}

impl Device for Dsmr {
    fn hear(&mut self, _bytes: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    fn idle(&mut self) -> Vec<u8> {
        if self.left == 0 {
            return Vec::new();
        }
        self.left -= 1;
        self.sent += 1;
        Self::telegram(self.sent - 1)
    }
}
