//! DER (ITU-T X.690) as far as certificates and revocation lists need it, right or wrong: whatever is asked for is written.

/// A value of `tag`.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.extend(u8::try_from(length));
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        bytes.push(0x80 | u8::try_from(digits.len()).expect("a length has eight bytes at most"));
        bytes.extend(digits);
    }
    bytes.extend(content);
    bytes
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// An integer of exactly these bytes: a sign byte is the caller's.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    tlv(0x02, bytes)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    tlv(0x01, &[if value { 0xFF } else { 0 }])
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

/// A bit string without unused bits.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

/// The bit string of key usages: the first bit is the highest.
pub(crate) fn flags(byte: u8) -> Vec<u8> {
    tlv(0x03, &[u8::try_from(byte.trailing_zeros().min(7)).unwrap_or(0), byte])
}

/// An object identifier by its encoded content.
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(0x06, content)
}

/// A context-specific, constructed value.
pub(crate) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xA0 | number, content)
}

/// A name of one common name.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[oid(&[0x55, 4, 3]), tlv(0x0C, common_name.as_bytes())]);
    sequence(&[tlv(0x31, &attribute)])
}

/// UTCTime until 2049, GeneralizedTime beyond (RFC 5280, section 4.1.2.5). `seconds` count from the Unix epoch.
pub(crate) fn time(seconds: i64) -> Vec<u8> {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let clock = format!("{month:02}{day:02}{:02}{:02}{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60);
    if (1950..2050).contains(&year) {
        tlv(0x17, format!("{:02}{clock}", year % 100).as_bytes())
    } else {
        tlv(0x18, format!("{year:04}{clock}").as_bytes())
    }
}

/// Year, month and day of a day since the epoch, in the Gregorian calendar.
fn date(days: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut rest) = (1970, days);
    while rest < 0 {
        year -= 1;
        rest += if is_leap(year) { 366 } else { 365 };
    }
    while rest >= if is_leap(year) { 366 } else { 365 } {
        rest -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        if rest < length {
            return (year, month, rest + 1);
        }
        rest -= length;
    }
    unreachable!("a year has twelve months")
}

/// The same in PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (place, three) in der.chunks(3).enumerate() {
        let all = three.iter().chain([&0; 2]).take(3).fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        for digit in 0..4 {
            let letter = char::from(ALPHABET[all >> (18 - 6 * digit) & 63]);
            text.push(if digit <= three.len() { letter } else { '=' });
        }
        if place % 16 == 15 {
            text.push('\n');
        }
    }
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_others_write() {
        assert_eq!(integer(&[5]), [2, 1, 5]);
        assert_eq!(tlv(4, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tlv(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(time(0), b"\x17\x0d700101000000Z");
        assert_eq!(time(951_827_696), b"\x17\x0d000229123456Z");
        assert_eq!(time(4_102_444_800), b"\x18\x0f21000101000000Z");
        assert_eq!(flags(0b1000_0000), [3, 2, 7, 0x80]);
        assert_eq!(pem("X", b"any carnal pleas"), "-----BEGIN X-----\nYW55IGNhcm5hbCBwbGVhcw==\n-----END X-----\n");
    }
}
