//! Claimed readings on their way to the sink, and what it answers.

use std::time::Duration;

use proto::Instant;

use super::records::{self, Names};
use super::totals::TOTALS;
use super::{Shared, StoreError, claims, lock};
use crate::store::alarm::{AlarmKind, Raised, raise};
use crate::store::ledger::{Claim, TENANT};
use crate::store::sink::{Refused, Sink, SinkError, Why};
use crate::store::sql::{Db, params};

/// Readings written and settled at once, about.
const READINGS_AT_ONCE: u64 = 20_000;
/// Refused readings that are remembered with their reasons.
const REFUSED_MAX: i64 = 100_000;

/// The sink, and the names that records carry.
pub(super) struct Writer {
    pub(super) sink: Box<dyn Sink>,
    pub(super) names: Names,
}

/// Why the sink has not got what is claimed for it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undelivered {
    /// It, or the way to it.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The relational store, which says what it is to get.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether more may be left over.
pub(super) enum Rest {
    Some,
    None,
}

/// A reading that the sink never takes.
struct Never {
    reading: i64,
    reason: String,
}

impl Shared {
    /// Writes what is left over, about as much as is written at once.
    pub(super) fn deliver_left_over(&self) -> Result<Rest, Undelivered> {
        let left_over = {
            let mut ledger = lock(&self.ledger);
            let in_hand = lock(&self.state).in_hand;
            let left_over = claims::left_over(&mut **ledger, in_hand, self.before())?;
            if left_over.is_empty() && in_hand.is_none() {
                // Others may have written what we left, and we what they left.
                let waiting = claims::waiting(&mut **ledger)?;
                lock(&self.state).waiting = waiting;
                TOTALS.waiting.set(waiting);
            }
            left_over
        };
        if left_over.is_empty() {
            return Ok(Rest::None);
        }
        self.deliver(&left_over)?;
        Ok(Rest::Some)
    }

    /// Writes what `claims` are of to the sink, and ends them. After an error, some may be ended.
    pub(super) fn deliver(&self, claims: &[Claim]) -> Result<(), Undelivered> {
        let mut left = claims;
        while !left.is_empty() {
            let mut readings = 0;
            let fits = |claim: &&Claim| {
                readings += claim.readings();
                readings <= READINGS_AT_ONCE
            };
            let (now, later) = left.split_at(left.iter().take_while(fits).count().max(1));
            self.deliver_at_once(now)?;
            self.recovered();
            left = later;
        }
        Ok(())
    }

    fn deliver_at_once(&self, claims: &[Claim]) -> Result<(), Undelivered> {
        let mut writer = lock(&self.sink);
        let Writer { sink, names } = &mut *writer;
        let mut to_write = self.transact(|db| records::of(db, claims, names))?;
        let mut never = Vec::new();
        while !to_write.is_empty() {
            let refused = sink.write(&to_write)?;
            TOTALS.written.add((to_write.len().saturating_sub(refused.len())) as u64);
            let mut collided = Vec::new();
            for Refused { place, why } in refused {
                let Some(record) = to_write.get(place) else { continue };
                match why {
                    Why::Collision => collided.push(record.clone()),
                    Why::Never(reason) => never.push(Never { reading: record.reading, reason }),
                }
            }
            TOTALS.collisions.add(collided.len() as u64);
            to_write = collided;
            // Its new rank is in the relational store before it is written, so that every copy of it has it.
            self.transact(|db| to_write.iter_mut().try_for_each(|record| records::rank_anew(db, record)))?;
        }
        drop(writer);
        self.end(claims, &never)
    }

    /// Ends `claims`, with what was refused of them.
    fn end(&self, claims: &[Claim], never: &[Never]) -> Result<(), Undelivered> {
        let now = (self.now)();
        let raised = self.transact(|db| {
            claims::end(db, claims)?;
            remember_refused(db, claims, never, now)
        })?;
        raised.iter().for_each(Raised::tell);
        TOTALS.refused.add(never.len() as u64);
        let blocking: u64 = claims.iter().filter(|claim| claim.blocks).map(Claim::readings).sum();
        let mut state = lock(&self.state);
        state.waiting = state.waiting.saturating_sub(blocking);
        TOTALS.waiting.set(state.waiting);
        Ok(())
    }

    /// One durable transaction of the relational store.
    fn transact<T: Default>(&self, mut act: impl FnMut(Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut answer = T::default();
        lock(&self.ledger).transact(&mut |db| {
            answer = act(db)?;
            Ok(())
        })?;
        Ok(answer)
    }

    /// Claims that were entered later than this may be in another gateway's hands.
    fn before(&self) -> Instant {
        ago((self.now)(), self.settings.grace)
    }
}

fn ago(now: Instant, time: Duration) -> Instant {
    Instant(now.0.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
}

/// Answers the alarms that are to be told of once this is committed.
fn remember_refused(db: Db<'_>, claims: &[Claim], never: &[Never], now: Instant) -> Result<Vec<Raised>, StoreError> {
    let mut raised = Vec::new();
    for claim in claims {
        let of_claim = never.iter().filter(|never| (claim.first..=claim.last).contains(&never.reading));
        let mut count = 0;
        for Never { reading, reason } in of_claim {
            let sql =
                "insert into sink_refused (tenant, device, reading, refused_us, reason) values (?1, ?2, ?3, ?4, ?5)";
            db.prepare(sql).execute(params![TENANT, claim.device, reading, now.0, reason])?;
            count += 1;
        }
        if count > 0 {
            raised.extend(raise(db, claim.device, AlarmKind::SinkRefused, count, now)?);
        }
    }
    if !never.is_empty() {
        let sql = "delete from sink_refused where id <= (select max(id) from sink_refused) - ?1";
        db.prepare(sql).execute([REFUSED_MAX])?;
    }
    Ok(raised)
}
