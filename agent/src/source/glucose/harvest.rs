//! What is read of a meter in one conversation, and which of it is new.

use jiff::civil::DateTime;

use super::memory::{Memory, Meter};
use super::record::{Record, Sheet};
use crate::source::device::{Noise, Out};

/// Records of one commit: each becomes at most three readings.
const RECORDS_A_COMMIT: usize = 1_000;
/// Records of one meter: the largest known holds 2 000.
const RECORDS_MAX: usize = 10_000;

/// Records of one meter, in the order in which they are read.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    memory: Memory,
    meter: Meter,
    /// How many records the meter holds.
    count: usize,
    /// Whether records are asked for from the newest on; otherwise they come as the meter sends them.
    walks: bool,
    /// Of all that were read.
    ids: Vec<u64>,
    /// Those that may be new.
    records: Vec<Record>,
    /// Whether all records that were not read are known.
    met: bool,
    /// Bytes that belong to no frame.
    pub(super) noise: Noise,
}

impl Harvest {
    pub(super) fn new(memory: Memory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Says which meter it is and how many records it holds, before the first of them.
    pub(super) fn of(&mut self, serial: &[u8], count: usize) {
        let (memory, noise) = (std::mem::take(&mut self.memory), std::mem::take(&mut self.noise));
        *self = Self { meter: memory.of(serial), count, noise, ..Self::new(memory) };
    }

    /// The number of the record to ask for next, of a meter that numbers them from 0; none when no more are needed. A
    /// meter is known to number them from the newest or from the oldest once all of it was read for the first time.
    pub(super) fn wanted(&mut self) -> Option<u16> {
        self.walks = self.meter.known() > 0 && self.meter.ascending.is_some();
        let next = self.ids.len();
        if self.met || next >= self.count.min(RECORDS_MAX) {
            return None;
        }
        let from_oldest = self.walks && self.meter.ascending == Some(true);
        u16::try_from(if from_oldest { self.count - 1 - next } else { next }).ok()
    }

    /// The next record; whether all that follow are known.
    pub(super) fn add(&mut self, record: Record) -> bool {
        if self.met {
            return true;
        }
        if self.records.len() < RECORDS_MAX {
            self.ids.push(record.id);
            self.records.push(record);
        }
        if self.walks || self.meter.ascending == Some(false) {
            self.meet(self.ids.len());
        }
        self.met || self.records.len() == RECORDS_MAX
    }

    /// Whether nothing is missing that may be new. Of a part, known records would be taken for new ones, or new ones for
    /// known ones, as only the order tells them apart.
    pub(super) fn is_whole(&self) -> bool {
        self.met || self.ids.len() >= self.count.min(RECORDS_MAX)
    }

    /// Whether the first `length` records, newest first, end in those that are known: then only those before are new.
    fn meet(&mut self, length: usize) {
        if !self.met && self.meter.meets(&self.ids[..length], self.count) {
            self.met = true;
            self.records.truncate(length - self.meter.known());
        }
    }

    /// Brings the records into order, newest first, and finds those that are new.
    fn sort(&mut self) {
        if self.met || self.walks {
            return;
        }
        // Read before, when times did not tell: then it was taken to go from the newest on.
        let is_unsure = self.meter.known() > 0 && self.meter.ascending.is_none();
        if self.meter.known() == 0 || is_unsure {
            self.meter.ascending = rises(&self.records);
        }
        if self.meter.ascending != Some(true) {
            self.meet_anywhere();
        }
        // Where times do not tell even now, known records do: they follow upon what is new in one order alone.
        let is_turned = is_unsure && self.meter.ascending.is_none() && !self.met;
        if self.meter.ascending == Some(true) || is_turned {
            self.ids.reverse();
            self.records.reverse();
            if is_unsure {
                self.meter.turn();
            }
            self.meet_anywhere();
        }
    }

    fn meet_anywhere(&mut self) {
        (1..=self.ids.len()).for_each(|length| self.meet(length));
    }

    /// Hands over what is new, oldest first, each commit with the memory of what was taken up to it.
    pub(super) fn hand_over(&mut self, sheet: &Sheet, out: &mut Out) {
        self.sort();
        if !self.met {
            self.meter.forget(); // what was the newest is not there any more: the meter's memory was erased, or overrun
        }
        let mut count = self.count.max(self.records.len()) - self.records.len();
        while let Some(record) = self.records.pop() {
            count += 1;
            self.meter.take(record.id, count);
            sheet.write(record, &format!("record {count}"), out);
            if self.records.len().is_multiple_of(RECORDS_A_COMMIT) {
                self.memory.keep(self.meter.clone());
                out.commit(self.memory.encode());
            }
        }
    }
}

/// Whether most records are later than the one before them, or earlier: single ones may not be, where a clock was set. None
/// where as many are the one as the other, as of a single record.
fn rises(records: &[Record]) -> Option<bool> {
    let times: Vec<DateTime> = records.iter().filter_map(|record| Some(record.measured.as_ref().ok()?.at)).collect();
    let count = |is: fn(&(&DateTime, &DateTime)) -> bool| times.iter().zip(times.iter().skip(1)).filter(is).count();
    let (later, earlier) = (count(|(one, next)| next > one), count(|(one, next)| next < one));
    (later != earlier).then_some(later > earlier)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;
    use proto::Value;

    use super::super::record::{Measured, Quantity};
    use super::*;

    fn record(number: i32) -> Record {
        let at = date(2026, 1, 1).at(0, 0, 0, 0) + number.minutes();
        let measured = Measured::new(Quantity::GlucoseMgDl, Value::Number(number.into()), at);
        Record::new(&number.to_le_bytes(), Ok(measured))
    }

    /// Reads a meter that holds `held`, oldest first; how many were new and how many were read.
    #[expect(clippy::cast_possible_truncation, reason = "they were whole numbers")]
    fn read(harvest: &mut Harvest, held: &[i32], ascending: bool, walks: bool) -> (Vec<i32>, usize) {
        let sheet = Sheet::new(jiff::tz::TimeZone::UTC);
        let in_order: Vec<i32> = if ascending { held.to_vec() } else { held.iter().rev().copied().collect() };
        harvest.of(b"serial", held.len());
        let mut reads = 0;
        if walks {
            while let Some(index) = harvest.wanted() {
                reads += 1;
                harvest.add(record(in_order[usize::from(index)]));
            }
        } else {
            for number in in_order {
                reads += 1;
                if harvest.add(record(number)) {
                    break;
                }
            }
        }
        let mut out = Out::default();
        harvest.hand_over(&sheet, &mut out);
        let values = out.samples().map(|sample| match sample.reading.value {
            Value::Number(number) => number as i32,
            _ => panic!("a number"),
        });
        (values.collect(), reads)
    }

    #[test]
    fn every_order_and_way_of_reading_gives_each_record_once_oldest_first() {
        for (ascending, walks) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut harvest = Harvest::default();
            let mut held: Vec<i32> = (0..30).collect();
            assert_eq!(read(&mut harvest, &held, ascending, walks), (held.clone(), 30));
            assert_eq!(read(&mut harvest, &held, ascending, walks).0, Vec::<i32>::new());
            held.extend([30, 31, 32]);
            held.drain(..3); // its memory is full
            let (new, reads) = read(&mut harvest, &held, ascending, walks);
            assert_eq!(new, [30, 31, 32]);
            let all = ascending && !walks;
            assert_eq!(reads, if all { 30 } else { 11 }, "ascending {ascending}, walks {walks}");
            // The memory was erased: all that follows is new.
            assert_eq!(read(&mut harvest, &[40, 41], ascending, walks).0, [40, 41]);
            assert_eq!(read(&mut harvest, &[40, 41, 42], ascending, walks).0, [42]);
        }
    }

