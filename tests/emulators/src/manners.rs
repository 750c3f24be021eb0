//! How a device misbehaves.

/// What goes wrong on the way from device to host. All of it is chance of a stated seed.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Which chance.
    pub seed: u64,
    /// Of a thousand answers, so many are damaged in one byte.
    pub damaged: u64,
    /// Of a thousand answers, so many are swallowed.
    pub swallowed: u64,
    /// Of a thousand answers, so many are cut short.
    pub cut: u64,
    /// Of a thousand answers, so many are preceded by noise.
    pub noisy: u64,
    /// Bytes sent at once, at most; 0 for all.
    pub piece_bytes: usize,
    /// The plug is pulled after so many bytes.
    pub unplug_after: Option<usize>,
    /// After so many answers that went wrong, no other does; none: without end.
    pub troubles_max: Option<usize>,
    /// How fast it sends, as a line of this many bytes a second would; 0: as fast as the host reads.
    pub bytes_per_s: u64,
}

impl Manners {
    /// Nothing goes wrong.
    #[must_use]
    pub fn good() -> Self {
        Self {
            seed: 1,
            damaged: 0,
            swallowed: 0,
            cut: 0,
            noisy: 0,
            piece_bytes: 0,
            unplug_after: None,
            troubles_max: None,
            bytes_per_s: 0,
        }
    }

    /// A tenth of the answers suffers, each in one of four ways, and all come in small pieces.
    #[must_use]
    pub fn bad(seed: u64) -> Self {
        Self { seed, damaged: 25, swallowed: 25, cut: 25, noisy: 25, piece_bytes: 13, ..Self::good() }
    }

    /// What becomes of an answer.
    #[must_use]
    pub fn spoil(&mut self, answer: Vec<u8>) -> Vec<u8> {
        if answer.is_empty() || self.troubles_max == Some(0) {
            return answer;
        }
        let spoilt = self.chance(answer.clone());
        if let Some(left) = self.troubles_max.as_mut().filter(|_| spoilt != answer) {
            *left -= 1;
        }
        spoilt
    }

    fn chance(&mut self, mut answer: Vec<u8>) -> Vec<u8> {
        if self.happens(self.swallowed) {
            return Vec::new();
        }
        if self.happens(self.damaged) {
            let at = self.below(answer.len());
            answer[at] ^= 1 << self.below(8);
        }
        if self.happens(self.cut) {
            answer.truncate(self.below(answer.len()));
        }
        if self.happens(self.noisy) {
            let noise: Vec<u8> = (0..=self.below(20)).map(|_| self.random().to_le_bytes()[3]).collect();
            answer.splice(0..0, noise);
        }
        answer
    }

    fn happens(&mut self, of_a_thousand: u64) -> bool {
        self.random() % 1_000 < of_a_thousand
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % (bound as u64).max(1)).unwrap_or(0)
    }

    /// SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014).
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
