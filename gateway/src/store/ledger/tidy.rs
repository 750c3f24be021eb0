//! What ends the growth of the ledger's tables where no other rule does. Looked after with each hello, a little at a
//! time.
//!
//! Ranges of one state that touch are one row, so an epoch that was stored whole is one row for good; what is bounded
//! here is the rest.

use proto::Epoch;

use super::{StoreError, TENANT, Work, to_sql};
use crate::store::sql::{Row, params};

/// A batch row lives no longer than this even if its device never says what it holds: 90 days are three times what an
/// agent keeps of settled batches.
const BATCH_ROW_US_MAX: i64 = 90 * 86_400 * 1_000_000;
/// Batch rows let go of in one transaction for either reason, so that others need not wait long.
pub(super) const BATCH_ROWS_AT_ONCE: u64 = 10_000;
/// Clocks of boots kept per device.
const BOOT_CLOCKS_MAX: i64 = 10_000;
/// Runs of readings without a clock kept per device.
const UNSET_RUNS_MAX: i64 = 10_000;
/// Epochs kept per device: five starts of an agent each day for eleven years. Beyond it the oldest are forgotten whose
/// numbers are all settled, of which nothing is held, and that were silent for [`BATCH_ROW_US_MAX`]: no agent can still
/// have a batch of them, and if a copy of its disk did, that would be stored again.
const EPOCHS_MAX: i64 = 20_000;
/// Epochs forgotten at once.
const EPOCHS_AT_ONCE: i64 = 256;
/// Gaps kept per device that name numbers of an epoch; beyond it the oldest tenth become one for each epoch, or one in
/// all, with the count of what they named. What is settled does not change by it: `settled` says that, number by number.
const GAPS_MAX: i64 = 10_000;

/// Gaps that become one.
struct Pile {
    epoch: Option<i64>,
    first: i64,
    last: i64,
    numbers: i64,
    readings: Option<i64>,
    source: Option<String>,
    reason: String,
}

