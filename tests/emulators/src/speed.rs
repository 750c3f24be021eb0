//! What becomes of characters where the two ends of a line have not the same speed.

/// Sample points of one bit, so that neither speed has to be a multiple of the other.
const TICKS: u64 = 1_000_000;

/// What a receiver set to `read_baud` makes of `bytes` that were sent at `sent_baud`, 8N1, one after the other on a line
/// that is at rest before and after: it waits for the line to fall, and takes a look in the middle of each of its own bits.
/// A stop bit that is none is not noticed, as Linux does not where no parity is checked.
///
/// # Panics
/// On a speed of 0.
#[must_use]
pub fn misread(bytes: &[u8], sent_baud: u64, read_baud: u64) -> Vec<u8> {
    // Start, eight bits from the lowest, stop.
    let bits = bytes
        .iter()
        .flat_map(|byte| [false].into_iter().chain((0..8).map(move |bit| byte >> bit & 1 == 1)).chain([true]));
    let line: Vec<bool> = bits.collect();
    let (sent, read) = (TICKS * 100 / sent_baud, TICKS * 100 / read_baud);
    let level = |at: u64| usize::try_from(at / sent).ok().and_then(|bit| line.get(bit)).copied().unwrap_or(true);
    let (mut seen, mut at, end) = (Vec::new(), 0, sent * line.len() as u64);
    while at < end {
        if level(at) {
            at = (at / sent + 1) * sent; // at rest: it changes where a bit ends, if at all
            continue;
        }
        let byte = (0..8).fold(0, |byte, bit| byte | u8::from(level(at + read * (2 * bit + 3) / 2)) << bit);
        seen.push(byte);
        at += read * 19 / 2; // the middle of the stop bit
        while !level(at) && at < end {
            at = (at / sent + 1) * sent; // a stop bit that is none: the line has to rise first
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_same_speed_everything_comes_as_it_was_sent_and_at_another_nothing_does() {
        let text: Vec<u8> = (0..=255).collect();
        for baud in [1_200, 9_600, 115_200] {
            assert_eq!(misread(&text, baud, baud), text);
        }
        // Nearly the same is good enough, as it is on real lines.
        assert_eq!(misread(&text, 9_600, 9_800), text);
        for (sent, read) in [(4_800, 9_600), (19_200, 9_600), (9_600, 38_400), (115_200, 9_600)] {
            let seen = misread(b"$GPGGA,092750.000,5321.6802,N", sent, read);
            assert!(!seen.is_empty() && !seen.starts_with(b"$GP"), "{sent} as {read}: {seen:?}");
        }
        assert_eq!(misread(b"", 9_600, 4_800), b"");
    }
}
