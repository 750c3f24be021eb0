//! When a certificate is valid, read without all the rest of it: what a small device needs to know of its own.

use crate::der::{Der, SEQUENCE};

/// The first and the last second of a DER certificate's life, since 1970 (RFC 5280, section 4.1.2.5); none of what is not
/// one. Whether it is genuine is for a TLS verifier to say.
#[must_use]
pub fn life(certificate_der: &[u8]) -> Option<(i64, i64)> {
    let mut body = Der::of_certificate(certificate_der)?;
    body.take(SEQUENCE)?; // how it is signed
    body.take(SEQUENCE)?; // by whom
    let mut validity = Der(body.take(SEQUENCE)?);
    let life = (time(&mut validity)?, time(&mut validity)?);
    validity.0.is_empty().then_some(life)
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970.
fn time(der: &mut Der<'_>) -> Option<i64> {
    let (century, text) = match der.take(UTC_TIME) {
        Some(text) => (if pair(text)? < 50 { 20 } else { 19 }, text),
        None => {
            let text = der.take(GENERALIZED_TIME)?;
            (pair(text)?, text.get(2..)?)
        }
    };
    let (digits, zulu) = text.split_at_checked(12)?;
    let mut pairs = digits.chunks(2).map(pair);
    let mut next = || pairs.next().flatten();
    let (year, month, day) = (century * 100 + next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    let is_one = zulu == b"Z" && (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_one = is_one && hour < 24 && minute < 60 && second < 60;
    is_one.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The two digits that `text` begins with.
fn pair(text: &[u8]) -> Option<i64> {
    let digit = |at: usize| text.get(at).filter(|digit| digit.is_ascii_digit()).map(|digit| i64::from(digit - b'0'));
    Some(digit(0)? * 10 + digit(1)?)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar: years that begin in March have their leap day last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
#[cfg(feature = "authority")]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn certificate(from: OffsetDateTime, until: OffsetDateTime) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["meter-7".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from, until);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn it_is_what_a_whole_parser_reads_on_each_side_of_each_edge_of_the_calendar() {
        // Leap days, ends of centuries, and 2050, from which on times are written otherwise.
        for second in [0, 951_782_400, 951_868_799, 1_709_164_800, 2_524_607_999, 2_524_608_000, 4_107_542_399] {
            for (before, after) in [(1, 0), (0, 1), (86_400, 31_536_000)] {
                let at = OffsetDateTime::from_unix_timestamp(second).unwrap();
                let der = certificate(at - Duration::seconds(before), at + Duration::seconds(after));
                let (_, whole) = x509_parser::parse_x509_certificate(&der).unwrap();
                let validity = whole.validity();
                assert_eq!(life(&der), Some((validity.not_before.timestamp(), validity.not_after.timestamp())));
                assert_eq!(life(&der), Some((second - before, second + after)));
            }
        }
    }

    #[test]
    fn days_are_counted_as_a_library_counts_them() {
        for day in (0..60_000).step_by(7) {
            let date = (OffsetDateTime::UNIX_EPOCH + Duration::days(day)).date();
            assert_eq!(days(date.year().into(), u8::from(date.month()).into(), date.day().into()), day);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_life_and_does_no_harm() {
        let now = OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap();
        let mut der = certificate(now, now + Duration::days(90));
        for end in 0..der.len() {
            assert_eq!(life(&der[..end]), None, "cut at {end}");
        }
        let sound = der.clone();
        for at in 0..der.len() {
            for flip in [0x01, 0x80, 0xff] {
                der[at] ^= flip;
                let _ = life(&der); // some other life, or none
                der[at] = sound[at];
            }
        }
        der.push(0);
        assert_eq!(life(&der), None, "something behind it");
        assert_eq!(life(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