    #[test]
    fn a_meter_that_was_first_read_with_a_single_record_or_two_of_one_minute_is_read_on_in_its_order() {
        for (ascending, walks) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut harvest = Harvest::default();
            for (held, new) in
                [(&[7][..], &[7][..]), (&[7], &[]), (&[7, 8, 9], &[8, 9]), (&[7, 8, 9], &[]), (&[7, 8, 9, 10], &[10])]
            {
                assert_eq!(read(&mut harvest, held, ascending, walks).0, new, "ascending {ascending}, walks {walks}");
            }
            let mut harvest = Harvest::default();
            // The clock was set back in between: their times say nothing of the order.
            for (held, new) in [(&[8, 9, 5][..], &[8, 9, 5][..]), (&[8, 9, 5, 6], &[6]), (&[8, 9, 5, 6, 7], &[7])] {
                assert_eq!(read(&mut harvest, held, ascending, walks).0.len(), new.len(), "{ascending}, walks {walks}");
            }
        }
    }

    #[test]
    fn a_part_is_not_the_whole_unless_what_follows_is_known() {
        let mut harvest = Harvest::default();
        harvest.of(b"serial", 3);
        for number in [2, 1] {
            harvest.add(record(number));
            assert!(!harvest.is_whole());
        }
        harvest.add(record(0));
        assert!(harvest.is_whole());
        harvest.hand_over(&Sheet::new(jiff::tz::TimeZone::UTC), &mut Out::default());
        harvest.of(b"serial", 4);
        for number in [3, 2, 1] {
            harvest.add(record(number));
        }
        assert!(!harvest.is_whole());
        harvest.add(record(0));
        assert!(harvest.is_whole());
    }

    #[test]
    fn a_clock_that_was_set_back_costs_no_record() {
        let mut harvest = Harvest::default();
        let held = [100, 101, 102, 103, 5, 6];
        assert_eq!(read(&mut harvest, &held, false, true).0, held);
        assert_eq!(read(&mut harvest, &[100, 101, 102, 103, 5, 6, 2], false, true).0, [2]);
    }

    #[test]
    fn more_records_than_one_commit_takes_are_committed_in_parts_that_can_be_resumed_from() {
        let held: Vec<i32> = (0..2_500).collect();
        let mut harvest = Harvest::default();
        harvest.of(b"serial", held.len());
        held.iter().rev().for_each(|number| assert!(!harvest.add(record(*number))));
        let mut out = Out::default();
        harvest.hand_over(&Sheet::new(jiff::tz::TimeZone::UTC), &mut out);
        let parts = out.committed();
        assert_eq!(parts.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [500, 1_000, 1_000]);
        let resumed = Memory::decode(parts[0].1.as_ref().unwrap()).unwrap();
        let (new, _) = read(&mut Harvest::new(resumed), &held, false, true);
        assert_eq!(new, held[500..]);
    }
}
