//! Bits in a row, most significant first, and the code that small numbers take in them.

use alloc::vec::Vec;

use crate::wire::DecodeError;

/// Ones after which a number is written whole. Keeps a single outlier from taking a page of ones.
const UNARY_MAX: u32 = 24;

/// Maps small numbers of either sign to small numbers: 0, -1, 1, -2 … to 0, 1, 2, 3 …
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// The way back from [`zigzag`].
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Bits that [`BitWriter::put_rice`] needs.
pub(super) fn rice_bits(number: u64, k: u32) -> u64 {
    let quotient = number >> k;
    if quotient < u64::from(UNARY_MAX) { quotient + 1 + u64::from(k) } else { u64::from(UNARY_MAX) + 64 }
}

/// Appends bits to bytes.
pub(super) struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    pending: u64,
    pending_bits: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, pending: 0, pending_bits: 0 }
    }

    /// Writes the lowest `count` bits of `bits`; at most 56 at once.
    fn put_some(&mut self, bits: u64, count: u32) {
        self.pending = (self.pending << count) | (bits & mask(count));
        self.pending_bits += count;
        while self.pending_bits >= 8 {
            self.pending_bits -= 8;
            self.bytes.push(((self.pending >> self.pending_bits) & 0xff) as u8);
        }
    }

    /// Writes the lowest `count` bits of `bits`, `count` ≤ 64.
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        if count > 32 {
            self.put_some(bits >> 32, count - 32);
            self.put_some(bits, 32);
        } else {
            self.put_some(bits, count);
        }
    }

    /// Writes `number` in a Rice code: its high bits in unary, its low `k` bits as they are.
    pub(super) fn put_rice(&mut self, number: u64, k: u32) {
        let quotient = number >> k;
        if quotient >= u64::from(UNARY_MAX) {
            self.put(u64::MAX, UNARY_MAX);
            self.put(number, 64);
            return;
        }
        let ones = u32::try_from(quotient).expect("it is below UNARY_MAX");
        self.put(mask(ones) << 1, ones + 1);
        self.put(number, k);
    }

    /// Fills the last byte with zeros.
    pub(super) fn finish(mut self) {
        let odd = self.pending_bits % 8;
        if odd != 0 {
            self.put_some(0, 8 - odd);
        }
    }
}

/// Reads bits from bytes.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bits, from the highest down.
    window: u64,
    window_bits: u32,
    next_byte: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, window: 0, window_bits: 0, next_byte: 0 }
    }

    /// Tops the window up to at least 57 bits while there are bytes.
    fn refill(&mut self) {
        while self.window_bits <= 56 {
            let Some(byte) = self.bytes.get(self.next_byte) else { return };
            self.window |= u64::from(*byte) << (56 - self.window_bits);
            self.window_bits += 8;
            self.next_byte += 1;
        }
    }

    fn take_some(&mut self, count: u32) -> Result<u64, DecodeError> {
        if self.window_bits < count {
            self.refill();
            if self.window_bits < count {
                return Err(DecodeError::Truncated("packed bits"));
            }
        }
        if count == 0 {
            return Ok(0);
        }
        let bits = self.window >> (64 - count);
        self.window <<= count;
        self.window_bits -= count;
        Ok(bits)
    }

    /// Takes `count` ≤ 64 bits.
    pub(super) fn take(&mut self, count: u32) -> Result<u64, DecodeError> {
        if count > 32 {
            let high = self.take_some(count - 32)?;
            return Ok((high << 32) | self.take_some(32)?);
        }
        self.take_some(count)
    }

    /// Takes a number that [`BitWriter::put_rice`] wrote.
    pub(super) fn take_rice(&mut self, k: u32) -> Result<u64, DecodeError> {
        if self.window_bits < UNARY_MAX + 1 {
            self.refill();
        }
        let ones = self.window.leading_ones().min(UNARY_MAX);
        if ones == UNARY_MAX {
            self.take_some(UNARY_MAX)?;
            return self.take(64);
        }
        self.take_some(ones + 1)?;
        let low = self.take(k)?;
        (u64::from(ones).checked_mul(1 << k).and_then(|high| high.checked_add(low)))
            .ok_or(DecodeError::Malformed("packed number"))
    }

    /// How many bytes were begun.
    pub(super) fn used(&self) -> usize {
        self.next_byte - (self.window_bits / 8) as usize
    }
}

fn mask(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_and_rice_codes_are_read_back(items in prop::collection::vec((any::<u64>(), 0_u32..=64, 0_u32..=62, 0_u32..64), 0..80)) {
            let mut bytes = Vec::new();
            let mut writer = BitWriter::new(&mut bytes);
            let mut expected_bits = 0;
            for (number, count, k, shift) in &items {
                writer.put(*number, *count);
                writer.put_rice(number >> shift, *k);
                expected_bits += u64::from(*count) + rice_bits(number >> shift, *k);
            }
            writer.finish();
            prop_assert_eq!(bytes.len() as u64, expected_bits.div_ceil(8));
            let length = bytes.len();
            bytes.extend([0xff; 3]); // what follows is not ours
            let mut reader = BitReader::new(&bytes);
            for (number, count, k, shift) in &items {
                prop_assert_eq!(reader.take(*count).unwrap(), number & mask(*count));
                prop_assert_eq!(reader.take_rice(*k).unwrap(), number >> shift);
            }
            prop_assert_eq!(reader.used(), length);
        }

        #[test]
        fn zigzag_is_undone(number: i64) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
        }
    }
}
