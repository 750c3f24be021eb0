//! Numbered migrations from 1, each in its own transaction together with the number it leads to.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::error::StoreError;

/// Migration n is the n-th; one that was released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1_first.sql"),
    include_str!("migrations/2_losses.sql"),
    include_str!("migrations/3_rollup.sql"),
    include_str!("migrations/4_outbox.sql"),
    include_str!("migrations/5_audit.sql"),
    include_str!("migrations/6_enrolment.sql"),
    include_str!("migrations/7_audit_trim.sql"),
    include_str!("migrations/8_cut_off.sql"),
];

/// Brings the schema to the newest version. Refuses a database that is already beyond it.
pub(super) fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let found = version(db)?;
    for (version, sql) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Fails unless the schema is the newest: nobody but the gateway itself changes it.
pub(super) fn check(db: &Connection) -> Result<(), StoreError> {
    let (found, known) = (version(db)?, newest());
    if found < known {
        let why = format!("the database has schema {found}, and this program needs {known}");
        return Err(StoreError::Unfit(format!("{why}; start the gateway once, which brings it up to date")));
    }
    Ok(())
}

/// The version that the database has, which is none beyond the newest.
pub(super) fn version(db: &Connection) -> Result<i64, StoreError> {
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = newest();
    if found > known || found < 0 { Err(StoreError::NewerSchema { found, known }) } else { Ok(found) }
}

fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}
