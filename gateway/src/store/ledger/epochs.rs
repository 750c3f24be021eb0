//! Which numbers of an epoch are settled, and how: ranges, kept merged as they grow.
//!
//! The ranges of an epoch at work are in memory, so that to know a batch costs no query. A transaction notes what it
//! touched, and writes just those ranges back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use proto::message::Settlement;
use proto::{Epoch, Instant, Number, Range, Ranges};

use super::ranges::{Rewritten, reach_of, read_ranges, touching};
use super::{StoreError, TENANT, Work, from_sql, to_sql};
use crate::store::SettledRanges;
use crate::store::sql::{Cell, Db, Many, SqlError, params};

/// Epochs and ranges remembered (about 100 bytes each at most); beyond it all are forgotten that have not been asked for
/// lately, and read again when they are.
const REMEMBERED_MAX: usize = 50_000;
/// Those of epochs at work: to read them again every now and then would be most of the work where one has very many.
const REMEMBERED_AT_WORK_MAX: usize = 1_000_000;
/// Commits from one count of them to the next.
const COUNT_EVERY: u32 = 64;

/// The states in the order of their codes in the column `settled.state`, which never change.
const STATES: [Settlement; 3] = [Settlement::Stored, Settlement::Quarantined, Settlement::Gap];

fn code(state: Settlement) -> usize {
    match state {
        Settlement::Stored => 0,
        Settlement::Quarantined => 1,
        Settlement::Gap => 2,
    }
}

/// What is remembered of epochs.
#[derive(Default)]
pub(super) struct Epochs {
    /// In the order of devices.
    entries: BTreeMap<(i64, Epoch), EpochState>,
    /// Those that this transaction has touched.
    touched: Vec<(i64, Epoch)>,
    /// Commits since the last count of what is remembered.
    uncounted: u32,
}

/// What is remembered of one epoch.
#[derive(Default)]
pub(in crate::store) struct EpochState {
    /// Its key in table `epoch`.
    pub(super) key: i64,
    /// By state, disjoint.
    settled: [Ranges; 3],
    /// From the lowest to the highest number that this transaction moved in or out, by state.
    moved: [Option<Range>; 3],
    /// Where ranges began that it changed, by state: the rows that may have to go.
    was: [Vec<Number>; 3],
    /// What the device said last.
    pub(in crate::store) next: Option<Number>,
    pub(super) held: Ranges,
    /// How many numbers came although a gap named them.
    pub(in crate::store) repaired: u64,
    arrivals: Option<(Instant, Instant)>,
    touched: bool,
    /// Asked for since the last count.
    is_at_work: bool,
}

impl Epochs {
    /// An epoch that has been heard of.
    pub(super) fn known(
        &mut self,
        db: Db<'_>,
        device: i64,
        epoch: Epoch,
    ) -> Result<Option<&mut EpochState>, StoreError> {
        let place = (device, epoch);
        if !self.entries.contains_key(&place)
            && let Some(state) = EpochState::read(db, device, epoch)?
        {
            self.entries.insert(place, state);
        }
        let mut found = self.entries.get_mut(&place);
        if let Some(state) = &mut found {
            state.is_at_work = true;
        }
        Ok(found)
    }

    /// Forgets all epochs of a device.
    pub(super) fn forget_all(&mut self, device: i64) {
        let of_device = (device, Epoch([u8::MIN; 8]))..=(device, Epoch([u8::MAX; 8]));
        let places: Vec<_> = self.entries.range(of_device).map(|(place, _)| *place).collect();
        for (device, epoch) in places {
            self.forget(device, epoch);
        }
    }

    /// Forgets an epoch that is gone from the database.
    pub(super) fn forget(&mut self, device: i64, epoch: Epoch) {
        self.entries.remove(&(device, epoch));
    }

    pub(super) fn forget_much(&mut self) {
        self.uncounted += 1;
        if self.uncounted < COUNT_EVERY {
            return;
        }
        self.uncounted = 0;
        if self.remembered() > REMEMBERED_MAX {
            self.entries.retain(|_, state| state.is_at_work);
        }
        if self.remembered() > REMEMBERED_AT_WORK_MAX {
            self.entries.clear();
        }
        self.entries.values_mut().for_each(|state| state.is_at_work = false);
    }

