//! Devices that are not here.
//!
//! Each is built from published bytes and descriptions of its protocol and imports nothing from the agent, so that both
//! cannot share a mistake. A [`Socket`] is the wall socket that it is plugged into: a pseudo-terminal behind a stable
//! name, or a TCP port. [`Manners`] make it misbehave: noise, split and merged frames, damaged bytes, silence, a plug
//! that is pulled in mid-frame.

mod manners;
mod remote;
mod socket;
mod speed;

pub mod air;
pub mod codefree;
pub mod contour;
pub mod dexcom;
pub mod dsmr;
pub mod freestyle;
pub mod lifescan;
pub mod modbus;
pub mod mqtt;
pub mod nightscout;
pub mod oximeters;
pub mod sparkplug;
pub mod taidoc;
pub mod ultra2;

pub use manners::Manners;
pub use remote::Remote;
pub use socket::{Sent, Socket, terminal};
pub use speed::misread;

impl<D: Device + ?Sized> Device for Box<D> {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        (**self).hear(bytes)
    }

    fn idle(&mut self) -> Vec<u8> {
        (**self).idle()
    }
}

/// What a device says to what it hears. It may also speak unasked.
pub trait Device: Send {
    /// Bytes came from the host, in whatever pieces; what it answers.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8>;

    /// What it says unasked; called some hundred times a second while nobody speaks.
    fn idle(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// One test of blood, as a meter keeps it: local time without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Year, month, day, hour, minute.
    pub at: [u16; 5],
    /// What was measured, in mg/dL.
    pub mg_dl: u16,
    /// Before (1) or after (2) a meal, or not said (0).
    pub meal: u8,
    /// Whether it was control solution.
    pub control: bool,
}

impl Test {
    /// The `number`th of a series of tests, a minute apart from 2026-01-01T00:00, no two of them alike.
    #[must_use]
    pub fn number(number: u16) -> Self {
        let (day, minute) = (number / 1_440, number % 1_440);
        let at = [2026, 1, day % 28 + 1, minute / 60, minute % 60];
        Self { at, mg_dl: 40 + number % 400, meal: 0, control: false }
    }

    /// Seconds from the beginning of `year` to it, without leap seconds; `year` is 1970 or later.
    #[must_use]
    pub fn seconds_since(&self, year: u16) -> u32 {
        let [to_year, month, day, hour, minute] = self.at.map(u32::from);
        let leap = |year: u32| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let years: u32 = (u32::from(year)..to_year).map(|year| 365 + u32::from(leap(year))).sum();
        let lengths = [31, 28 + u32::from(leap(to_year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let months: u32 = lengths.iter().take(usize::try_from(month - 1).unwrap_or(0)).sum();
        ((years + months + day - 1) * 24 + hour) * 3_600 + minute * 60
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted_as_calendars_do() {
        let test = Test { at: [2019, 8, 4, 13, 37], ..Test::number(0) };
        assert_eq!(test.seconds_since(1970), 1_564_925_820);
        assert_eq!(test.seconds_since(2000), 1_564_925_820 - 946_684_800);
    }
}
