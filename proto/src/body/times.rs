//! A column's times: the first, a common tick, and the steps between them in ticks.

use alloc::vec::Vec;

use super::integers;
use crate::time::Instant;
use crate::wire::{DecodeError, Reader, put};

/// Appends `times`; their count is the reader's business.
pub(super) fn encode(times: &[i64], bytes: &mut Vec<u8>) {
    let Some(first) = times.first() else { return };
    put(bytes, first);
    let steps = times.iter().zip(times.iter().skip(1)).map(|(from, to)| to.wrapping_sub(*from));
    if times.len() == 1 {
        return;
    }
    // A tick of i64::MIN's size does not fit the wire's signed steps; nobody has such clocks, so 1 will do.
    let tick = steps.clone().fold(0, |tick, step| gcd(tick, step.unsigned_abs()));
    let tick = i64::try_from(tick).unwrap_or(1).max(1);
    put(bytes, &tick);
    integers::encode(steps.map(|step| step / tick), bytes);
}

/// Takes `count` times.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Instant>, DecodeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut time: i64 = reader.take("first time")?;
    let mut times = Vec::with_capacity(count);
    times.push(Instant(time));
    if count == 1 {
        return Ok(times);
    }
    let tick: i64 = reader.take("tick")?;
    for step in integers::decode(reader, count - 1, "times")? {
        time = time.wrapping_add(step.wrapping_mul(tick));
        times.push(Instant(time));
    }
    Ok(times)
}

fn gcd(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_times_in_any_order_are_read_back(times in prop::collection::vec(any::<i64>(), 0..40), shift in 0_u32..60) {
            let times: Vec<i64> = times.into_iter().map(|time| (time >> shift).wrapping_mul(1000)).collect();
            let mut bytes = Vec::new();
            encode(&times, &mut bytes);
            let mut reader = Reader::new(&bytes);
            let back: Vec<i64> = decode(&mut reader, times.len()).unwrap().iter().map(|time| time.0).collect();
            prop_assert_eq!(back, times);
            prop_assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn a_steady_series_pays_nothing_for_a_further_reading() {
        let at = |count: i64| (0..count).map(|index| 1_269_424_260_000_000 + index * 300_000_000).collect::<Vec<_>>();
        let bytes = |count| {
            let mut bytes = Vec::new();
            encode(&at(count), &mut bytes);
            bytes.len()
        };
        assert_eq!(bytes(100), bytes(120));
    }
}
