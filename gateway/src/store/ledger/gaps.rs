//! What will never come: numbers, which are thereby settled, and spans of time.

use proto::message::{Gap, GapReason, Settlement};
use proto::{DeviceId, Epoch, Number, Range, Ranges};

use super::{AlarmKind, StoreError, TENANT, Work, from_sql, to_sql};
use crate::store::Outcome;
use crate::store::sql::{Row, SqlError, params};

/// Spans of time kept per device; beyond it the oldest ones become one, whose readings are counted together.
const SPANS_MAX: i64 = 10_000;
/// Bytes kept of a source's name.
const SOURCE_BYTES_MAX: usize = 128;

/// A row of table `gap` without its place in an epoch.
#[derive(Clone)]
struct Span {
    source: Option<String>,
    from: Option<i64>,
    until: Option<i64>,
    boot: Option<[u8; 8]>,
    readings: Option<i64>,
    reason: String,
}

impl Work<'_> {
    /// Enters gaps. What is settled already stays as it is.
    pub(super) fn gaps(&mut self, device: &DeviceId, gaps: &[Gap]) -> Result<Outcome, StoreError> {
        let device = self.device(device, Some(self.now))?;
        let (mut outcome, mut is_numbered) = (Outcome::Known, false);
        for gap in gaps {
            // Numbers end with i64, as frames do; 0 is none.
            let whole = Range { first: 1, last: i64::MAX.cast_unsigned() };
            let numbers = gap.range.and_then(|range| range.intersect(whole));
            let changed = match (gap.epoch, numbers) {
                (Some(epoch), Some(range)) => {
                    is_numbered = true;
                    // It says that it has them no more.
                    let mut held = self.epoch(device, epoch)?.held.clone();
                    held.remove(range);
                    self.set_held(device, epoch, held)?;
                    let explained = self.explain(device, epoch, range, gap)?;
                    self.enter_gap(device, epoch, range, gap)? || explained
                }
                _ => self.add_span(device, Span::of(gap, gap.count))?,
            };
            if changed {
                outcome = Outcome::Recorded;
                if gap.reason == GapReason::Unexplained {
                    self.alarm(device, AlarmKind::UnexplainedGap)?;
                }
            }
        }
        if is_numbered {
            self.bound_gaps(device)?;
        }
        Ok(outcome)
    }

    /// Enters those numbers of `range` as lost that are not settled yet. Answers whether there were any.
    pub(super) fn enter_gap(&mut self, device: i64, epoch: Epoch, range: Range, gap: &Gap) -> Result<bool, StoreError> {
        let entry = self.epoch(device, epoch)?;
        let (key, open) = (entry.key, entry.unsettled(range));
        for piece in open.iter() {
            self.epoch(device, epoch)?.settle(piece, Settlement::Gap);
            // How many readings a part of it had is not known.
            let readings = if piece == range { gap.count } else { None };
            self.add_gap(device, key, piece, Span::of(gap, readings))?;
        }
        Ok(!open.is_empty())
    }

    /// Gives numbers that nothing explained the reason that the device has for them now. Answers whether there were any.
    fn explain(&mut self, device: i64, epoch: Epoch, range: Range, gap: &Gap) -> Result<bool, StoreError> {
        let entry = self.epoch(device, epoch)?;
        if entry.unsettled(range) == Ranges::from_iter([range]) {
            return Ok(false);
        }
        let key = entry.key;
        let only = (gap.reason != GapReason::Unexplained).then_some(GapReason::Unexplained.word());
        let Some(only) = only else { return Ok(false) };
        let cut = self.cut_gaps(device, key, range, Some(only))?;
        for piece in &cut {
            let readings = if *piece == range { gap.count } else { None };
            self.add_gap(device, key, *piece, Span::of(gap, readings))?;
        }
        Ok(!cut.is_empty())
    }

    /// Takes `number` out of the gap that names it, because it came after all.
    pub(super) fn withdraw_gap(&mut self, device: i64, epoch: i64, number: Number) -> Result<(), StoreError> {
        if self.cut_gaps(device, epoch, Range::one(number), None)?.is_empty() {
            // One of many that became one: it is no longer known which that names, but how many.
            let sql =
                "update gap set numbers = case when numbers > 0 then numbers - 1 else 0 end, readings = null where id =
                         (select id from gap where device = ?1 and epoch = ?2 and first <= ?3 and last >= ?3
                            and numbers is not null limit 1)";
            self.db.prepare(sql).execute(params![device, epoch, to_sql(number)])?;
        }
        Ok(())
    }

    /// Takes the numbers of `range` out of all gaps that name them, or of those for one reason. Answers which it took.
    fn cut_gaps(
        &mut self,
        device: i64,
        epoch: i64,
        range: Range,
        only: Option<&str>,
    ) -> Result<Vec<Range>, StoreError> {
        let sql = "delete from gap where device = ?1 and epoch = ?2 and last >= ?3 and first <= ?4
                     and first >= coalesce((select max(first) from gap where device = ?1 and epoch = ?2
                       and first <= ?3 and numbers is null), ?3)
                     and numbers is null and (reason = ?5 or ?5 is null)
                   returning source, from_us, until_us, boot, readings, reason, first, last";
        let (first, last) = (to_sql(range.first), to_sql(range.last));
        let rows = self.db.prepare(sql).rows(params![device, epoch, first, last, only], |row| {
            Ok((Span::read(row)?, Range { first: from_sql(row.get(6)?), last: from_sql(row.get(7)?) }))
        })?;
        let mut taken = Vec::new();
        for (span, whole) in rows {
            taken.extend(whole.intersect(range));
            let before = range.first.checked_sub(1).and_then(|last| Range::new(whole.first, last));
            let after = range.last.checked_add(1).and_then(|first| Range::new(first, whole.last));
            for left in before.into_iter().chain(after) {
                self.insert_gap(device, Some((epoch, left)), &Span { readings: None, ..span.clone() })?;
            }
        }
        Ok(taken)
    }

    /// Adds numbers to the gaps of their epoch, joining what touches and has the same reason.
    fn add_gap(&mut self, device: i64, epoch: i64, range: Range, mut span: Span) -> Result<(), StoreError> {
        // Gaps of an epoch do not overlap: the one before is the one that starts last before this.
        let sql = "delete from gap where id in (
                     select id from (select id, last from gap where device = ?1 and epoch = ?2 and first < ?3
                       and numbers is null order by first desc limit 1) as before where last = ?3 - 1
                     union all select id from gap where device = ?1 and epoch = ?2 and first = ?4 + 1)
                     and numbers is null and source is not distinct from ?5 and boot is not distinct from ?6 and reason = ?7
                   returning source, from_us, until_us, boot, readings, reason, first, last";
        let (first, last) = (to_sql(range.first), to_sql(range.last).min(i64::MAX - 1));
        let values = params![device, epoch, first, last, span.source, span.boot, span.reason];
        let read = |row: &Row<'_>| Ok((Span::read(row)?, from_sql(row.get(6)?), from_sql(row.get(7)?)));
        let rows = self.db.prepare(sql).rows(values, read)?;
        let mut joined = range;
        for (neighbour, first, last) in rows {
            joined = Range { first: joined.first.min(first), last: joined.last.max(last) };
            span = span.joined_with(&neighbour);
        }
        self.insert_gap(device, Some((epoch, joined)), &span)
    }

    /// Adds a span of time, unless it is within one that is there; joins what touches and has the same reason.
    fn add_span(&mut self, device: i64, mut span: Span) -> Result<bool, StoreError> {
        let of_its_kind = "device = ?1 and epoch is null and numbers is null and source is not distinct from ?2
             and boot is not distinct from ?3 and reason = ?4";
        let sql = format!(
            "select exists (select 1 from gap where {of_its_kind}
               and (from_us is not distinct from ?5 or from_us <= ?5)
               and (until_us is not distinct from ?6 or until_us >= ?6))"
        );
        let values = params![device, span.source, span.boot, span.reason, span.from, span.until];
        if self.db.prepare(&sql).one(values, |row| row.get::<bool>(0))? {
            return Ok(false);
        }
        let sql = format!(
            "delete from gap where {of_its_kind} and (until_us = ?5 or from_us = ?6)
             returning source, from_us, until_us, boot, readings, reason"
        );
        let neighbours: Vec<Span> = self.db.prepare(&sql).rows(values, Span::read)?;
        span = neighbours.iter().fold(span, Span::joined_with);
        self.insert_gap(device, None, &span)?;
        self.bound_spans(device)?;
        Ok(true)
    }

    fn insert_gap(&self, device: i64, numbers: Option<(i64, Range)>, span: &Span) -> Result<(), StoreError> {
        let (epoch, range) = numbers.unzip();
        let (first, last) = range.map(|range| (to_sql(range.first), to_sql(range.last))).unzip();
        let Span { source, from, until, boot, readings, reason } = span;
        let sql =
            "insert into gap (tenant, device, epoch, first, last, source, from_us, until_us, boot, readings, reason)
                   values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let values = params![TENANT, device, epoch, first, last, source, from, until, boot, readings, reason];
        self.db.prepare(sql).execute(values)?;
        Ok(())
    }

    /// Makes one of the oldest spans when there are too many.
    fn bound_spans(&self, device: i64) -> Result<(), StoreError> {
        let sql = "select count(*) from gap where device = ?1 and epoch is null and numbers is null";
        let spans: i64 = self.db.prepare(sql).one([device], |row| row.get(0))?;
        if spans <= SPANS_MAX {
            return Ok(());
        }
        let sql = "delete from gap where id in
                     (select id from gap where device = ?1 and epoch is null and numbers is null order by id limit ?2)
                   returning source, from_us, until_us, boot, readings, reason";
        let oldest: Vec<Span> = self.db.prepare(sql).rows([device, SPANS_MAX / 10], Span::read)?;
        // A device may say any count: their sum must not overflow.
        let readings = oldest.iter().try_fold(0_i64, |sum, span| Some(sum.saturating_add(span.readings?)));
        let reason = GapReason::Unexplained.word().to_owned();
        let joined = Span { source: None, from: None, until: None, boot: None, readings, reason };
        self.insert_gap(device, None, &joined)
    }
}

impl Span {
    fn of(gap: &Gap, count: Option<u64>) -> Self {
        let source = gap.source.as_ref().map(|name| name.chars().take(SOURCE_BYTES_MAX / 4).collect());
        Self {
            source,
            from: gap.from.map(|from| from.0),
            until: gap.until.map(|until| until.0),
            boot: gap.boot.map(|boot| boot.0),
            readings: count.map(to_sql),
            reason: gap.reason.word().to_owned(),
        }
    }

    fn read(row: &Row<'_>) -> Result<Self, SqlError> {
        Ok(Self {
            source: row.get(0)?,
            from: row.get(1)?,
            until: row.get(2)?,
            boot: row.get(3)?,
            readings: row.get(4)?,
            reason: row.get(5)?,
        })
    }

    /// Both in one: from the earlier start to the later end.
    fn joined_with(self, other: &Self) -> Self {
        Self {
            from: self.from.into_iter().chain(other.from).min(),
            until: self.until.max(other.until),
            readings: self.readings.zip(other.readings).map(|(left, right)| left.saturating_add(right)),
            ..self
        }
    }
}
