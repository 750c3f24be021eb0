//! What a sentence says: `$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76`.
//!
//! The crate that is there brings a parser generator and a calendar of its own, and turns everything into floats.

use jiff::civil::{Date, Time};

/// Places behind the point of a minute that are taken.
const PLACES_MAX: usize = 8;

/// A sentence that is of use.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sentence {
    /// Its time of day in UTC as written, or nothing.
    pub(super) time: String,
    pub(super) clock: Option<Time>,
    /// Latitude and longitude in degrees, north and east positive; none where the receiver has none.
    pub(super) position: Option<(f64, f64)>,
    pub(super) fix: Fix,
}

/// What else it says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fix {
    Gga { quality: f64, satellites: Option<f64>, altitude: Option<f64> },
    Rmc { date: Option<Date>, speed: Option<f64>, course: Option<f64> },
}

impl Sentence {
    /// Reads a line; none for a sentence of another kind. Fails without repeating anything of it.
    pub(super) fn read(line: &[u8]) -> Result<Option<Self>, &'static str> {
        let text = std::str::from_utf8(line).map_err(|_| "is no text; check `baud`")?.trim_end();
        if text.is_empty() || text.starts_with('!') {
            return Ok(None); // ships, in a code of their own
        }
        let inner = text.strip_prefix('$').ok_or("begins without `$`")?;
        let (body, sum) = inner.split_once('*').ok_or("has no checksum")?;
        let expected = body.bytes().fold(0, |sum, byte| sum ^ byte);
        if sum.len() != 2 || u8::from_str_radix(sum, 16) != Ok(expected) {
            return Err("has a wrong checksum");
        }
        let fields: Vec<&str> = body.split(',').collect();
        match (fields[0].get(2..), fields.as_slice()) {
            (Some("GGA"), [_, time, north, n, east, e, quality, satellites, _, altitude, "M" | "", ..]) => {
                let quality = number(quality)?.ok_or("does not say whether there is a position")?;
                let has_fix = quality != 0.0;
                let fix = Fix::Gga {
                    quality,
                    satellites: number(satellites)?,
                    altitude: if has_fix { number(altitude)? } else { None },
                };
                Self::new(time, position([north, n, east, e], has_fix)?, fix).map(Some)
            }
            (Some("RMC"), [_, time, status, north, n, east, e, speed, course, date, ..]) => {
                let has_fix = *status == "A";
                let fix = match has_fix {
                    true => Fix::Rmc { date: date_of(date)?, speed: number(speed)?, course: number(course)? },
                    false => Fix::Rmc { date: None, speed: None, course: None },
                };
                Self::new(time, position([north, n, east, e], has_fix)?, fix).map(Some)
            }
            (Some("GGA" | "RMC"), _) => Err("has too few fields, or others than it should"),
            _ => Ok(None),
        }
    }

    fn new(time: &str, position: Option<(f64, f64)>, fix: Fix) -> Result<Self, &'static str> {
        let clock = if time.is_empty() { None } else { Some(clock(time).ok_or("has no time of day")?) };
        Ok(Self { time: time.to_owned(), clock, position, fix })
    }
}

/// `092750.000`
fn clock(text: &str) -> Option<Time> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_plain =
        whole.len() == 6 && part.len() <= 9 && [whole, part].concat().bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain {
        return None;
    }
    let two = |at: usize| whole[at..at + 2].parse::<i8>().ok();
    let nanoseconds = format!("{part:0<9}").parse().ok()?;
    // A leap second is shown as 60: the moment after it, which has no other name here.
    let second = two(4)?.min(59);
    Time::new(two(0)?, two(2)?, second, nanoseconds).ok()
}

/// `150722`: day, month, year of this century.
fn date_of(text: &str) -> Result<Option<Date>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = "has no date such as 150722";
    if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong);
    }
    let two = |at: usize| text[at..at + 2].parse::<i8>().map_err(|_| wrong);
    Date::new(2_000 + i16::from(two(4)?), two(2)?, two(0)?).map(Some).map_err(|_| wrong)
}

/// A decimal as written, as the nearest double; none for an empty field.
fn number(text: &str) -> Result<Option<f64>, &'static str> {
    let wrong = "has a field that is no decimal number";
    let known = |byte: u8| byte.is_ascii_digit() || b".-+".contains(&byte);
    match text {
        "" => Ok(None),
        _ if text.len() <= 20 && text.bytes().all(known) => text.parse().map(Some).map_err(|_| wrong),
        _ => Err(wrong),
    }
}

