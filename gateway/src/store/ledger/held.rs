//! What a device says it holds: what is lost follows from it, what need not be kept any more, and that a buffer was
//! copied.
//!
//! A healthy agent that names all it holds names, beside an epoch, every later one of its own: the newest batch never
//! leaves its buffer, and numbers only grow. So a hello that names an epoch and not a later one, or a lower next number
//! than an earlier hello, speaks of another buffer than we know: an older copy was put back, or two agents were started
//! from one disk image. Nothing is concluded then for what the other buffer said it holds: it may still come.

use proto::message::{Gap, GapReason, HELLO_RANGES_MAX, Held};
use proto::{DeviceId, Epoch, Number, Range, Ranges};

use super::{AlarmKind, StoreError, TENANT, Work, to_sql};
use crate::store::Outcome;
use crate::store::sql::{Row, params};

/// Epochs that a hello left out and that are looked at in one transaction; the rest are with the next hello.
const UNNAMED_MAX: i64 = 256;
/// What a copy held that was never heard of again is lost after this: 90 days are three times what an agent keeps.
const ASTRAY_US_MAX: i64 = 90 * 86_400 * 1_000_000;

/// How much a hello says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that the device holds.
    Whole,
    /// Some of it.
    Part,
}

/// An epoch that a hello left out.
struct Unnamed {
    epoch: Epoch,
    key: i64,
    first_named: Option<i64>,
    named_us: i64,
    is_astray: bool,
}

