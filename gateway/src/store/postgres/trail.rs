//! The audit trail on the server, on a connection of its own. Of several gateways, one appends at a time.

use std::time::Duration;

use proto::Instant;

use super::driver::Driver;
use super::session::{Patience, Session};
use super::settings::Settings;
use super::{rights, schema};
use crate::audit::chain::Head;
use crate::audit::entry::Entry;
use crate::audit::trim::{Cut, Keep};
use crate::store::audit::{self, Ask, Doubt, Found};
use crate::store::error::StoreError;
use crate::store::sql::{Db, SqlError};

/// Whoever appends is done within milliseconds; one that stands still in the middle of it is ended by the server after 10 s.
const OPTIONS: &str = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=10s -c statement_timeout=10s \
     -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 -c tcp_user_timeout=15000 \
     -c plan_cache_mode=force_generic_plan -c jit=off -c default_transaction_isolation=read\\ committed";
/// How long one answer is waited for. The server gives a statement up earlier.
const ANSWER: Duration = Duration::from_secs(12);
/// Whoever has this lock appends, until its transaction ends: any number that is nobody else's. A statement of its own:
/// the next one sees what was committed while it was waited for.
const TURN: &str = "select pg_advisory_xact_lock(?1)";
const TURN_NUMBER: i64 = 7_264_193_503;

/// Waits until nobody else appends; nobody else does until this transaction ends.
pub(in crate::store) fn take_turn(db: Db<'_>) -> Result<(), SqlError> {
    db.prepare(TURN).execute([TURN_NUMBER])?;
    Ok(())
}

/// Lets go of the oldest entries, which this role may not by itself.
const REMOVE: &str = "select audit_trim(?1)";

/// The audit trail of one database.
pub struct Trail {
    settings: Settings,
    /// None until it is needed, and after an error.
    session: Option<Session>,
    doubt: Doubt,
}

impl Trail {
    /// It connects when it is first needed. Blocks then, and so must not be used by an async task.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, session: None, doubt: Doubt::default() }
    }

    /// All of `act` or nothing of it.
    fn transact<T>(&mut self, act: impl FnOnce(Db<'_>, &mut Doubt) -> Result<T, SqlError>) -> Result<T, StoreError> {
        // Only what ends well is used again.
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.settings, "tributary audit", OPTIONS)?;
                schema::check(&session, Patience::Each(ANSWER), &self.settings)?;
                session
            }
        };
        let driver = Driver::new(&session, Patience::Each(ANSWER));
        driver.begin();
        let done = act(Db::new(&driver), &mut self.doubt).and_then(|answer| driver.commit().map(|()| answer));
        drop(driver);
        let answer = done.map_err(|error| rights::explain(&self.settings, error.into()))?;
        self.session = Some(session);
        Ok(answer)
    }
}

impl audit::Trail for Trail {
    fn append(&mut self, entries: &[Entry]) -> Result<Head, StoreError> {
        let head = self.transact(|db, doubt| {
            take_turn(db)?;
            audit::append(db, entries, doubt)
        })?;
        self.doubt.end();
        Ok(head)
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        self.transact(|db, _| audit::head(db))
    }

    fn cut(&mut self, keep: Keep, now: Instant) -> Result<Option<Cut>, StoreError> {
        self.transact(|db, _| audit::cut(db, keep, now))
    }

    fn trim(&mut self, cut: &Cut, now: Instant) -> Result<Head, StoreError> {
        self.transact(|db, _| {
            take_turn(db)?;
            audit::trim(db, cut, now, REMOVE)
        })
    }

    fn page(&mut self, ask: &Ask) -> Result<Vec<Found>, StoreError> {
        self.transact(|db, _| audit::page(db, ask))
    }
}
