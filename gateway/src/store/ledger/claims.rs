//! Claims: which readings a time-series store beside this one is still to be given. A claim is entered in the commit
//! that stores its readings, so what it fixes (numbers, clock, ranks) is the same however often they are written there.

use proto::{BodyHash, Instant, Number};

use super::{StoreError, TENANT, Work, to_sql};
use crate::store::sql::{Cell, Many};

/// The readings of one batch or pack, claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Claim {
    pub(in crate::store) device: i64,
    pub(in crate::store) of: Claimed,
    /// The first reading of the batch or pack …
    pub(in crate::store) first: i64,
    /// … and the last.
    pub(in crate::store) last: i64,
    /// Whether no receipt may cover it yet. What was stored without a time and has one now, is covered already.
    pub(in crate::store) blocks: bool,
}

/// What a claim is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Claimed {
    /// A batch, by the key of its epoch.
    Batch { epoch: i64, number: Number },
    /// A SenML pack.
    Pack { hash: BodyHash },
}

const ENTER: Many = Many {
    one: "insert into outbox (first_reading, blocks, last_reading, tenant, device, entered_us, epoch, number, pack)
          values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) on conflict (first_reading, blocks) do nothing",
    all: "insert into outbox (first_reading, blocks, last_reading, tenant, device, entered_us, epoch, number, pack)
          select * from unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::int[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bytea[])
          on conflict (first_reading, blocks) do nothing",
};

impl Claim {
    /// How many readings it has.
    pub(in crate::store) fn readings(&self) -> u64 {
        (self.last - self.first + 1).cast_unsigned()
    }

    fn cells(&self, now: Instant) -> Vec<Cell<'_>> {
        let (epoch, number, pack) = match &self.of {
            Claimed::Batch { epoch, number } => (Cell::Int(*epoch), Cell::Int(to_sql(*number)), Cell::Null),
            Claimed::Pack { hash } => (Cell::Null, Cell::Null, Cell::Blob(&hash.0)),
        };
        let (first, blocks, last) = (Cell::Int(self.first), Cell::Int(i64::from(self.blocks)), Cell::Int(self.last));
        let (tenant, device, entered) = (Cell::Int(TENANT), Cell::Int(self.device), Cell::Int(now.0));
        vec![first, blocks, last, tenant, device, entered, epoch, number, pack]
    }
}

impl Work<'_> {
    /// From here on, what is recorded is claimed for a time-series store beside this one, where there `is` one.
    pub(in crate::store) fn claim_from_now_on(&mut self, is: bool) {
        self.claims = is.then(Vec::new);
    }

    /// What was claimed.
    pub(in crate::store) fn take_claims(&mut self) -> Vec<Claim> {
        self.claims.take().unwrap_or_default()
    }

    /// Claims the readings after `before`, if there are any.
    pub(super) fn claim(&mut self, device: i64, of: Claimed, before: i64) {
        let (first, last) = (before + 1, self.memory.last_reading);
        if let Some(claims) = self.claims.as_mut().filter(|_| first <= last) {
            claims.push(Claim { device, of, first, last, blocks: true });
        }
    }

    /// Claims readings that were stored without a time and have one now. Runs of them are of whole batches.
    pub(super) fn claim_again(&mut self, device: i64, first: i64, last: i64) -> Result<(), StoreError> {
        let Some(claims) = &mut self.claims else { return Ok(()) };
        let sql = "select epoch, number, min(id), max(id) from reading
                   where id between ?1 and ?2 and epoch is not null and number is not null group by epoch, number";
        self.db.prepare(sql).each([first, last], |row| {
            let of = Claimed::Batch { epoch: row.get(0)?, number: super::from_sql(row.get(1)?) };
            claims.push(Claim { device, of, first: row.get(2)?, last: row.get(3)?, blocks: false });
            Ok(())
        })?;
        Ok(())
    }

    /// Enters what was claimed, which stays to be taken.
    pub(super) fn write_claims(&mut self) -> Result<(), StoreError> {
        let rows: Vec<_> = self.claims.iter().flatten().map(|claim| claim.cells(self.now)).collect();
        Ok(self.db.driver().execute_many(&ENTER, &rows)?)
    }
}
