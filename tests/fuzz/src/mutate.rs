//! Damage: what a fuzzer without coverage does to bytes that were good.

/// Bytes that break readers more often than others: ends of ranges, lengths, separators, quotes.
const TELLING: [u8; 20] =
    [0, 1, 2, 0x7f, 0x80, 0x81, 0xff, 0xfe, b'\n', b'\r', b'"', b',', b'=', b'{', b'[', b'.', b'-', b'9', b'+', b'#'];
/// Bytes of one input, at most.
const BYTES_MAX: usize = 64 * 1024;

/// Makes bad bytes out of good ones; the same seed makes the same.
#[derive(Clone, Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// What follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `corpus`, damaged in one to eight ways.
    #[must_use]
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.of(corpus).cloned().unwrap_or_default();
        for _ in 0..=self.below(8) {
            self.damage(&mut bytes, corpus);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn damage(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let (at, length) = (self.below(bytes.len() + 1), self.below(32) + 1);
        match self.below(8) {
            0 => self.change(bytes, at, |byte, random| byte ^ (1 << (random % 8))),
            1 => self.change(bytes, at, |_, random| random.to_le_bytes()[0]),
            2 => self.change(bytes, at, |_, random| TELLING[usize::from(random.to_le_bytes()[0]) % TELLING.len()]),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + length).min(bytes.len()))),
            5 => {
                let again: Vec<u8> = bytes.iter().skip(at).take(length).copied().collect();
                bytes.splice(at..at, again);
            }
            // A length that lies: the longest that each form of integer can say.
            6 => {
                let lie: &[u8] =
                    [&[0xff; 4][..], &[0xff, 0xff, 0x03], &[0x80, 0x80, 0x80, 0x80, 0x10], &[0x9b, 0xff, 0xff]]
                        [self.below(4)];
                bytes.splice(at..(at + lie.len()).min(bytes.len()), lie.iter().copied());
            }
            _ => {
                let other = self.of(corpus).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend(other.iter().skip(from));
            }
        }
    }

    fn change(&mut self, bytes: &mut [u8], at: usize, change: impl FnOnce(u8, u64) -> u8) {
        let random = self.random();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = change(*byte, random);
        }
    }

    fn of<'a>(&mut self, corpus: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
        corpus.get(self.below(corpus.len()))
    }

    /// Less than `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % (bound as u64).max(1)).unwrap_or(0)
    }

    /// SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014).
    fn random(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
