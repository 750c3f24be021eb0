//! The audit trail where it is kept: appended to by one at a time, read in pages, and never changed; the oldest go by
//! a rule, and one entry says so.

use proto::{DeviceId, Instant};

use super::error::StoreError;
use super::ledger::TENANT;
use super::sql::{Cell, Db, Many, Row, SqlError, params};
use crate::audit::chain::{Hash, Head, Link};
use crate::audit::entry::Entry;
use crate::audit::trim::{Cut, Keep};

mod trim;

pub(super) use trim::{cut, trim};

const COLUMNS: &str = "tenant, sequence, time_us, actor, event, subject, detail, previous, hash";
const APPEND: Many = Many {
    one: "insert into audit (tenant, sequence, time_us, actor, event, subject, detail, previous, hash)
          values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    all: "insert into audit (tenant, sequence, time_us, actor, event, subject, detail, previous, hash)
          select * from unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                               $8::bytea[], $9::bytea[])",
};

/// One audit trail, of which there may be several of these: in each gateway, and in each command.
pub trait Trail: Send {
    /// Appends `entries` in one durable transaction, or none, and answers where the chain ends then. Whoever else appends
    /// waits meanwhile. After an error the same may be appended again: it is there once, also where only the answer to
    /// the first try was lost.
    ///
    /// # Errors
    /// Nothing was appended, or it is not known.
    fn append(&mut self, entries: &[Entry]) -> Result<Head, StoreError>;

    /// Where the chain ends.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn head(&mut self) -> Result<Head, StoreError>;

    /// Which of the oldest entries are to go now, if any.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn cut(&mut self, keep: Keep, now: Instant) -> Result<Option<Cut>, StoreError>;

    /// Removes the oldest entries up to `cut`, and appends one that says so, in one durable transaction; answers where the
    /// chain ends then. Where they have gone meanwhile, by another gateway, nothing more is done.
    ///
    /// # Errors
    /// Nothing was done, or it is not known.
    fn trim(&mut self, cut: &Cut, now: Instant) -> Result<Head, StoreError>;

    /// Some of what is kept, in the order of the chain.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn page(&mut self, ask: &Ask) -> Result<Vec<Found>, StoreError>;
}

/// Which part of a trail.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The first ones behind this place; none: the last ones.
    pub after: Option<i64>,
    /// Those about this device; none: all.
    pub subject: Option<DeviceId>,
    /// At most so many.
    pub entries_max: u32,
}

/// What is kept in one place of a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An entry.
    Link(Link),
    /// Something that no gateway has written.
    Unreadable {
        /// Its place.
        sequence: i64,
    },
}

/// What is not known after an append that failed: whether it is there all the same.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubt {
    /// Where the chain ended before it.
    before: Option<Head>,
}

/// Appends `entries`, in a transaction that nobody else appends in. `doubt` is that of the last append, and of this one if
/// its transaction fails.
pub(super) fn append(db: Db<'_>, entries: &[Entry], doubt: &mut Doubt) -> Result<Head, SqlError> {
    if let Some(before) = doubt.before {
        let tried = chained(before, entries).last().map_or(before, Link::head);
        let sql = "select hash from audit where sequence = ?1";
        let found = db.prepare(sql).first([tried.sequence], |row| row.get(0).map(Hash))?;
        if found == Some(tried.hash) {
            return Ok(tried);
        }
    }
    let before = head(db)?;
    doubt.before = Some(before);
    let links = chained(before, entries);
    let rows: Vec<_> = links.iter().map(row).collect();
    db.driver().execute_many(&APPEND, &rows)?;
    Ok(links.last().map_or(before, Link::head))
}

impl Doubt {
    /// The append is done.
    pub(super) fn end(&mut self) {
        self.before = None;
    }
}

fn chained(before: Head, entries: &[Entry]) -> Vec<Link> {
    let mut head = before;
    let link = |entry| {
        let link = Link::after(head, TENANT, entry);
        head = link.head();
        link
    };
    entries.iter().map(link).collect()
}

fn row(link: &Link) -> Vec<Cell<'_>> {
    params![
        link.tenant,
        link.sequence,
        link.time_us,
        link.actor,
        link.event,
        link.subject,
        link.detail,
        link.previous.0,
        link.hash.0,
    ]
    .to_vec()
}

