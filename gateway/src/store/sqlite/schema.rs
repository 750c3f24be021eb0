//! Numbered migrations from 1, each in its own transaction together with the number it leads to.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::error::StoreError;

/// Migration n is the n-th; one that was released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1_first.sql"),
    include_str!("migrations/2_losses.sql"),
    include_str!("migrations/3_rollup.sql"),
    include_str!("migrations/4_outbox.sql"),
    include_str!("migrations/5_enrolment.sql"),
];

/// Fails unless the schema is the newest version.
pub(super) fn check(db: &Connection) -> Result<(), StoreError> {
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match found {
        found if found > known => Err(StoreError::NewerSchema { found, known }),
        found if found < known => Err(StoreError::Unfit(format!(
            "the database has schema {found}, and this program needs {known}; start the gateway, which brings it there"
        ))),
        _ => Ok(()),
    }
}

/// Brings the schema to the newest version. Refuses a database that is already beyond it.
pub(super) fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known || found < 0 {
        return Err(StoreError::NewerSchema { found, known });
    }
    for (version, sql) in (1_i64..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= found) {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
