//! The ledger as people see it: what is settled, what will never come, what lies in quarantine.

use proto::Epoch;
use proto::message::Settlement;

use super::View;
use crate::store::error::ReadError;
use crate::store::ledger::epochs::EpochState;
use crate::store::ledger::{TENANT, from_sql, from_sum};
use crate::store::sql::{Row, SqlError, params};
use crate::store::view::{Gap, Ledger, LedgerCounts, LedgerEpoch, LedgerRange, Lost, Quarantined, Raised};

/// Epochs in one answer, newest first.
const EPOCHS_MAX: i64 = 200;
/// Ranges of one epoch in one answer, newest last.
const RANGES_MAX: usize = 2_000;
/// Epochs of which something is held that are added up for one answer. An agent holds batches of a few.
const HELD_EPOCHS_MAX: i64 = 1_000;
/// Gaps in one answer, newest first.
const GAPS_MAX: i64 = 1_000;
/// Quarantined messages in one answer, newest first.
const QUARANTINED_MAX: i64 = 500;

impl View<'_> {
    /// The ledger of a device; none if it was never heard of.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn ledger(&self, device: &str) -> Result<Option<Ledger>, ReadError> {
        let sql = "select id, connected from device where tenant = ?1 and name = ?2";
        let found = self.db.prepare(sql).first(params![TENANT, device], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some((key, connected)) = found else { return Ok(None) };
        let (totals, lost, alarms) = (self.totals(key)?, self.lost(key)?, self.raised(key)?);
        let (epochs, gaps) = (self.epochs(key)?, self.gaps(key)?);
        Ok(Some(Ledger { device: device.to_owned(), connected, totals, lost, alarms, epochs, gaps }))
    }

    fn totals(&self, device: i64) -> Result<LedgerCounts, ReadError> {
        // A device may claim any number: a sum of whole numbers could overflow.
        let sql = "select state, sum(cast(s.last - s.first + 1 as double precision)) from settled s
                   join epoch e on e.id = s.epoch where e.device = ? group by state";
        let mut settled = [0_u64; 3];
        self.db.prepare(sql).each([device], |row| {
            if let Some(of_state) = settled.get_mut(usize::from(row.get::<u8>(0)?)) {
                *of_state = from_sql(from_sum(row.get(1)?));
            }
            Ok(())
        })?;
        let [stored, quarantined, mut lost] = settled;
        let sql = "select coalesce(sum(cast(repaired as double precision)), 0.0) from epoch where device = ?";
        let repaired = from_sql(self.db.prepare(sql).one([device], |row| Ok(from_sum(row.get(0)?)))?);
        let mut waiting = 0_u64;
        let sql = "select epoch from epoch where device = ?1 and holds = 1 order by id desc limit ?2";
        for epoch in self.db.prepare(sql).rows([device, HELD_EPOCHS_MAX], |row| Ok(Epoch(row.get(0)?)))? {
            let Some(state) = EpochState::read(self.db, device, epoch)? else { continue };
            waiting = waiting.saturating_add(state.waiting().count());
            lost = lost.saturating_sub(state.gaps_to_fill().count());
        }
        Ok(LedgerCounts { stored, quarantined, waiting, repaired, lost })
    }

    fn lost(&self, device: i64) -> Result<Vec<Lost>, ReadError> {
        let sql = "select reason, count(*), sum(cast(coalesce(numbers, last - first + 1) as double precision)),
                     coalesce(sum(cast(readings as double precision)), 0.0), count(*) - count(readings)
                   from gap where device = ? group by reason order by max(id) desc";
        let read = |row: &Row<'_>| {
            let (numbers, readings) = (row.get::<Option<f64>>(2)?.map_or(0, from_sum), from_sum(row.get(3)?));
            Ok(Lost { reason: row.get(0)?, gaps: row.get(1)?, numbers, readings, uncounted: row.get(4)? })
        };
        Ok(self.db.prepare(sql).rows([device], read)?)
    }

    fn raised(&self, device: i64) -> Result<Vec<Raised>, ReadError> {
        let sql = "select kind, first_us, last_us, count from alarm where device = ? order by last_us desc, kind";
        let read = |row: &Row<'_>| {
            Ok(Raised { kind: row.get(0)?, first_us: row.get(1)?, last_us: row.get(2)?, count: row.get(3)? })
        };
        Ok(self.db.prepare(sql).rows([device], read)?)
    }

    fn epochs(&self, device: i64) -> Result<Vec<LedgerEpoch>, ReadError> {
        let sql = "select epoch, first_arrival_us, last_arrival_us, astray from epoch
                   where device = ?1 order by id desc limit ?2";
        let read = |row: &Row<'_>| Ok((Epoch(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?));
        let mut epochs = Vec::new();
        for (epoch, first_arrival_us, last_arrival_us, is_astray) in
            self.db.prepare(sql).rows([device, EPOCHS_MAX], read)?
        {
            let Some(state) = EpochState::read(self.db, device, epoch)? else { continue };
            let settled = state.settled().0.into_iter();
            let mut ranges: Vec<LedgerRange> = settled
                .map(|(range, state)| LedgerRange { first: range.first, last: range.last, state: word(state) })
                .collect();
            ranges.drain(..ranges.len().saturating_sub(RANGES_MAX));
            epochs.push(LedgerEpoch {
                epoch: epoch.to_string(),
                first_arrival_us,
                last_arrival_us,
                next: state.next,
                counts: counts_of(&state),
                is_astray,
                ranges,
            });
        }
        Ok(epochs)
    }

    fn gaps(&self, device: i64) -> Result<Vec<Gap>, ReadError> {
        let sql = "select e.epoch, g.first, g.last, g.source, g.readings, g.reason, g.numbers,
                     cast(g.from_us as double precision) + case when g.boot is null then 0 else c.offset_us end,
                     cast(g.until_us as double precision) + case when g.boot is null then 0 else c.offset_us end
                   from gap g
                   left join epoch e on e.id = g.epoch
                   left join boot_clock c on c.device = g.device and c.boot = g.boot
                   where g.device = ?1 order by g.id desc limit ?2";
        let read = |row: &Row<'_>| {
            Ok(Gap {
                epoch: hex(row.get(0)?),
                first: row.get::<Option<i64>>(1)?.map(from_sql),
                last: row.get::<Option<i64>>(2)?.map(from_sql),
                source: row.get(3)?,
                count: row.get(4)?,
                reason: row.get(5)?,
                numbers: row.get(6)?,
                from_us: whole(row, 7)?,
                to_us: whole(row, 8)?,
            })
        };
        Ok(self.db.prepare(sql).rows([device, GAPS_MAX], read)?)
    }

    /// What lies in quarantine, of all devices or one, newest first.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn quarantined(&self, device: Option<&str>) -> Result<Vec<Quarantined>, ReadError> {
        let sql = "select q.id, d.name, q.arrived_us, q.channel, q.reason, q.size_bytes, e.epoch, q.number
                   from quarantine q
                   join device d on d.id = q.device
                   left join epoch e on e.id = q.epoch
                   where q.tenant = ?1 and (d.name = ?2 or ?2 is null)
                   order by q.arrived_us desc, q.id desc limit ?3";
        let read = |row: &Row<'_>| {
            let (device, channel): (String, String) = (row.get(1)?, row.get(3)?);
            Ok(Quarantined {
                id: row.get(0)?,
                topic: format!("trib/1/{device}/{channel}"),
                device,
                arrived_us: row.get(2)?,
                reason: row.get(4)?,
                bytes: row.get(5)?,
                epoch: hex(row.get(6)?),
                number: row.get::<Option<i64>>(7)?.map(from_sql),
            })
        };
        Ok(self.db.prepare(sql).rows(params![TENANT, device, QUARANTINED_MAX], read)?)
    }
}

fn counts_of(state: &EpochState) -> LedgerCounts {
    let [stored, quarantined, gap] = state.counts();
    LedgerCounts {
        stored,
        quarantined,
        waiting: state.waiting().count(),
        repaired: state.repaired,
        lost: gap.saturating_sub(state.gaps_to_fill().count()),
    }
}

fn hex(epoch: Option<[u8; 8]>) -> Option<String> {
    epoch.map(|epoch| Epoch(epoch).to_string())
}

/// An instant that was reckoned in floating point, exact to the microsecond for 142 years around 1970; beyond what i64
/// can hold there is none.
fn whole(row: &Row<'_>, column: usize) -> Result<Option<i64>, SqlError> {
    Ok(row.get::<Option<f64>>(column)?.map(from_sum).filter(|instant| ![i64::MIN, i64::MAX].contains(instant)))
}

fn word(state: Settlement) -> &'static str {
    match state {
        Settlement::Stored => "stored",
        Settlement::Quarantined => "quarantined",
        Settlement::Gap => "gap",
    }
}