impl Work<'_> {
    /// Takes in what a device holds. Numbers that were given away and are neither settled nor held become gaps that
    /// nothing explains, in this transaction, so that no number is ever without a state once a hello was heard.
    pub(super) fn held(&mut self, device: &DeviceId, held: &[Held], extent: Extent) -> Result<Outcome, StoreError> {
        let device = self.device(device, Some(self.now))?;
        let hello = self.count_hello(device, extent)?;
        let sql = "select max(first_named) from epoch where device = ?";
        let newest: Option<i64> = self.db.prepare(sql).one([device], |row| row.get(0))?;
        let mut oldest = None;
        for held in held {
            let first_named = self.hold(device, held, hello)?;
            oldest = Some(oldest.map_or(first_named, |oldest: i64| oldest.min(first_named)));
        }
        if extent == Extent::Whole {
            for unnamed in self.unnamed(device, held, newest)? {
                self.left_out(device, &unnamed, oldest, newest)?;
            }
        }
        self.tidy(device)?;
        Ok(Outcome::Recorded)
    }

    /// The place of a hello among those of its device: whole ones count by two, and all parts after one are half way to
    /// the next. Epochs that were first named at one place are of one age, in whatever order they were named; and a new
    /// epoch is named by a part only after a whole hello that names the older ones.
    fn count_hello(&self, device: i64, extent: Extent) -> Result<i64, StoreError> {
        let sql = "update device set hellos = hellos + ?2 where id = ?1 returning hellos";
        let is_whole = extent == Extent::Whole;
        let hellos: i64 = self.db.prepare(sql).one(params![device, is_whole], |row| row.get(0))?;
        Ok(hellos.saturating_mul(2).saturating_add(i64::from(!is_whole)))
    }

    /// Takes in what is held of one epoch. Answers by which hello it was first named.
    fn hold(&mut self, device: i64, said: &Held, hello: i64) -> Result<i64, StoreError> {
        let next = said.next.min(i64::MAX.cast_unsigned());
        let entry = self.epoch(device, said.epoch)?;
        let is_behind = entry.next.is_some_and(|known| next < known);
        let given = next.checked_sub(1).and_then(|last| Range::new(1, last));
        let mut held: Ranges = said.ranges.iter().filter_map(|range| range.intersect(given?)).collect();
        if said.ranges.len() >= HELLO_RANGES_MAX
            && let Some(oldest) = said.ranges.iter().min()
        {
            // An agent with more ranges joins the oldest, and so names what it lost between them. It is not believed of
            // gaps then: their reason is known. One that it does hold it keeps whatever we say, and sends.
            entry.gaps_in(*oldest).for_each(|gap| held.remove(gap));
        }
        if is_behind {
            // The other buffer went on from here; this one does not know of what came after.
            held.extend(entry.held.within(Range { first: next, last: u64::MAX }));
        }
        entry.next = entry.next.max(Some(next));
        let key = entry.key;
        let first_named = self.note_named(device, key, hello, is_behind)?;
        self.set_held(device, said.epoch, held)?;
        let missing = self.epoch(device, said.epoch)?.missing_below(Some(next));
        self.unexplained(device, said.epoch, &missing)?;
        self.forget_rows(device, said.epoch, next)?;
        Ok(first_named)
    }

    /// Notes that an epoch was named, and alarms when its next number went back.
    fn note_named(&mut self, device: i64, key: i64, hello: i64, is_behind: bool) -> Result<i64, StoreError> {
        let sql = "select coalesce(first_named, ?2), astray from epoch where id = ?1";
        let (first_named, was_astray): (i64, bool) =
            self.db.prepare(sql).one([key, hello], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let sql = "update epoch set first_named = ?2, named_us = ?3, astray = ?4 where id = ?1";
        self.db.prepare(sql).execute(params![key, first_named, self.now.0, is_behind])?;
        if is_behind && !was_astray {
            self.alarm(device, AlarmKind::BufferCopied)?;
        }
        Ok(first_named)
    }

    /// Replaces what is held of an epoch.
    pub(super) fn set_held(&mut self, device: i64, epoch: Epoch, held: Ranges) -> Result<(), StoreError> {
        let entry = self.epoch(device, epoch)?;
        if entry.held == held {
            return Ok(());
        }
        let key = entry.key;
        entry.held = held.clone();
        self.db.prepare("delete from held where epoch = ?").execute([key])?;
        let sql = "insert into held (tenant, epoch, first, last) values (?1, ?2, ?3, ?4)";
        let statement = self.db.prepare(sql);
        for range in held.iter() {
            statement.execute([TENANT, key, to_sql(range.first), to_sql(range.last)])?;
        }
        self.db.prepare("update epoch set holds = ?2 where id = ?1").execute(params![key, !held.is_empty()])?;
        Ok(())
    }

    /// Enters numbers that will not come, for no reason that anybody gave.
    fn unexplained(&mut self, device: i64, epoch: Epoch, missing: &Ranges) -> Result<(), StoreError> {
        let reason = GapReason::Unexplained;
        let gap = Gap {
            epoch: Some(epoch),
            range: None,
            source: None,
            from: None,
            until: None,
            boot: None,
            count: None,
            reason,
        };
        for range in missing.iter() {
            self.enter_gap(device, epoch, range, &gap)?;
        }
        if !missing.is_empty() {
            self.alarm(device, AlarmKind::UnexplainedGap)?;
            self.bound_gaps(device)?;
        }
        Ok(())
    }

    /// What the device has given away and holds no more cannot come again, but for a copy that is still under way,
    /// which the ranges know.
    fn forget_rows(&mut self, device: i64, epoch: Epoch, next: Number) -> Result<(), StoreError> {
        let Some(given) = next.checked_sub(1).and_then(|last| Range::new(1, last)) else { return Ok(()) };
        self.write_batch_rows()?;
        let entry = self.epoch(device, epoch)?;
        let (key, gone) = (entry.key, entry.held.missing_in(given));
        let sql = "delete from batch where epoch = ?1 and number in
                     (select number from batch where epoch = ?1 and number between ?2 and ?3 limit ?4)";
        let statement = self.db.prepare(sql);
        // What is left goes with the next hello, or when it is too old.
        for gone in gone.iter() {
            if self.batch_rows_to_go == 0 {
                break;
            }
            let values = [key, to_sql(gone.first), to_sql(gone.last), to_sql(self.batch_rows_to_go)];
            let forgotten = statement.execute(values)?;
            self.batch_rows_to_go = self.batch_rows_to_go.saturating_sub(forgotten as u64);
        }
        Ok(())
    }

    /// Epochs that a whole hello left out although their device held something of them, or although they were the
    /// newest.
    fn unnamed(&self, device: i64, named: &[Held], newest: Option<i64>) -> Result<Vec<Unnamed>, StoreError> {
        let sql =
            "select epoch, id, first_named, coalesce(named_us, 0), astray from epoch where device = ?1 and holds = 1
                   union
                   select epoch, id, first_named, coalesce(named_us, 0), astray from epoch
                   where device = ?1 and first_named = ?2
                   order by 5, 2 limit ?3";
        let read = |row: &Row<'_>| {
            let (epoch, key, first_named) = (Epoch(row.get(0)?), row.get(1)?, row.get(2)?);
            Ok(Unnamed { epoch, key, first_named, named_us: row.get(3)?, is_astray: row.get(4)? })
        };
        // As many more as the hello may have named itself.
        let limit = UNNAMED_MAX + i64::try_from(named.len()).unwrap_or(UNNAMED_MAX);
        let found: Vec<Unnamed> = self.db.prepare(sql).rows(params![device, newest, limit], read)?;
        Ok(found.into_iter().filter(|found| !named.iter().any(|named| named.epoch == found.epoch)).collect())
    }

    /// Decides what it means that a hello left out an epoch. `oldest` is what the hello's oldest epoch was first named
    /// by, `newest` the newest that was known before.
    fn left_out(
        &mut self,
        device: i64,
        unnamed: &Unnamed,
        oldest: Option<i64>,
        newest: Option<i64>,
    ) -> Result<(), StoreError> {
        let entry = self.epoch(device, unnamed.epoch)?;
        let waits = !entry.waiting().is_empty();
        let is_later = unnamed.first_named.zip(oldest).is_some_and(|(this, oldest)| oldest < this);
        // One in the middle of which all was settled may be gone for want of space: no sign of anything.
        let is_sign = is_later && (waits || unnamed.first_named == newest);
        let is_recent = unnamed.named_us > self.now.0.saturating_sub(ASTRAY_US_MAX);
        if is_sign && is_recent {
            if !unnamed.is_astray {
                self.db.prepare("update epoch set astray = 1 where id = ?").execute([unnamed.key])?;
                self.alarm(device, AlarmKind::BufferCopied)?;
            }
            return Ok(());
        }
        self.set_held(device, unnamed.epoch, Ranges::new())?;
        let entry = self.epoch(device, unnamed.epoch)?;
        let (missing, next) = (entry.missing(), entry.next.unwrap_or(0));
        self.unexplained(device, unnamed.epoch, &missing)?;
        self.forget_rows(device, unnamed.epoch, next)
    }
}