impl Work<'_> {
    /// Ends the growth of what no other rule ends.
    pub(super) fn tidy(&mut self, device: i64) -> Result<(), StoreError> {
        self.write_batch_rows()?;
        let before = self.now.0.saturating_sub(BATCH_ROW_US_MAX);
        let sql = "delete from batch where (epoch, number) in
                     (select epoch, number from batch where arrived_us < ?1 order by arrived_us limit ?2)";
        self.db.prepare(sql).execute([before, to_sql(BATCH_ROWS_AT_ONCE)])?;
        for (table, kept) in [("boot_clock", BOOT_CLOCKS_MAX), ("unset_run", UNSET_RUNS_MAX)] {
            let sql = format!(
                "delete from {table} where device = ?1 and id <=
                   (select id from {table} where device = ?1 order by id desc limit 1 offset ?2)"
            );
            self.db.prepare(&sql).execute([device, kept])?;
        }
        self.bound_epochs(device, before)
    }

    /// Forgets the oldest epochs that nobody can have batches of, when there are too many.
    fn bound_epochs(&mut self, device: i64, before: i64) -> Result<(), StoreError> {
        let sql = "select count(*) from epoch where device = ?";
        let epochs: i64 = self.db.prepare(sql).one([device], |row| row.get(0))?;
        if epochs <= EPOCHS_MAX {
            return Ok(());
        }
        let sql = "select id, epoch from epoch where device = ?1 and holds = 0
                     and coalesce(last_arrival_us, 0) < ?2 and coalesce(named_us, 0) < ?2 order by id limit ?3";
        let limit = EPOCHS_AT_ONCE.min(epochs - EPOCHS_MAX);
        let closed: Vec<(i64, [u8; 8])> =
            self.db.prepare(sql).rows(params![device, before, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (key, epoch) in &closed {
            let gaps = self.take_gaps("epoch = ?1 and id > ?2", [*key, 0])?;
            let lost = gaps.into_iter().map(|gap| Pile { epoch: None, ..gap }).reduce(Pile::with);
            lost.map_or(Ok(()), |lost| self.put_gap(device, &lost))?;
            self.db.prepare("update quarantine set epoch = null where epoch = ?").execute([*key])?;
            for table in ["batch", "settled", "held"] {
                self.db.prepare(&format!("delete from {table} where epoch = ?")).execute([*key])?;
            }
            self.memory.epochs.forget(device, Epoch(*epoch));
            self.db.prepare("delete from epoch where id = ?").execute([*key])?;
        }
        let sql = "update device set epochs_forgotten = epochs_forgotten + ?2 where id = ?1";
        self.db.prepare(sql).execute(params![device, i64::try_from(closed.len()).unwrap_or(0)])?;
        Ok(())
    }

    /// Makes few of the oldest gaps that name numbers, when there are too many.
    pub(super) fn bound_gaps(&self, device: i64) -> Result<(), StoreError> {
        let sql = "select count(*) from gap where device = ?1 and epoch is not null";
        let gaps: i64 = self.db.prepare(sql).one([device], |row| row.get(0))?;
        if gaps <= GAPS_MAX {
            return Ok(());
        }
        let oldest = "id in (select id from gap where device = ?1 and epoch is not null order by id limit ?2)";
        let mut gaps = self.take_gaps(oldest, [device, gaps - GAPS_MAX + GAPS_MAX / 10])?;
        gaps.sort_by_key(|gap| gap.epoch);
        let count = gaps.len();
        let mut piles: Vec<Pile> = Vec::new();
        for gap in gaps {
            match piles.pop_if(|pile| pile.epoch == gap.epoch) {
                Some(pile) => piles.push(pile.with(gap)),
                None => piles.push(gap),
            }
        }
        if piles.len() > count / 2 {
            // One here and one there: by epoch they are no fewer.
            let all = piles.drain(..).map(|pile| Pile { epoch: None, ..pile }).reduce(Pile::with);
            piles.extend(all);
        }
        piles.iter().try_for_each(|pile| self.put_gap(device, pile))
    }

    fn take_gaps(&self, which: &str, values: [i64; 2]) -> Result<Vec<Pile>, StoreError> {
        let sql = format!(
            "delete from gap where {which}
             returning epoch, first, last, coalesce(numbers, last - first + 1), readings, source, reason"
        );
        let read = |row: &Row<'_>| {
            Ok(Pile {
                epoch: row.get(0)?,
                first: row.get(1)?,
                last: row.get(2)?,
                numbers: row.get(3)?,
                readings: row.get(4)?,
                source: row.get(5)?,
                reason: row.get(6)?,
            })
        };
        Ok(self.db.prepare(&sql).rows(values, read)?)
    }

    fn put_gap(&self, device: i64, pile: &Pile) -> Result<(), StoreError> {
        let Pile { epoch, first, last, numbers, readings, source, reason } = pile;
        // What names no epoch any more is one for each reason.
        // As [`Pile::with`] adds.
        let sql = "update gap set
                     numbers = case when numbers > 9223372036854775807 - ?3 then 9223372036854775807 else numbers + ?3 end,
                     readings = case when readings > 9223372036854775807 - ?4 then 9223372036854775807 else readings + ?4 end
                   where device = ?1 and epoch is null and numbers is not null and reason = ?2 and cast(?5 as bigint) is null";
        let values = params![device, reason, numbers, readings, epoch];
        if self.db.prepare(sql).execute(values)? > 0 {
            return Ok(());
        }
        let (first, last) = epoch.map(|_| (first, last)).unzip();
        let sql = "insert into gap (tenant, device, epoch, first, last, numbers, readings, source, reason)
                   values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = params![TENANT, device, epoch, first, last, numbers, readings, source, reason];
        self.db.prepare(sql).execute(values)?;
        Ok(())
    }
}

impl Pile {
    fn with(self, other: Self) -> Self {
        let reason = if self.reason == other.reason { self.reason } else { "several".to_owned() };
        Self {
            epoch: self.epoch,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            numbers: self.numbers.saturating_add(other.numbers),
            readings: self.readings.zip(other.readings).map(|(left, right)| left.saturating_add(right)),
            source: self.source.filter(|source| Some(source) == other.source.as_ref()),
            reason,
        }
    }
}
