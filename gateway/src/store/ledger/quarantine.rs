//! What could not be read or stored, kept with its bytes within a quota per device.

use proto::message::{Refusal, Settlement};
use proto::{BodyHash, Number, Range};
use tracing::error;

use super::batches::{BatchRow, CONFLICT};
use super::{AlarmKind, StoreError, TENANT, Work, to_sql};
use crate::store::sql::params;
use crate::store::{Outcome, Quarantine};

/// Entries a device may have in quarantine.
const QUARANTINE_ENTRIES_MAX: i64 = 1_000;
/// Bytes a device may have in quarantine.
const QUARANTINE_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// Bytes kept of a reason.
const REASON_BYTES_MAX: usize = 1_024;

impl Work<'_> {
    /// Keeps what could not be read. With an identity it is entered in the ledger, and thereby settled.
    pub(super) fn quarantine(&mut self, quarantine: &Quarantine) -> Result<Outcome, StoreError> {
        let device = self.device(&quarantine.device, Some(quarantine.arrived))?;
        let Some((epoch, number, hash)) = quarantine.identity else {
            let hash = BodyHash::of(&quarantine.bytes);
            return self.keep(device, quarantine, None, hash);
        };
        let entry = self.epoch(device, epoch)?;
        entry.arrived(quarantine.arrived);
        let (key, state) = (entry.key, entry.state_of(number));
        if matches!(state, Some(Settlement::Stored | Settlement::Quarantined)) {
            return match self.batch_hash(key, number)? {
                Some(known) if known != hash => self.conflict(quarantine),
                _ => Ok(Outcome::Known),
            };
        }
        let kept = self.keep(device, quarantine, Some((key, number)), hash)?;
        if let Outcome::Refused(_) = kept {
            return Ok(kept);
        }
        if state == Some(Settlement::Gap) {
            self.withdraw_gap(device, key, number)?;
            self.epoch(device, epoch)?.repaired += 1;
        }
        let row = BatchRow { hash, lane: None, clock: None, arrived: quarantine.arrived, readings: 0 };
        self.batch_row(key, number, row);
        self.epoch(device, epoch)?.settle(Range::one(number), Settlement::Quarantined);
        Ok(Outcome::Recorded)
    }

    /// Keeps the second body of an identity, as far as there is room, and alarms. It is never covered.
    pub(super) fn conflict(&mut self, quarantine: &Quarantine) -> Result<Outcome, StoreError> {
        let device = self.device(&quarantine.device, Some(quarantine.arrived))?;
        self.alarm(device, AlarmKind::Conflict)?;
        if let Some((epoch, number, hash)) = quarantine.identity {
            let key = self.epoch(device, epoch)?.key;
            // A conflict either way: the device keeps its copy. But that ours is not kept must not go unsaid.
            if let Outcome::Refused(_) = self.keep(device, quarantine, Some((key, number)), hash)? {
                error!(device.id = %quarantine.device, %epoch, number, "no room in quarantine for the second body");
                self.alarm(device, AlarmKind::ConflictNotKept)?;
            }
        }
        Ok(CONFLICT)
    }

    /// Takes out what is quarantined under an identity, because it is stored now.
    pub(super) fn release(&self, device: i64, epoch: i64, number: Number, hash: BodyHash) -> Result<(), StoreError> {
        let sql = "delete from quarantine where device = ?1 and hash = ?4 and epoch = ?2 and number = ?3";
        self.db.prepare(sql).execute(params![device, epoch, to_sql(number), hash.0])?;
        Ok(())
    }

    fn keep(
        &mut self,
        device: i64,
        quarantine: &Quarantine,
        place: Option<(i64, Number)>,
        hash: BodyHash,
    ) -> Result<Outcome, StoreError> {
        let (epoch, number) = place.map(|(epoch, number)| (epoch, to_sql(number))).unzip();
        let channel = quarantine.channel.path();
        let sql = "select 1 from quarantine where device = ?1 and hash = ?2 and channel = ?3 and epoch is not distinct from ?4
                     and number is not distinct from ?5";
        let values = params![device, hash.0, channel, epoch, number];
        let known = self.db.prepare(sql).first(values, |_| Ok(()))?;
        if known.is_some() {
            return Ok(Outcome::Known);
        }
        let size = to_sql(quarantine.bytes.len() as u64);
        let sql = "select count(*), cast(coalesce(sum(size_bytes), 0) as bigint) from quarantine where device = ?";
        let (entries, bytes): (i64, i64) = self.db.prepare(sql).one([device], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if entries >= QUARANTINE_ENTRIES_MAX || bytes.saturating_add(size) > QUARANTINE_BYTES_MAX {
            self.alarm(device, AlarmKind::QuarantineFull)?;
            return Ok(Outcome::Refused(Refusal::QuarantineFull));
        }
        let reason = cut(&quarantine.reason);
        let sql = "insert into quarantine
                     (tenant, device, channel, epoch, number, hash, arrived_us, reason, size_bytes, bytes)
                   values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let arrived_us = quarantine.arrived.0;
        self.db.prepare(sql).execute(params![
            TENANT,
            device,
            channel,
            epoch,
            number,
            hash.0,
            arrived_us,
            reason,
            size,
            *quarantine.bytes
        ])?;
        Ok(Outcome::Recorded)
    }
}

fn cut(reason: &str) -> &str {
    let end = (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    end.and_then(|end| reason.get(..end)).unwrap_or_default()
}
