//! Decimals, so that 2301 tenths are 230.1 and nothing near it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Digits of a decimal in the settings: a double holds as many without doubt, so what was written is what is meant.
const SETTING_DIGITS: i128 = 1_000_000_000_000_000;
/// Digits of a decimal that is read, and its places behind the point.
const DIGITS_MAX: usize = 20;
const PLACES_MAX: i32 = 18;

/// A number as written in tens: `digits` × 10^-`places`, without needless zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Decimal {
    digits: i128,
    places: u32,
}

/// A number that cannot be taken for a decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no decimal number of at most 15 digits, such as 0.1")]
pub struct BadDecimal;

impl TryFrom<f64> for Decimal {
    type Error = BadDecimal;

    /// What was written in the settings: the shortest decimal that means this double.
    fn try_from(number: f64) -> Result<Self, BadDecimal> {
        let decimal: Self = format!("{number:e}").parse()?;
        if decimal.digits.abs() < SETTING_DIGITS { Ok(decimal) } else { Err(BadDecimal) }
    }
}

impl From<Decimal> for f64 {
    /// The nearest double.
    fn from(decimal: Decimal) -> Self {
        // Parsing rounds to the nearest, which no arithmetic on doubles does.
        format!("{}e-{}", decimal.digits, decimal.places).parse().unwrap_or(f64::NAN)
    }
}

impl From<i128> for Decimal {
    fn from(whole: i128) -> Self {
        Self { digits: whole, places: 0 }
    }
}

impl FromStr for Decimal {
    type Err = BadDecimal;

    /// Reads `-21.50`, `.5` and `1.25e-3`, of at most 20 digits, 18 of them behind the point.
    fn from_str(text: &str) -> Result<Self, BadDecimal> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i16>().map_err(|_| BadDecimal)?.into()),
            None => (text, 0),
        };
        let (is_negative, number) = match number.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let written = [whole, part].concat();
        let significant = written.trim_start_matches('0').trim_end_matches('0');
        let is_plain = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit());
        if !is_plain || significant.len() > DIGITS_MAX {
            return Err(BadDecimal);
        }
        if significant.is_empty() {
            return Ok(Self { digits: 0, places: 0 });
        }
        let zeros = written.len() - written.trim_end_matches('0').len();
        let behind = i32::try_from(part.len()).map_err(|_| BadDecimal)?;
        let places = behind - i32::try_from(zeros).map_err(|_| BadDecimal)? - exponent;
        let digits: i128 = significant.parse().map_err(|_| BadDecimal)?;
        let digits = if is_negative { -digits } else { digits };
        match u32::try_from(places) {
            Ok(places) if places <= PLACES_MAX.unsigned_abs() => Ok(Self { digits, places }),
            Ok(_) => Err(BadDecimal),
            Err(_) => {
                let more = 10_i128.checked_pow(places.unsigned_abs()).ok_or(BadDecimal)?;
                digits.checked_mul(more).map(Self::from).ok_or(BadDecimal)
            }
        }
    }
}

impl Decimal {
    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// `self` × `scale` + `offset`, exact until it becomes the nearest double; none where the digits are too many.
    pub(super) fn scaled(self, scale: Option<Self>, offset: Option<Self>) -> Option<f64> {
        let scale = scale.unwrap_or(Self::from(1));
        let offset = offset.unwrap_or(Self::from(0));
        let product = Self { digits: self.digits.checked_mul(scale.digits)?, places: self.places + scale.places };
        let places = product.places.max(offset.places);
        let at = |decimal: Self| decimal.digits.checked_mul(10_i128.checked_pow(places - decimal.places)?);
        let digits = at(product)?.checked_add(if offset.digits == 0 { 0 } else { at(offset)? })?;
        Some(Self { digits, places }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn setting(number: f64) -> Option<Decimal> {
        Some(Decimal::try_from(number).unwrap())
    }

    #[test]
    fn tenths_are_tenths() {
        for (raw, scale, offset, meant) in [
            ("2301", 0.1, 0.0, 230.1),
            ("3", 0.1, 0.0, 0.3), // 3.0 * 0.1 is 0.30000000000000004
            ("655.35", 0.01, -40.0, -33.4465),
            ("-12", 0.001, 0.2, 0.188),
            ("1e3", 2.5, 0.0, 2_500.0),
            ("0.0", 7.0, 21.5, 21.5),
            ("18446744073709551615", 1.0, 0.0, 18_446_744_073_709_551_615.0),
        ] {
            let scaled = decimal(raw).scaled(setting(scale), setting(offset)).unwrap();
            assert_eq!(scaled.to_bits(), f64::to_bits(meant), "{raw}: {scaled}");
        }
    }

    #[test]
    fn what_is_no_decimal_or_too_long_is_an_error() {
        for text in ["", "-", "+", ".", "1.2.3", "0x10", "NaN", "1e", "1e99", "1e-19", "123456789012345678901", "1 "] {
            assert_eq!(text.parse::<Decimal>(), Err(BadDecimal), "{text}");
        }
        assert!(Decimal::try_from(0.123_456_789_012_345_67).is_err(), "more digits than a double keeps");
        assert!(Decimal::try_from(f64::INFINITY).is_err());
        assert_eq!(decimal("10000000000000000000").scaled(setting(1e14), setting(1e-14)), None);
    }

    proptest! {
        #[test]
        fn a_decimal_without_scale_is_the_double_that_its_text_means(digits in -1_000_000_000_000_i64..1_000_000_000_000, places in 0_u32..12) {
            let text = format!("{digits}e-{places}");
            let found: f64 = decimal(&text).scaled(None, None).unwrap();
            prop_assert_eq!(found.to_bits(), (text.parse::<f64>().unwrap() + 0.0).to_bits());
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = text.parse::<Decimal>();
        }
    }
}
