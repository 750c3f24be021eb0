//! A list of whole numbers, small: as differences from a guess, in runs or in Rice codes, whichever is shorter.
//!
//! Shape: first number, one byte of form, differences. The byte's high two bits name the guess, its low six the Rice
//! parameter, or 63 for runs. All arithmetic wraps, so that every list of `i64` is exact.

use alloc::vec::Vec;

use super::packing::{BitReader, BitWriter, rice_bits, unzigzag, zigzag};
use crate::wire::{DecodeError, Reader, put};

/// In place of a Rice parameter: the differences are runs of (difference, how often).
const RUNS: u8 = 63;
/// In up to so many Rice codes of one bit there are fewer bits than in a run of two or three bytes.
const STEADY_MIN: u64 = 32;
/// Larger parameters would only spend bits: the code falls back to 64 plain bits beyond.
const K_MAX: u32 = 62;

/// What the next number is guessed from. The order is the wire's.
#[derive(Clone, Copy)]
enum Guess {
    /// The first number: for values that jitter around one place.
    First,
    /// The last number: for values that wander.
    Last,
    /// The last number and its step once more: for values that go somewhere.
    Line,
    /// The last number and half its step: what glucose does, which is slow to turn but does turn.
    HalfLine,
}

const GUESSES: [Guess; 4] = [Guess::First, Guess::Last, Guess::Line, Guess::HalfLine];

/// Remembers what a guess needs.
struct Guesser {
    guess: Guess,
    first: i64,
    last: i64,
    before: i64,
}

impl Guesser {
    fn new(guess: Guess, first: i64) -> Self {
        Self { guess, first, last: first, before: first }
    }

    fn next(&self) -> i64 {
        let step = self.last.wrapping_sub(self.before);
        match self.guess {
            Guess::First => self.first,
            Guess::Last => self.last,
            Guess::Line => self.last.wrapping_add(step),
            Guess::HalfLine => self.last.wrapping_add(step >> 1),
        }
    }

    fn saw(&mut self, number: i64) {
        self.before = self.last;
        self.last = number;
    }

    /// How far `number` is from the guess; then guesses the next one.
    fn difference(&mut self, number: i64) -> u64 {
        let difference = zigzag(number.wrapping_sub(self.next()));
        self.saw(number);
        difference
    }
}

/// Appends `numbers`. Their count is the reader's business; an empty list takes no bytes.
pub(super) fn encode(numbers: impl Iterator<Item = i64> + Clone, bytes: &mut Vec<u8>) {
    let Some(first) = numbers.clone().next() else { return };
    put(bytes, &first);
    if numbers.clone().nth(1).is_none() {
        return;
    }
    if let Some(more) = steady(first, numbers.clone().skip(1)) {
        bytes.push(RUNS); // the first number, again and again
        put(bytes, &(0_u64, more));
        return;
    }
    let forms =
        promising(first, numbers.clone().skip(1)).map(|guess| Form::best(guess, first, numbers.clone().skip(1)));
    let Some(form) = forms.into_iter().min_by_key(|form| form.bits) else { return };
    form.write(bytes);
}

/// How many more there are of the same number, where there is no other and a single run is sure to be shortest. A
/// steady series' steps are like that, and need no search.
fn steady(first: i64, mut numbers: impl Iterator<Item = i64>) -> Option<u64> {
    let mut more = 0;
    numbers
        .all(|number| {
            more += 1;
            number == first
        })
        .then_some(more)
        .filter(|more| *more > STEADY_MIN)
}

/// The two guesses that look best from their differences' sum and number of runs, so that only those need be written
/// out to be compared.
fn promising(first: i64, numbers: impl Iterator<Item = i64>) -> [usize; 2] {
    let mut tallies = GUESSES.map(|guess| Tally { guesser: Guesser::new(guess, first), sum: 0, runs: 0, last: None });
    let mut count = 0;
    for number in numbers {
        count += 1;
        tallies.iter_mut().for_each(|tally| tally.saw(number));
    }
    let mut order = [0, 1, 2, 3];
    order.sort_by_key(|index| tallies.get(*index).map(|tally| tally.bits(count)));
    let [best, second, ..] = order;
    [best, second]
}

/// What tells roughly how many bits a guess will need.
struct Tally {
    guesser: Guesser,
    /// Saturates for numbers that are far from any guess; then all guesses are equally bad.
    sum: u64,
    runs: u64,
    last: Option<u64>,
}

impl Tally {
    fn saw(&mut self, number: i64) {
        let difference = self.guesser.difference(number);
        self.sum = self.sum.saturating_add(difference);
        self.runs += u64::from(self.last != Some(difference));
        self.last = Some(difference);
    }

    fn bits(&self, count: u64) -> u64 {
        let k = (self.sum / count.max(1)).checked_ilog2().unwrap_or(0);
        let rice = count * u64::from(k + 1) + (self.sum >> k);
        rice.min(self.runs * 16) // a run takes two bytes where its parts are small
    }
}

