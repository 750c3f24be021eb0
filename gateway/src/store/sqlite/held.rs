//! What a device says it holds: what is missing follows from it, and what need not be kept any more.

use proto::message::{HELLO_EPOCHS_MAX, Held};
use proto::{DeviceId, Epoch, Range, Ranges};
use rusqlite::params;

use super::writer::Work;
use super::{StoreError, TENANT, to_sql};
use crate::store::Outcome;

/// A batch row lives no longer than this even if its device never says what it holds: 90 days are three times what an
/// agent keeps of settled batches.
const BATCH_ROW_US_MAX: i64 = 90 * 86_400 * 1_000_000;
/// Clocks of boots kept per device.
const BOOT_CLOCKS_MAX: i64 = 10_000;
/// Runs of readings without a clock kept per device.
const UNSET_RUNS_MAX: i64 = 10_000;

impl Work<'_> {
    /// Remembers what a device holds.
    pub(super) fn held(&mut self, device: &DeviceId, held: &[Held]) -> Result<Outcome, StoreError> {
        let device = self.device(device, Some(self.now))?;
        for held in held {
            let ranges = held.ranges.iter().copied().filter(|range| range.first <= range.last).collect();
            self.hold(device, held.epoch, Some(held.next), ranges)?;
        }
        // A device names all epochs of which it holds something, unless there are more than fit. So what it does not
        // name, it does not hold.
        let forgotten = self.holding(device)?;
        let named = |epoch: &Epoch| held.iter().any(|held| held.epoch == *epoch);
        if held.len() < HELLO_EPOCHS_MAX && forgotten.len() <= HELLO_EPOCHS_MAX {
            for epoch in forgotten.into_iter().filter(|epoch| !named(epoch)) {
                self.hold(device, epoch, None, Ranges::new())?;
            }
        }
        self.tidy(device)?;
        Ok(Outcome::Recorded)
    }

    fn hold(&mut self, device: i64, epoch: Epoch, next: Option<u64>, ranges: Ranges) -> Result<(), StoreError> {
        let entry = self.epoch(device, epoch)?;
        let had = entry.missing;
        entry.next = next.map(|next| next.min(i64::MAX.cast_unsigned())).max(entry.next);
        let renewed = entry.held != ranges;
        entry.held = ranges;
        entry.missing = entry.missing().count();
        let (key, missing, next) = (entry.key, entry.missing, entry.next);
        let held = entry.held.clone();
        if missing > had {
            self.alarm(device, "missing")?;
        }
        if renewed {
            self.db.prepare_cached("delete from held where epoch = ?")?.execute([key])?;
            let mut statement =
                self.db.prepare_cached("insert into held (tenant, epoch, first, last) values (?1, ?2, ?3, ?4)")?;
            for range in held.iter() {
                statement.execute(params![TENANT, key, to_sql(range.first), to_sql(range.last)])?;
            }
        }
        // What the device has given away and holds no more cannot come again, but for a copy that is still under way,
        // which the ranges know.
        let Some(given) = next.and_then(|next| Range::new(1, next.checked_sub(1)?)) else { return Ok(()) };
        let mut statement =
            self.db.prepare_cached("delete from batch where epoch = ?1 and number between ?2 and ?3")?;
        for gone in held.missing_in(given).iter() {
            statement.execute(params![key, to_sql(gone.first), to_sql(gone.last)])?;
        }
        Ok(())
    }

    /// The epochs of which a device held something when it last said so.
    fn holding(&self, device: i64) -> Result<Vec<Epoch>, StoreError> {
        let sql = "select epoch from epoch e where device = ?1
                   and exists (select 1 from held h where h.epoch = e.id) limit ?2";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map(params![device, to_sql(HELLO_EPOCHS_MAX as u64 + 1)], |row| row.get(0))?;
        Ok(rows.map(|epoch| epoch.map(Epoch)).collect::<Result<_, _>>()?)
    }

    /// Ends the growth of what no other rule ends.
    fn tidy(&self, device: i64) -> Result<(), StoreError> {
        let sql = "delete from batch where arrived_us < ?2 and epoch in
                     (select id from epoch where device = ?1 and coalesce(first_arrival_us, 0) < ?2)";
        let before = self.now.0.saturating_sub(BATCH_ROW_US_MAX);
        self.db.prepare_cached(sql)?.execute(params![device, before])?;
        for (table, kept) in [("boot_clock", BOOT_CLOCKS_MAX), ("unset_run", UNSET_RUNS_MAX)] {
            let sql = format!(
                "delete from {table} where device = ?1 and id <=
                   (select id from {table} where device = ?1 order by id desc limit 1 offset ?2)"
            );
            self.db.prepare_cached(&sql)?.execute([device, kept])?;
        }
        Ok(())
    }
}