    /// How many epochs and ranges are in memory.
    fn remembered(&self) -> usize {
        let ranges = |state: &EpochState| 1 + state.settled.iter().map(|set| set.as_slice().len()).sum::<usize>();
        self.entries.values().map(ranges).sum()
    }

    pub(super) fn write_back(&mut self, db: Db<'_>) -> Result<(), StoreError> {
        let (mut rows, mut rewritten) = (Vec::with_capacity(self.touched.len()), Rewritten::default());
        for place in self.touched.drain(..) {
            if let Some(state) = self.entries.get_mut(&place) {
                rows.push(state.row(&mut rewritten));
            }
        }
        rewritten.write(db)?;
        Ok(db.driver().execute_many(&WRITE, &rows)?)
    }
}

impl EpochState {
    /// An epoch as the database has it.
    pub(in crate::store) fn read(db: Db<'_>, device: i64, epoch: Epoch) -> Result<Option<Self>, SqlError> {
        let sql = "select id, next, repaired from epoch where device = ?1 and epoch = ?2";
        let found = db.prepare(sql).first(params![device, epoch.0], |row| {
            let next: Option<i64> = row.get(1)?;
            let repaired = from_sql(row.get(2)?);
            Ok(Self { key: row.get(0)?, next: next.map(from_sql), repaired, ..Self::default() })
        })?;
        let Some(mut state) = found else { return Ok(None) };
        for (place, set) in state.settled.iter_mut().enumerate() {
            let sql = "select first, last from settled where epoch = ?1 and state = ?2 order by first";
            *set = read_ranges(&db.prepare(sql), [state.key, to_sql(place as u64)])?;
        }
        let sql = "select first, last from held where epoch = ?1 order by first";
        state.held = read_ranges(&db.prepare(sql), [state.key])?;
        Ok(Some(state))
    }

    /// How `number` ended, if it did.
    pub(super) fn state_of(&self, number: Number) -> Option<Settlement> {
        STATES.into_iter().zip(&self.settled).find(|(_, set)| set.contains(number)).map(|(state, _)| state)
    }

    /// Enters `range` as `state`, whatever it was before.
    pub(super) fn settle(&mut self, range: Range, state: Settlement) {
        let by_state = self.settled.iter_mut().zip(&mut self.moved).zip(&mut self.was);
        for (place, ((set, moved), was)) in by_state.enumerate() {
            let here = place == code(state);
            if !here && set.within(range).next().is_none() {
                continue;
            }
            for began in touching(set, reach_of(range)).iter().map(|range| range.first) {
                if was.last() != Some(&began) {
                    was.push(began);
                }
            }
            if here {
                set.insert(range);
            } else {
                set.remove(range);
            }
            let hull = |had: Range| Range { first: had.first.min(range.first), last: had.last.max(range.last) };
            *moved = Some(moved.map_or(range, hull));
        }
    }

    /// The numbers of `range` that are not settled.
    pub(super) fn unsettled(&self, range: Range) -> Ranges {
        let mut open = Ranges::from_iter([range]);
        for settled in self.settled.iter().flat_map(|set| set.within(range)) {
            open.remove(settled);
        }
        open
    }

    /// Everything that is settled, ascending.
    pub(in crate::store) fn settled(&self) -> SettledRanges {
        let by_state = STATES.into_iter().zip(&self.settled);
        let mut ranges: Vec<_> =
            by_state.flat_map(|(state, set)| set.iter().map(move |range| (range, state))).collect();
        ranges.sort_unstable_by_key(|(range, _)| range.first);
        SettledRanges(ranges)
    }

    /// What of the settled ranges that share a number with `around` the device may be told, ascending: all but the gaps
    /// that it says it can fill. Told that they are settled, it would let go of the only copy.
    pub(super) fn to_tell(&self, around: Range) -> SettledRanges {
        let mut told: Vec<(Range, Settlement)> = Vec::new();
        for (state, set) in STATES.into_iter().zip(&self.settled) {
            for range in touching(set, around) {
                match state {
                    Settlement::Gap => told.extend(self.held.missing_in(*range).iter().map(|range| (range, state))),
                    _ => told.push((*range, state)),
                }
            }
        }
        told.retain(|(range, _)| range.intersect(around).is_some());
        told.sort_unstable_by_key(|(range, _)| range.first);
        SettledRanges(told)
    }