fn position([north, n, east, e]: [&str; 4], has_fix: bool) -> Result<Option<(f64, f64)>, &'static str> {
    if !has_fix || (north.is_empty() && east.is_empty()) {
        return Ok(None);
    }
    let wrong = "has no latitude and longitude such as 5321.6802,N,00630.3372,W";
    let side = |of: &str, plus: &str, minus: &str| match of {
        _ if of == plus => Some(1.0),
        _ if of == minus => Some(-1.0),
        _ => None,
    };
    let latitude = degrees(north, 2, 90).zip(side(n, "N", "S")).map(|(degrees, side)| degrees * side);
    let longitude = degrees(east, 3, 180).zip(side(e, "E", "W")).map(|(degrees, side)| degrees * side);
    latitude.zip(longitude).map(Some).ok_or(wrong)
}

/// Degrees of `width` digits and minutes with decimals, as degrees with three decimals more: each text gives another
/// number, no further from the truth than a thirtieth of its last digit.
fn degrees(text: &str, width: usize, most: u64) -> Option<f64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = [whole, part].concat();
    if whole.len() != width + 2 || part.len() > PLACES_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = 10_u64.pow(u32::try_from(part.len()).ok()?);
    let (degrees, minutes) = (digits[..width].parse::<u64>().ok()?, digits[width..].parse::<u64>().ok()?);
    let all = degrees * 60 * unit + minutes;
    if minutes >= 60 * unit || all > most * 60 * unit {
        return None;
    }
    // A sixtieth of it in thousandths, to the nearest; all of these are whole numbers that a double holds exactly.
    let thousandths = (all * 100 / 3).div_ceil(2);
    Some(thousandths as f64 / (unit * 1_000) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Sentence {
        Sentence::read(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn published_sentences_are_read() {
        let gga = read("$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r");
        assert_eq!(gga.position, Some((53.361_336_7, -6.505_62)));
        assert_eq!(gga.fix, Fix::Gga { quality: 1.0, satellites: Some(8.0), altitude: Some(61.7) });
        assert_eq!(gga.clock, Some(jiff::civil::time(9, 27, 50, 0)));
        // elmot/rp2040-data-logger
        let rmc = read("$GPRMC,201230.00,A,6026.86949,N,02217.14087,E,0.689,,150722,,,A*72");
        assert_eq!(rmc.position, Some((60.447_824_83, 22.285_681_17)));
        let date = Some(jiff::civil::date(2022, 7, 15));
        assert_eq!(rmc.fix, Fix::Rmc { date, speed: Some(0.689), course: None });
        // Scottz0r/Arduino-GPS: a receiver that knows the time and no place.
        let none = read("$GPGGA,153845.307,,,,,0,00,,,M,,M,,*72");
        assert_eq!((none.position, none.clock), (None, Some(jiff::civil::time(15, 38, 45, 307_000_000))));
        // south and east, below the sea
        let south = read("$GPGGA,084048,2727.9531,S,15305.3447,E,1,07,02.0,-00001.0,M,039.4,M,,*70");
        assert_eq!(south.position, Some((-27.465_885, 153.089_078_3)));
        assert_eq!(south.fix, Fix::Gga { quality: 1.0, satellites: Some(7.0), altitude: Some(-1.0) });
        assert_eq!(Sentence::read(b"$GPGSA,A,3,07,08,11,13,17,27,28,,,,,,05.3,02.0,04.8*0E"), Ok(None));
    }

    #[test]
    fn neighbouring_positions_stay_apart_and_go_back_to_what_was_sent() {
        for minutes in 0..60_000_u32 {
            let text = format!("53{:02}.{:03}", minutes / 1_000, minutes % 1_000);
            let degrees = degrees(&text, 2, 90).unwrap();
            assert_eq!(((degrees - 53.0) * 60_000.0).round(), f64::from(minutes), "{text}");
        }
        assert_eq!(degrees("9000.0000", 2, 90), Some(90.0));
        assert_eq!(degrees("9000.0001", 2, 90), None);
        assert_eq!(degrees("5360.0000", 2, 90), None);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_place() {
        let summed = |body: &str| format!("${body}*{:02X}", body.bytes().fold(0, |sum, byte| sum ^ byte));
        let good = "GPGGA,092750.000,5321.6802,N,00631.4483,W,1,8,1.03,61.7,M,55.2,M,,";
        for (line, problem) in [
            (summed(good).replace("5321", "5322"), "checksum"),
            (summed(good).replace('*', ""), "checksum"),
            (summed(good).replace('$', ""), "`$`"),
            (summed(&good.replace("5321.6802", "9321.6802")), "latitude"),
            (summed(&good.replace(",W,", ",Q,")), "latitude"),
            (summed(&good.replace("61.7", "61,7")), "too few fields"),
            (summed(&good.replace("61.7", "6l.7")), "decimal"),
            (summed(&good.replace("092750.000", "0927")), "time of day"),
            (summed("GPRMC,201230.00,A,6026.86949,N,02217.14087,E,0.689,,153922,,,A"), "date"),
            (summed("GPGGA,1,2"), "too few"),
        ] {
            let found = Sentence::read(line.as_bytes()).unwrap_err();
            assert!(found.contains(problem) && !found.contains("00631.4483"), "{line}: {found}");
        }
    }
}
