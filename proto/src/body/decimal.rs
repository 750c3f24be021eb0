//! Numbers as people write them: whole numbers of some power of ten.

use alloc::vec::Vec;

/// Places after the point that are tried. Beyond 15 a double does not keep its decimal digits.
pub(super) const SCALE_MAX: u8 = 15;

const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Up to here every whole number is a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0; // 2^53

/// The fewest places after the point that hold every one of `numbers` to the bit, and the numbers in that unit.
pub(super) fn shortest(numbers: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut scale = 0;
    'larger: loop {
        let mut whole_numbers = Vec::with_capacity(numbers.len());
        for number in numbers {
            match whole(*number, scale) {
                Some(whole) => whole_numbers.push(whole),
                None if scale < SCALE_MAX => {
                    scale += 1;
                    continue 'larger;
                }
                None => return None,
            }
        }
        return Some((scale, whole_numbers));
    }
}

/// The whole number `n` for which `n / 10^scale` is `number` to the bit, if there is one.
fn whole(number: f64, scale: u8) -> Option<i64> {
    let power = POWERS.get(usize::from(scale))?;
    let scaled = number * power;
    if scaled.is_nan() || scaled.abs() > EXACT_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is below 2^53")]
    let whole = (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i64;
    (number_of(whole, scale)?.to_bits() == number.to_bits()).then_some(whole)
}

/// `whole / 10^scale`: one division of two exact doubles, so the nearest double to the decimal, as a parser gives.
pub(super) fn number_of(whole: i64, scale: u8) -> Option<f64> {
    let power = POWERS.get(usize::from(scale))?;
    #[expect(clippy::cast_precision_loss, reason = "the encoder stays below 2^53; what others write is still a number")]
    let whole = whole as f64;
    Some(whole / power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_scale_is_found() {
        assert_eq!(shortest(&[118.0, 119.0]), Some((0, [118, 119].to_vec())));
        assert_eq!(shortest(&[21.5, -0.25, 3.0]), Some((2, [2150, -25, 300].to_vec())));
        assert_eq!(shortest(&[0.1 + 0.2]), None, "0.30000000000000004 has seventeen digits");
        assert_eq!(shortest(&[1e300]), None);
        for odd in [f64::NAN, f64::INFINITY, -0.0, 5e-324] {
            assert_eq!(shortest(&[odd]), None, "{odd}");
        }
    }

    #[test]
    fn what_a_parser_reads_is_what_a_decimal_gives() {
        for text in ["431.5", "0.1", "9007199254740992", "-273.15", "0.000001", "123456.789"] {
            let number: f64 = text.parse().unwrap();
            let (scale, whole) = shortest(&[number]).unwrap();
            assert_eq!(number_of(whole[0], scale).unwrap().to_bits(), number.to_bits(), "{text}");
        }
    }
}
