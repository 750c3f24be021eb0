//! Keeping the rollups, on a connection of its own. Of several gateways, one is at it at a time.

use std::time::Duration;

use super::driver::Driver;
use super::schema;
use super::session::{Patience, Session};
use super::settings::Settings;
use crate::store::error::StoreError;
use crate::store::rollup::pass::Pass;
use crate::store::rollup::retain::Retain;
use crate::store::rollup::{Roll, Rolled};
use crate::store::sql::{Db, SqlError};

/// A lock is not waited for long: a device's is wanted by its readings, and the step is tried again. All statements go by
/// keys, and take one processor: the others are for what comes in.
const OPTIONS: &str = "-c lock_timeout=1s -c idle_in_transaction_session_timeout=10s -c statement_timeout=30s \
     -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 -c tcp_user_timeout=15000 \
     -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c max_parallel_workers_per_gather=0 -c jit=off";
/// How long one answer is waited for. The server gives a statement up earlier.
const ANSWER: Duration = Duration::from_secs(35);
/// Whoever has this lock is at it, for one transaction: any number that is nobody else's.
const TURN: &str = "select pg_try_advisory_xact_lock(?1)";

/// Who keeps the rollups of one database, if no other gateway does.
pub struct Roller {
    settings: Settings,
    /// None until it is needed, and after an error.
    session: Option<Session>,
    retain: Retain,
}

impl Roller {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, session: None, retain: Retain::default() }
    }

    /// All of `act` or nothing of it; nothing while another gateway is at it.
    fn transact(
        &mut self,
        act: impl FnOnce(Db<'_>, &mut Retain) -> Result<Rolled, SqlError>,
    ) -> Result<Rolled, StoreError> {
        // Only what ends well is used again.
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.settings, "tributary rollups", OPTIONS)?;
                schema::check(&session, Patience::Each(ANSWER), &self.settings)?;
                session
            }
        };
        let driver = Driver::new(&session, Patience::Each(ANSWER));
        let db = Db::new(&driver);
        driver.begin();
        let is_ours = db.prepare(TURN).one([7_264_193_502], |row| row.get(0))?;
        let rolled = if is_ours { act(db, &mut self.retain)? } else { Rolled::default() };
        driver.commit()?;
        drop(driver);
        self.session = Some(session);
        Ok(rolled)
    }
}

impl Roll for Roller {
    fn step(&mut self) -> Result<Rolled, StoreError> {
        self.transact(|db, _| match Pass::read(db)? {
            Some(pass) => pass.write(db),
            None => Ok(Rolled::default()),
        })
    }

    fn remove(&mut self, before_us: i64) -> Result<Rolled, StoreError> {
        self.transact(|db, retain| retain.step(db, before_us))
    }
}
