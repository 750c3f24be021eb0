//! What a person should look at: the kinds there are, how one is noted, and how the log tells of it.

use proto::{DeviceId, Instant};
use tracing::warn;

use super::error::StoreError;
use super::ledger::TENANT;
use super::sql::{Db, params};

/// A kind of alarm that goes on is told of once in so long for each device; its count has the rest.
const TELL_EVERY_US: i64 = 3_600 * 1_000_000;

/// What somebody should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// Numbers were given away that neither the device nor this gateway has: readings are lost.
    UnexplainedGap,
    /// The device speaks of another buffer than before.
    BufferCopied,
    /// Two connections with one certificate take over from each other.
    DeviceTwice,
    /// Two bodies came under one identity.
    Conflict,
    /// And there was no room for the second.
    ConflictNotKept,
    /// What cannot be read is refused until there is room.
    QuarantineFull,
    /// The device names more series than it may.
    TooManySeries,
    /// What it sends bears another device's name.
    IdentityMismatch,
    /// The time-series store never takes some of its readings.
    SinkRefused,
}

impl AlarmKind {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::UnexplainedGap,
        Self::BufferCopied,
        Self::DeviceTwice,
        Self::Conflict,
        Self::ConflictNotKept,
        Self::QuarantineFull,
        Self::TooManySeries,
        Self::IdentityMismatch,
        Self::SinkRefused,
    ];

    /// Its name in tables, metrics and the API, which never changes.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnexplainedGap => "unexplained_gap",
            Self::BufferCopied => "buffer_copied",
            Self::DeviceTwice => "device_twice",
            Self::Conflict => "conflict",
            Self::ConflictNotKept => "conflict_not_kept",
            Self::QuarantineFull => "quarantine_full",
            Self::TooManySeries => "too_many_series",
            Self::IdentityMismatch => "identity_mismatch",
            Self::SinkRefused => "sink_refused",
        }
    }

    /// What it means, for the log.
    const fn meaning(self) -> &'static str {
        match self {
            Self::UnexplainedGap => {
                "batches are lost: neither the device nor this gateway has them, and nothing explains it"
            }
            Self::BufferCopied => {
                "the device speaks of another buffer than before: a copy was put back, or is used twice"
            }
            Self::DeviceTwice => "two connections with one certificate take over from each other: its key was copied",
            Self::Conflict => "two different batches came under one number; the second is in quarantine",
            Self::ConflictNotKept => "of two batches under one number the second found no room in quarantine",
            Self::QuarantineFull => "the device's quarantine is full: what cannot be read is refused",
            Self::TooManySeries => "the device names more series than it may",
            Self::IdentityMismatch => "what the device sends bears another device's name; it is in quarantine",
            Self::SinkRefused => {
                "the time-series store refuses readings of the device; this gateway's database has them"
            }
        }
    }
}

/// An alarm that is worth a line once the transaction that noted it is committed.
#[derive(Debug)]
pub(super) struct Raised {
    device: DeviceId,
    kind: AlarmKind,
    /// How often so far.
    count: i64,
}

impl Raised {
    /// Tells the log.
    pub(super) fn tell(&self) {
        let Self { device, kind, count } = self;
        warn!(device.id = %device, alarm = kind.word(), count, "{}", kind.meaning());
    }
}

/// Notes an alarm of a device, so many times. Answers what is to be told once that is committed, if it was not lately.
pub(super) fn raise(
    db: Db<'_>,
    device: i64,
    kind: AlarmKind,
    times: i64,
    now: Instant,
) -> Result<Option<Raised>, StoreError> {
    let sql = "select last_us from alarm where device = ?1 and kind = ?2";
    let before: Option<i64> = db.prepare(sql).first(params![device, kind.word()], |row| row.get(0))?;
    let sql = "insert into alarm (tenant, device, kind, first_us, last_us, count) values (?1, ?2, ?3, ?4, ?4, ?5)
               on conflict (device, kind) do update set last_us = excluded.last_us, count = alarm.count + excluded.count
               returning count";
    let count = db.prepare(sql).one(params![TENANT, device, kind.word(), now.0, times], |row| row.get(0))?;
    let of = |at_us: i64| at_us.div_euclid(TELL_EVERY_US);
    if before.is_some_and(|before| of(before) == of(now.0)) {
        return Ok(None);
    }
    let name: String = db.prepare("select name from device where id = ?").one([device], |row| row.get(0))?;
    Ok(name.parse().ok().map(|device| Raised { device, kind, count }))
}

#[cfg(test)]
mod tests {
    use super::AlarmKind;

    #[test]
    fn people_are_told_what_each_kind_means_on_the_dashboard_and_what_to_do_in_the_document() {
        let read = |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (dashboard, document) = (read("ui/src/alarms.ts"), read("../docs/watching.md"));
        for kind in AlarmKind::ALL.map(AlarmKind::word) {
            assert!(dashboard.contains(&format!("\n  {kind}: [\"")), "ui/src/alarms.ts does not know {kind}");
            assert!(document.contains(&format!("\n| `{kind}` |")), "docs/watching.md does not say what {kind} is");
        }
    }
}