/// Where the chain ends.
pub(super) fn head(db: Db<'_>) -> Result<Head, SqlError> {
    let sql = "select sequence, hash from audit order by sequence desc limit 1";
    let read = |row: &Row<'_>| Ok(Head { sequence: row.get(0)?, hash: Hash(row.get(1)?) });
    Ok(db.prepare(sql).first(&[][..], read)?.unwrap_or_default())
}

/// See [`Trail::page`].
pub(super) fn page(db: Db<'_>, ask: &Ask) -> Result<Vec<Found>, SqlError> {
    let subject = ask.subject.as_ref().map(DeviceId::as_str);
    let (most, after) = (Cell::Int(ask.entries_max.into()), ask.after.map(Cell::Int));
    let mut values = vec![most];
    let mut conditions = Vec::new();
    if let Some(after) = after {
        values.push(after);
        conditions.push(format!("sequence > ?{}", values.len()));
    }
    if let Some(subject) = subject {
        values.push(Cell::Text(subject));
        conditions.push(format!("subject = ?{}", values.len()));
    }
    let only = if conditions.is_empty() { String::new() } else { format!("where {}", conditions.join(" and ")) };
    let order = if after.is_some() { "asc" } else { "desc" };
    let sql = format!("select {COLUMNS} from audit {only} order by sequence {order} limit ?1");
    let mut found = db.prepare(&sql).rows(&values[..], read)?;
    if after.is_none() {
        found.reverse();
    }
    Ok(found)
}

/// What is in a row, if a gateway can have written it.
fn read(row: &Row<'_>) -> Result<Found, SqlError> {
    let sequence = row.get(1)?;
    let link = || {
        Ok(Link {
            tenant: row.get(0)?,
            sequence,
            time_us: row.get(2)?,
            actor: row.get(3)?,
            event: row.get(4)?,
            subject: row.get(5)?,
            detail: row.get(6)?,
            previous: Hash(row.get(7)?),
            hash: Hash(row.get(8)?),
        })
    };
    match link() {
        Ok(link) => Ok(Found::Link(link)),
        Err(SqlError::Column { .. }) => Ok(Found::Unreadable { sequence }),
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use proto::Instant;
    use rusqlite::Connection;

    use super::*;
    use crate::audit::entry::{Actor, Detail, Event};
    use crate::store::sqlite::Driver;

    fn entry(number: i64) -> Entry {
        let detail = Detail::none().number("number", number);
        Entry { time: Instant(number), actor: Actor::Operator, event: Event::Issued, subject: None, detail }
    }

    fn table() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(include_str!("sqlite/migrations/5_audit.sql")).unwrap();
        db
    }

    /// Appends in a transaction that is then committed or not, and whose end is not heard of in either case.
    fn tried(db: &Connection, entries: &[Entry], doubt: &mut Doubt, is_committed: bool) -> Head {
        let transaction = db.unchecked_transaction().unwrap();
        let head = append(Db::new(&Driver::of(&transaction)), entries, doubt).unwrap();
        if is_committed { transaction.commit() } else { transaction.rollback() }.unwrap();
        head
    }

    #[test]
    fn what_was_committed_though_its_answer_was_lost_is_there_once() {
        let (db, mut doubt) = (table(), Doubt::default());
        let entries = [entry(1), entry(2)];
        let first = tried(&db, &entries, &mut doubt, true);
        // Meanwhile another gateway appends the same words.
        tried(&db, &entries, &mut Doubt::default(), true);
        assert_eq!(tried(&db, &entries, &mut doubt, true), first);
        doubt.end();
        assert_eq!(head(Db::new(&Driver::of(&db))).unwrap().sequence, 4);
    }

    #[test]
    fn what_was_undone_is_appended_again_behind_whatever_came_meanwhile() {
        let (db, mut doubt) = (table(), Doubt::default());
        tried(&db, &[entry(1)], &mut doubt, false);
        tried(&db, &[entry(7), entry(8)], &mut Doubt::default(), true);
        assert_eq!(tried(&db, &[entry(1)], &mut doubt, false).sequence, 3);
        assert_eq!(tried(&db, &[entry(1)], &mut doubt, true).sequence, 3);
        assert_eq!(tried(&db, &[entry(1)], &mut doubt, true).sequence, 3);
    }
}
