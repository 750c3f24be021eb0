//! The end of the trail's growth, in the SQL that both databases speak.

use proto::Instant;

use super::{Ask, Doubt, Found, append, head, page};
use crate::audit::chain::{Hash, Head};
use crate::audit::trim::{Cut, ENTRIES_AT_ONCE, Keep};
use crate::store::sql::{Db, SqlError};

/// See [`super::Trail::cut`].
pub(in crate::store) fn cut(db: Db<'_>, keep: Keep, now: Instant) -> Result<Option<Cut>, SqlError> {
    let oldest = |entries_max| page(db, &Ask { after: Some(i64::MIN), subject: None, entries_max });
    let head = head(db)?;
    let is_any = matches!(oldest(1)?.first(), Some(Found::Link(first)) if Cut::may_begin_with(first, head, keep, now));
    if !is_any {
        return Ok(None);
    }
    let oldest = oldest(ENTRIES_AT_ONCE)?;
    // What no gateway has written stays, for somebody to look at.
    let readable = oldest.into_iter().map_while(|found| match found {
        Found::Link(link) => Some(link),
        Found::Unreadable { .. } => None,
    });
    Ok(Cut::of(&readable.collect::<Vec<_>>(), head, keep, now))
}

/// See [`super::Trail::trim`]. `remove` is how a database lets entries go that one at the end tells of.
pub(in crate::store) fn trim(db: Db<'_>, cut: &Cut, now: Instant, remove: &str) -> Result<Head, SqlError> {
    let sql = "select hash from audit where sequence = ?1";
    let found = db.prepare(sql).first([cut.last.sequence], |row| row.get(0).map(Hash))?;
    if found != Some(cut.last.hash) {
        return head(db);
    }
    let head = append(db, &[cut.entry(now)], &mut Doubt::default())?;
    db.prepare(remove).each([cut.last.sequence], |_| Ok(()))?;
    Ok(head)
}