    /// Numbers that the device had given away by `next`, has no more, and that are not settled.
    pub(super) fn missing_below(&self, next: Option<Number>) -> Ranges {
        let given = next.and_then(|next| Range::new(1, next.checked_sub(1)?));
        let mut missing = given.map(|given| self.unsettled(given)).unwrap_or_default();
        self.held.iter().for_each(|held| missing.remove(held));
        missing
    }

    /// Numbers that the device has given away, has no more, and that are not settled.
    pub(super) fn missing(&self) -> Ranges {
        self.missing_below(self.next)
    }

    /// Numbers that the device holds and that have not come yet; those of a gap that they will fill included.
    pub(in crate::store) fn waiting(&self) -> Ranges {
        let [stored, quarantined, _] = &self.settled;
        let mut waiting = self.held.clone();
        stored.iter().chain(quarantined.iter()).for_each(|settled| waiting.remove(settled));
        waiting
    }

    /// Numbers of gaps that the device says it holds after all.
    pub(in crate::store) fn gaps_to_fill(&self) -> Ranges {
        self.held.iter().flat_map(|held| self.gaps_in(held)).collect()
    }

    /// Numbers of `range` that are in a gap.
    pub(super) fn gaps_in(&self, range: Range) -> impl Iterator<Item = Range> {
        let [.., gap] = &self.settled;
        gap.within(range)
    }

    /// How many numbers are stored, quarantined, and in a gap.
    pub(in crate::store) fn counts(&self) -> [u64; 3] {
        self.settled.each_ref().map(Ranges::count)
    }

    /// Notes when something of this epoch came.
    pub(super) fn arrived(&mut self, at: Instant) {
        let (first, last) = self.arrivals.unwrap_or((at, at));
        self.arrivals = Some((first.min(at), last.max(at)));
    }

    /// Its row for [`WRITE`]. What moved is added to `rewritten`.
    fn row(&mut self, rewritten: &mut Rewritten) -> Vec<Cell<'static>> {
        self.touched = false;
        for (place, ((set, moved), was)) in self.settled.iter().zip(&mut self.moved).zip(&mut self.was).enumerate() {
            if let Some(moved) = moved.take() {
                rewritten.ranges(self.key, to_sql(place as u64), touching(set, reach_of(moved)), was);
                was.clear();
            }
        }
        let (first, last) = self.arrivals.take().map(|(first, last)| (first.0, last.0)).unzip();
        let whole = |number: Option<i64>| number.map_or(Cell::Null, Cell::Int);
        let repaired = Cell::Int(to_sql(self.repaired));
        vec![Cell::Int(self.key), whole(first), whole(last), whole(self.next.map(to_sql)), repaired]
    }
}

const WRITE: Many = Many {
    one: "update epoch set
            first_arrival_us = coalesce(first_arrival_us, ?2),
            last_arrival_us = max(coalesce(last_arrival_us, ?3), coalesce(?3, last_arrival_us)),
            next = ?4, repaired = ?5
          where id = ?1",
    // `greatest` leaves out nulls.
    all: "update epoch e set
            first_arrival_us = coalesce(e.first_arrival_us, new.first_us),
            last_arrival_us = greatest(e.last_arrival_us, new.last_us),
            next = new.next, repaired = new.repaired
          from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
            as new (id, first_us, last_us, next, repaired)
          where e.id = new.id",
};

impl Work<'_> {
    /// An epoch of a device, to be changed; entered if it is new.
    pub(super) fn epoch(&mut self, device: i64, epoch: Epoch) -> Result<&mut EpochState, StoreError> {
        let Epochs { entries, touched, .. } = &mut self.memory.epochs;
        let state = match entries.entry((device, epoch)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let read = EpochState::read(self.db, device, epoch)?;
                let state = match read {
                    Some(state) => state,
                    None => {
                        let sql = "insert into epoch (tenant, device, epoch) values (?1, ?2, ?3) returning id";
                        let key = self.db.prepare(sql).one(params![TENANT, device, epoch.0], |row| row.get(0))?;
                        EpochState { key, ..EpochState::default() }
                    }
                };
                entry.insert(state)
            }
        };
        state.is_at_work = true;
        if !state.touched {
            state.touched = true;
            touched.push((device, epoch));
        }
        Ok(state)
    }
}
