//! The feed: what was committed, in the order of commits, for those who go through all of it.
//!
//! A reading that is committed later never sorts before one that somebody has already been shown, whatever their ids,
//! and whichever gateway wrote them.

use super::error::ReadError;
use super::sql::{Db, Row, SqlError};

/// A place in the feed. Later places are greater; the default is before all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of the transaction, among all of the database. Where there is only one writer, 0.
    pub(crate) turn: i64,
    /// The last reading.
    pub(crate) reading: i64,
}

impl Place {
    /// After the reading with this id, which was committed in this turn: as it was kept.
    #[must_use]
    pub fn of(turn: i64, reading: i64) -> Self {
        Self { turn, reading }
    }

    /// Turn and reading, to be kept.
    #[must_use]
    pub fn kept(self) -> (i64, i64) {
        (self.turn, self.reading)
    }
}

/// Readings with ids from first to last that one commit added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The place after its last one has this turn.
    pub(crate) turn: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// The instants within which they lie.
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

/// Ids that lie nearer together than this are looked for at once, with what lies between them.
const IDS_BETWEEN: i64 = 64 << 20;

/// Shows `columns` of the readings `r` after `after`, at most `readings_max`, the id first. Answers the place to go on
/// from. Within a commit they come in their order; commits that are close come in the order of their ids.
pub(crate) fn each(
    db: Db<'_>,
    columns: &str,
    after: Place,
    readings_max: usize,
    mut row: impl FnMut(&Row<'_>) -> Result<(), SqlError>,
) -> Result<Place, SqlError> {
    let mut spans = db.driver().feed(after, readings_max)?;
    let Some(end) = spans.last().map(|span| Place { turn: span.turn, reading: span.last }) else { return Ok(after) };
    spans.sort_unstable_by_key(|span| span.first);
    let sql = format!(
        "select r.id, {columns} from reading r
         where r.id between ?1 and ?2 and r.time_us between ?3 and ?4 order by r.id limit ?5"
    );
    let limit = i64::try_from(readings_max).unwrap_or(i64::MAX);
    let (mut last, mut shown) = (end.reading, 0_usize);
    for near in spans.chunk_by(|left, right| right.first.saturating_sub(left.last) < IDS_BETWEEN) {
        let (Some(first), Some(newest)) = (near.first(), near.last()) else { continue };
        let from = near.iter().map(|span| span.from_us).min().unwrap_or(i64::MIN);
        let to = near.iter().map(|span| span.to_us).max().unwrap_or(i64::MAX);
        // Only one that has no end may have more than its spans say.
        let limit = if newest.last == i64::MAX { limit } else { i64::MAX };
        db.prepare(&sql).each([first.first, newest.last, from, to, limit], |found| {
            let id: i64 = found.get(0)?;
            if near.iter().any(|span| span.first <= id && id <= span.last) {
                (last, shown) = (id, shown + 1);
                row(found)?;
            }
            Ok(())
        })?;
    }
    if end.reading < i64::MAX {
        return Ok(end);
    }
    Ok(if shown == 0 { after } else { Place { reading: last, ..end } })
}

impl super::View<'_> {
    /// Where the feed ends.
    ///
    /// # Errors
    /// Too late, or the database.
    pub fn feed_end(&self) -> Result<Place, ReadError> {
        Ok(self.db().driver().feed_end()?)
    }
}
