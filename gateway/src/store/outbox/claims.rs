//! The table `outbox`: what is claimed, and how claims end.

use proto::{BodyHash, DeviceId, Epoch, Instant, Range, Ranges};

use super::{Relational, StoreError};
use crate::store::SettledRanges;
use crate::store::ledger::{Claim, Claimed, TENANT, from_sql};
use crate::store::sql::{Cell, Db, Many, Row, SqlError, params};

/// Readings written at once, about.
const READINGS_AT_ONCE: u64 = 20_000;
/// Claims looked at to find them.
const CLAIMS_AT_ONCE: i64 = 2_000;

const COLUMNS: &str = "device, epoch, number, pack, first_reading, last_reading, blocks";

fn read(row: &Row<'_>) -> Result<Claim, SqlError> {
    let of = match row.get::<Option<[u8; 16]>>(3)? {
        Some(hash) => Claimed::Pack { hash: BodyHash(hash) },
        None => Claimed::Batch { epoch: row.get(1)?, number: from_sql(row.get(2)?) },
    };
    Ok(Claim { device: row.get(0)?, of, first: row.get(4)?, last: row.get(5)?, blocks: row.get(6)? })
}

/// How many readings wait, of those that no receipt covers.
pub(super) fn waiting(ledger: &mut dyn Relational) -> Result<u64, StoreError> {
    let mut waiting: i64 = 0;
    ledger.transact(&mut |db| {
        let sql = "select cast(coalesce(sum(last_reading - first_reading + 1), 0) as bigint) from outbox
                   where tenant = ?1 and blocks = 1";
        waiting = db.prepare(sql).one([TENANT], |row| row.get(0))?;
        Ok(())
    })?;
    Ok(from_sql(waiting))
}

/// The oldest claims that were entered until `before` and that nobody has in hand, first those that receipts wait for.
pub(super) fn left_over(
    ledger: &mut dyn Relational,
    in_hand: Option<(i64, i64)>,
    before: Instant,
) -> Result<Vec<Claim>, StoreError> {
    let (from, to) = in_hand.unwrap_or((0, -1));
    let sql = format!(
        "select {COLUMNS} from outbox
         where tenant = ?1 and not (blocks = 1 and first_reading between ?2 and ?3) and entered_us <= ?4
         order by blocks desc, first_reading limit ?5"
    );
    let (mut claims, mut readings) = (Vec::new(), 0);
    ledger.transact(&mut |db| {
        claims = db.prepare(&sql).rows([TENANT, from, to, before.0, CLAIMS_AT_ONCE], read)?;
        Ok(())
    })?;
    claims.retain(|claim| {
        let fits = readings == 0 || readings + claim.readings() <= READINGS_AT_ONCE;
        readings += claim.readings();
        fits
    });
    Ok(claims)
}

/// Numbers of an epoch that no receipt may cover yet.
pub(super) fn of_epoch(ledger: &mut dyn Relational, device: &DeviceId, epoch: Epoch) -> Result<Ranges, StoreError> {
    let sql = "select o.number from outbox o join epoch e on e.id = o.epoch join device d on d.id = e.device
               where d.tenant = ?1 and d.name = ?2 and e.epoch = ?3 and o.blocks = 1";
    let mut claimed = Ranges::default();
    ledger.transact(&mut |db| {
        db.prepare(sql).each(params![TENANT, device.as_str(), epoch.0], |row| {
            claimed.insert(Range::one(from_sql(row.get(0)?)));
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(claimed)
}

/// What is left of `settled` without what is claimed, as far as it shares a number with `around`.
pub(super) fn without(settled: SettledRanges, claimed: &Ranges, around: Range) -> SettledRanges {
    if claimed.as_slice().is_empty() {
        return settled;
    }
    let SettledRanges(ranges) = settled;
    let left = ranges
        .into_iter()
        .flat_map(|(range, state)| claimed.missing_in(range).iter().map(|left| (left, state)).collect::<Vec<_>>());
    SettledRanges(left.filter(|(range, _)| range.intersect(around).is_some()).collect())
}

const END: Many = Many {
    one: "delete from outbox where first_reading = ?1 and blocks = ?2",
    all: "delete from outbox o using unnest($1::bigint[], $2::smallint[]) as gone (first_reading, blocks)
          where o.first_reading = gone.first_reading and o.blocks = gone.blocks",
};

/// Ends `claims`: the sink has what it takes of them.
pub(super) fn end(db: Db<'_>, claims: &[Claim]) -> Result<(), StoreError> {
    let rows: Vec<_> =
        claims.iter().map(|claim| vec![Cell::Int(claim.first), Cell::Int(i64::from(claim.blocks))]).collect();
    Ok(db.driver().execute_many(&END, &rows)?)
}