/// One way to write the differences.
struct Form {
    guess: usize,
    /// [`RUNS`] or a Rice parameter.
    code: u8,
    bits: u64,
    differences: Vec<u64>,
}

impl Form {
    fn best(guess: usize, first: i64, numbers: impl Iterator<Item = i64>) -> Self {
        let mut guesser = Guesser::new(GUESSES.get(guess).copied().unwrap_or(Guess::Last), first);
        let differences: Vec<u64> = numbers.map(|number| guesser.difference(number)).collect();
        let (k, rice) = best_rice(&differences);
        let runs: u64 = runs(&differences).map(|(value, count)| 8 * (varint_bytes(value) + varint_bytes(count))).sum();
        let (code, bits) = if runs < rice { (RUNS, runs) } else { (u8::try_from(k).unwrap_or(RUNS), rice) };
        Self { guess, code, bits, differences }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push((u8::try_from(self.guess).unwrap_or(0) << 6) | self.code);
        if self.code == RUNS {
            for (value, count) in runs(&self.differences) {
                put(bytes, &(value, count));
            }
            return;
        }
        let mut writer = BitWriter::new(bytes);
        for difference in &self.differences {
            writer.put_rice(*difference, u32::from(self.code));
        }
        writer.finish();
    }
}

/// The Rice parameter that needs the fewest bits, and how many. The best one lies beside the mean's logarithm.
fn best_rice(differences: &[u64]) -> (u32, u64) {
    let sum = differences.iter().fold(0_u64, |sum, difference| sum.saturating_add(*difference));
    let near = (sum / differences.len().max(1) as u64).checked_ilog2().unwrap_or(0);
    let tried = [near.saturating_sub(2), near.saturating_sub(1), near, near + 1].map(|k| k.min(K_MAX));
    let mut bits = [0; 4];
    for difference in differences {
        bits.iter_mut().zip(tried).for_each(|(bits, k)| *bits += rice_bits(*difference, k));
    }
    tried.into_iter().zip(bits).min_by_key(|(_, bits)| *bits).unwrap_or((0, u64::MAX))
}

fn runs(differences: &[u64]) -> impl Iterator<Item = (u64, u64)> + '_ {
    differences.chunk_by(|left, right| left == right).filter_map(|run| Some((*run.first()?, run.len() as u64)))
}

fn varint_bytes(number: u64) -> u64 {
    u64::from((64 - number.leading_zeros()).div_ceil(7).max(1))
}

/// Takes `count` numbers.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize, what: &'static str) -> Result<Vec<i64>, DecodeError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let first: i64 = reader.take(what)?;
    let mut numbers = Vec::with_capacity(count);
    numbers.push(first);
    if count == 1 {
        return Ok(numbers);
    }
    let form: u8 = reader.take(what)?;
    let guess = GUESSES.get(usize::from(form >> 6)).copied().ok_or(DecodeError::Malformed(what))?;
    let mut guesser = Guesser::new(guess, first);
    let mut saw = |difference: u64| {
        let number = guesser.next().wrapping_add(unzigzag(difference));
        guesser.saw(number);
        numbers.push(number);
    };
    if form & RUNS == RUNS {
        let mut left = count - 1;
        while left > 0 {
            let (value, run): (u64, u64) = reader.take(what)?;
            let run = usize::try_from(run).ok().filter(|run| (1..=left).contains(run));
            let run = run.ok_or(DecodeError::Malformed(what))?;
            (0..run).for_each(|_| saw(value));
            left -= run;
        }
        return Ok(numbers);
    }
    let mut bits = BitReader::new(reader.rest());
    for _ in 1..count {
        saw(bits.take_rice(u32::from(form & RUNS))?);
    }
    reader.skip(bits.used());
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(numbers: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(numbers.iter().copied(), &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn every_list_is_read_back(numbers in prop::collection::vec(any::<i64>(), 0..50), shift in 0_u32..64) {
            let numbers: Vec<i64> = numbers.into_iter().map(|number| number >> shift).collect();
            let mut bytes = encoded(&numbers);
            bytes.push(0xa5);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(decode(&mut reader, numbers.len(), "numbers").unwrap(), numbers);
            prop_assert_eq!(reader.rest(), [0xa5]);
        }
    }

    #[test]
    fn a_steady_list_takes_a_few_bytes_however_long() {
        let steady: Vec<i64> = (0..10_000).map(|index| 7 + 300 * index).collect();
        assert!(encoded(&steady).len() <= 10, "{} bytes", encoded(&steady).len());
        assert!(encoded(&[42; 10_000]).len() <= 6);
    }

    #[test]
    fn a_run_that_is_longer_than_the_list_is_malformed() {
        let bytes = [0, RUNS, 0, 9];
        assert_eq!(decode(&mut Reader::new(&bytes), 5, "numbers"), Err(DecodeError::Malformed("numbers")));
    }
}
