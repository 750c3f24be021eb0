//! Doubles that are no short decimals: each as the bits in which it differs from the one before.
//!
//! The scheme is Gorilla's (Pelkonen et al., VLDB 2015, section 4.1.2): a zero bit for "the same"; else whether the
//! window of differing bits is the last one; else a new window.

use alloc::vec::Vec;

use super::packing::{BitReader, BitWriter};
use crate::wire::{DecodeError, Reader};

/// Where two neighbours differ: `zeros` leading zeros, then `bits` bits (1 to 64).
#[derive(Clone, Copy)]
struct Window {
    zeros: u32,
    bits: u32,
}

impl Window {
    fn around(difference: u64) -> Self {
        let zeros = difference.leading_zeros();
        Self { zeros, bits: 64 - zeros - difference.trailing_zeros() }
    }

    fn holds(self, other: Self) -> bool {
        self.zeros <= other.zeros && other.zeros + other.bits <= self.zeros + self.bits
    }

    fn shift(self) -> u32 {
        64 - self.zeros - self.bits
    }
}

/// Appends `numbers`.
pub(super) fn encode(numbers: &[f64], bytes: &mut Vec<u8>) {
    let mut writer = BitWriter::new(bytes);
    let (mut last, mut window) = (0, None::<Window>);
    for number in numbers.iter().map(|number| number.to_bits()) {
        let difference = number ^ last;
        last = number;
        if difference == 0 {
            writer.put(0, 1);
            continue;
        }
        let tight = Window::around(difference);
        // A window that is much too wide costs more than the 12 bits of a new one.
        let kept = window.filter(|window| window.holds(tight) && window.bits < tight.bits + 12);
        let used = kept.unwrap_or(tight);
        if kept.is_some() {
            writer.put(0b10, 2);
        } else {
            writer.put(0b11, 2);
            writer.put(u64::from(used.zeros), 6);
            writer.put(u64::from(used.bits - 1), 6);
            window = Some(used);
        }
        writer.put(difference >> used.shift(), used.bits);
    }
    writer.finish();
}

/// Takes `count` numbers.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, DecodeError> {
    let mut bits = BitReader::new(reader.rest());
    let mut numbers = Vec::with_capacity(count);
    let (mut last, mut window) = (0, None::<Window>);
    for _ in 0..count {
        if bits.take(1)? == 1 {
            if bits.take(1)? == 1 {
                window = Some(take_window(&mut bits)?);
            }
            let window = window.ok_or(DecodeError::Malformed("float window"))?;
            last ^= bits.take(window.bits)? << window.shift();
        }
        numbers.push(f64::from_bits(last));
    }
    reader.skip(bits.used());
    Ok(numbers)
}

fn take_window(bits: &mut BitReader<'_>) -> Result<Window, DecodeError> {
    let small = |number: u64| u32::try_from(number).unwrap_or(64);
    let window = Window { zeros: small(bits.take(6)?), bits: small(bits.take(6)?) + 1 };
    if window.zeros + window.bits > 64 { Err(DecodeError::Malformed("float window")) } else { Ok(window) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_double_is_read_back_to_the_bit(bits in prop::collection::vec(any::<u64>(), 0..40), near: bool) {
            let numbers: Vec<f64> = bits.iter().map(|bits| f64::from_bits(if near { bits >> 40 } else { *bits })).collect();
            let mut bytes = Vec::new();
            encode(&numbers, &mut bytes);
            let mut reader = Reader::new(&bytes);
            let back: Vec<u64> = decode(&mut reader, numbers.len()).unwrap().iter().map(|x| x.to_bits()).collect();
            prop_assert_eq!(back, numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            prop_assert!(reader.rest().is_empty());
        }
    }
}
