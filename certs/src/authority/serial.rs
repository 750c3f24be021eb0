//! Serial numbers: 128 bits, drawn at random.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The serial number of a certificate; 32 lower-case hexadecimal digits in print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(u128);

/// A text that is no serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is 1 to 32 hexadecimal digits, as `tributary-certs list` prints it")]
pub struct NotASerial;

impl Serial {
    /// Draws a serial number from the system's random source.
    ///
    /// The first bit is clear, so that it is positive, and the second is set, so that it always takes 16 bytes; the
    /// other 126 are random. RFC 5280 (section 4.1.2.2) allows 20 bytes; 64 random bits are held to be enough to keep
    /// a chosen-prefix attacker from guessing.
    pub(crate) fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self((u128::from_be_bytes(bytes) & (u128::MAX >> 1)) | (1 << 126)))
    }

    /// Big-endian bytes, as a certificate holds them.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl FromStr for Serial {
    type Err = NotASerial;

    /// Upper case and the colons that other tools print between bytes are understood too.
    fn from_str(text: &str) -> Result<Self, NotASerial> {
        let digits: String = text.chars().filter(|character| *character != ':').collect();
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hexadecimal {
            return Err(NotASerial); // the parser below would take a sign
        }
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| NotASerial)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TryFrom<String> for Serial {
    type Error = NotASerial;

    fn try_from(text: String) -> Result<Self, NotASerial> {
        text.parse()
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_serials_are_positive_take_sixteen_bytes_and_differ() {
        let serials: std::collections::BTreeSet<Serial> = (0..200).map(|_| Serial::draw().unwrap()).collect();
        assert_eq!(serials.len(), 200);
        assert!(serials.iter().all(|serial| serial.to_bytes()[0] >> 6 == 0b01));
    }

    #[test]
    fn serials_survive_print_and_parse() {
        let serial = Serial::draw().unwrap();
        assert_eq!(serial.to_string().parse(), Ok(serial));
        assert_eq!(serial.to_string().to_uppercase().parse(), Ok(serial));
        assert_eq!("0A:ff".parse(), Ok(Serial(0x0aff)));
        for bad in ["", ":", "+1", "-1", "0x1", "g", &"f".repeat(33)] {
            assert_eq!(bad.parse::<Serial>(), Err(NotASerial), "{bad}");
        }
    }
}
