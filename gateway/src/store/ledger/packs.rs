//! SenML packs: they have no numbers, so what makes a repeat known is their bytes. One that bears another device's name is
//! kept aside.

use proto::{Channel, Clock, Column, DeviceId, Instant};

use super::batches::{Arrived, TOO_MANY_SERIES};
use super::claims::Claimed;
use super::{AlarmKind, StoreError, TENANT, Work};
use crate::store::sql::params;
use crate::store::{Outcome, Pack, Quarantine};

/// How long a pack with absolute times is known.
const PACK_US_KEPT: i64 = 7 * 86_400 * 1_000_000;
/// How many packs of a device are known at most.
const PACKS_MAX: i64 = 10_000;
/// How many of its last packs without times are known: the most that MQTT clients usually have in flight is 20, and
/// what is resent was in flight.
const PACKETS_MAX: i64 = 64;

impl Work<'_> {
    /// Records a pack, unless it is known.
    pub(super) fn pack(&mut self, pack: &Pack) -> Result<Outcome, StoreError> {
        let device = self.device(&pack.device, Some(pack.arrived))?;
        if self.is_known(device, pack)? {
            return Ok(Outcome::Known);
        }
        if let Some(other) = self.other_device(pack)? {
            return self.misnamed(device, pack, &other);
        }
        if !self.has_room_for(device, pack.columns.iter().map(|column: &Column| &column.series)) {
            self.alarm(device, AlarmKind::TooManySeries)?;
            return self.pack_aside(pack, TOO_MANY_SERIES.to_owned());
        }
        let columns = &pack.columns;
        let clock = Clock::default();
        self.reserve_readings()?;
        let before = self.memory.last_reading;
        self.append(&Arrived { device, at: pack.arrived, batch: None, lane: None, clock, columns })?;
        self.claim(device, Claimed::Pack { hash: pack.hash }, before);
        self.remember(device, pack)?;
        Ok(Outcome::Recorded)
    }

    /// Keeps a pack with its bytes that says it is `other`'s, and alarms. Nothing of it is stored, for either.
    fn misnamed(&mut self, device: i64, pack: &Pack, other: &DeviceId) -> Result<Outcome, StoreError> {
        self.alarm(device, AlarmKind::IdentityMismatch)?;
        let reason = format!("identity: its names are those of {other}, and its certificate is {}'s", pack.device);
        Ok(match self.pack_aside(pack, reason)? {
            Outcome::Recorded | Outcome::Known => Outcome::Misnamed,
            refused => refused,
        })
    }

    /// Keeps a pack with its bytes. Only refused, it would come again before all that its device has to say after it.
    fn pack_aside(&mut self, pack: &Pack, reason: String) -> Result<Outcome, StoreError> {
        let (channel, arrived, bytes) = (Channel::Senml, pack.arrived, pack.payload.clone());
        self.quarantine(&Quarantine { device: pack.device.clone(), channel, identity: None, arrived, reason, bytes })
    }

    fn is_known(&self, device: i64, pack: &Pack) -> Result<bool, StoreError> {
        let found = if pack.absolute {
            let sql = "select 1 from pack where device = ?1 and hash = ?2 and arrived_us >= ?3";
            let since = pack.arrived.0.saturating_sub(PACK_US_KEPT);
            self.db.prepare(sql).first(params![device, pack.hash.0, since], |_| Ok(()))?
        } else if let (Some(packet_id), true) = (pack.packet_id, pack.resent) {
            let sql = "select 1 from packet where device = ?1 and packet_id = ?2 and hash = ?3";
            self.db.prepare(sql).first(params![device, packet_id, pack.hash.0], |_| Ok(()))?
        } else {
            None
        };
        Ok(found.is_some())
    }

    fn remember(&mut self, device: i64, pack: &Pack) -> Result<(), StoreError> {
        if pack.absolute {
            let sql = "insert into pack (tenant, device, hash, arrived_us) values (?1, ?2, ?3, ?4)
                       on conflict (device, hash) do update set arrived_us = excluded.arrived_us";
            self.db.prepare(sql).execute(params![TENANT, device, pack.hash.0, pack.arrived.0])?;
            self.bound_packs(device, pack.arrived)
        } else if let Some(packet_id) = pack.packet_id {
            let sql = "insert into packet (tenant, device, packet_id, hash) values (?1, ?2, ?3, ?4)";
            self.db.prepare(sql).execute(params![TENANT, device, packet_id, pack.hash.0])?;
            let sql = "delete from packet where device = ?1 and id <=
                         (select id from packet where device = ?1 order by id desc limit 1 offset ?2)";
            self.db.prepare(sql).execute(params![device, PACKETS_MAX])?;
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Forgets what is too old or too much.
    fn bound_packs(&mut self, device: i64, now: Instant) -> Result<(), StoreError> {
        let known = self.memory.names.packs(self.db, device)?;
        let sql = "delete from pack where device = ?1 and arrived_us < ?2";
        let since = now.0.saturating_sub(PACK_US_KEPT);
        let mut gone = self.db.prepare(sql).execute(params![device, since])?;
        if *known > PACKS_MAX {
            // A tenth at once, so that a device at its bound does not pay for it with each pack.
            let sql = "delete from pack where device = ?1 and hash in
                         (select hash from pack where device = ?1 order by arrived_us limit ?2)";
            gone += self.db.prepare(sql).execute([device, PACKS_MAX / 10])?;
        }
        *known -= i64::try_from(gone).unwrap_or(0);
        Ok(())
    }
}
