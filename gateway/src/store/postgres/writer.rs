//! What writes: many items in one durable transaction, beside others that do the same.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use proto::{DeviceId, Epoch, Instant, Range};
use tokio::sync::watch;
use tokio_postgres::error::SqlState;
use tracing::{debug, info};

use super::companion::{self, Companion};
use super::driver::Driver;
use super::session::{Patience, Session};
use super::settings::Settings;
use super::{refusal, rights, schema};
use crate::store::alarm::Raised;
use crate::store::error::StoreError;
use crate::store::ledger::{Claim, Memory, SubjectSeed, Work};
use crate::store::outbox::Relational;
use crate::store::sql::{Db, SqlError};
use crate::store::{Item, Ledger, Now, Outcome, SettledRanges, Tick};

/// A lock that another gateway holds is waited for this long; then all is tried again, so that what waits for one device
/// holds up no other for longer. A transaction that its gateway does not go on with is given up, with its locks. All
/// statements go by keys, whatever the planner may think of small tables, and are planned once.
const OPTIONS: &str = "-c lock_timeout=2s -c idle_in_transaction_session_timeout=10s -c statement_timeout=30s \
     -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 -c tcp_user_timeout=15000 \
     -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off";
/// How long the server may take for what is asked of a new connection, and to undo.
const SETTLE: Duration = Duration::from_secs(5);

/// Records items. One thread has it, and calls it with as much as has come meanwhile. Whatever others write, of this
/// gateway or of another, it stays right; but two that write one device take turns at remembering it.
pub struct Writer {
    settings: Settings,
    /// None when the last one is not to be relied on.
    session: Option<Session>,
    memory: Memory,
    /// Of whom `memory` is as of the last commit, because that had them locked.
    locked: HashSet<DeviceId>,
    /// Whether what is recorded is claimed for a time-series store beside this one.
    is_claiming: bool,
    /// What the last commit claimed.
    claims: Vec<Claim>,
    now: Now,
    /// Which gateway this is, once the database has said so.
    instance: i64,
    companion: Arc<Companion>,
    tick: Arc<watch::Sender<Tick>>,
}

impl Ledger for Writer {
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        self.claims.clear();
        let is_claiming = self.is_claiming;
        let (outcomes, claims, raised) = self.work(|work| {
            work.claim_from_now_on(is_claiming);
            Ok((work.record(items)?, work.take_claims(), work.take_raised()))
        })?;
        raised.iter().for_each(Raised::tell);
        self.claims = claims;
        self.memory.forget_much();
        self.locked = items.iter().map(|item| item.device().clone()).collect();
        self.tick.send_modify(|tick| tick.commits += 1);
        self.companion.tell();
        Ok(outcomes)
    }

    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, around: Range) -> Result<SettledRanges, StoreError> {
        self.at_work()?;
        let Some(session) = &self.session else { return Err(SqlError::Late.into()) };
        let db = &Driver::writing(session, self.instance);
        if !self.locked.contains(device) {
            self.memory.doubt(device);
        }
        let told = self.memory.settled(Db::new(db), device, epoch, around);
        if let Err(error) = &told {
            self.forsake(error);
        }
        told
    }
}

impl Relational for Writer {
    fn claim_from_now_on(&mut self) {
        self.is_claiming = true;
    }

    fn take_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.claims)
    }

    fn transact(&mut self, act: &mut dyn FnMut(Db<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // The ledger is not touched by it, so what is remembered stays as true as it was.
        self.transact(|db, _, _| act(db))
    }
}

impl Writer {
    pub(super) fn open(settings: Settings, now: Now) -> Result<Self, StoreError> {
        let session = connect(&settings)?;
        info!(database = settings.told(), "connected");
        let tick = Arc::new(watch::Sender::default());
        let instance = enter(&session)?;
        let companion = Arc::new(Companion::start(settings.clone(), instance, &tick)?);
        let (session, memory, locked) = (Some(session), Memory::default(), HashSet::new());
        let (is_claiming, claims) = (false, Vec::new());
        Ok(Self { settings, session, memory, locked, is_claiming, claims, now, instance, companion, tick })
    }

    /// Another one of the same gateway, with a connection of its own.
    pub(super) fn another(&self) -> Result<Self, StoreError> {
        Ok(Self {
            settings: self.settings.clone(),
            session: Some(connect(&self.settings)?),
            memory: Memory::default(),
            locked: HashSet::new(),
            is_claiming: self.is_claiming,
            claims: Vec::new(),
            now: self.now,
            instance: self.instance,
            companion: Arc::clone(&self.companion),
            tick: Arc::clone(&self.tick),
        })
    }

    /// Where the store stands, now and after each commit.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Tick> {
        self.tick.subscribe()
    }

    pub(super) fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        self.work(|work| work.ensure_subject(seed))
    }

    fn work<T>(&mut self, act: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.locked.clear();
        self.transact(|db, memory, now| act(&mut Work::new(db, memory, now)))
    }

    /// All of `act` or nothing of it.
    fn transact<T>(
        &mut self,
        act: impl FnOnce(Db<'_>, &mut Memory, Instant) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.at_work()?;
        let Some(session) = &self.session else { return Err(SqlError::Late.into()) };
        let (driver, now) = (Driver::writing(session, self.instance), (self.now)());
        let attempt: Result<T, StoreError> = (|| {
            driver.begin();
            let answer = act(Db::new(&driver), &mut self.memory, now)?;
            driver.commit()?;
            Ok(answer)
        })();
        // A COPY that was not finished ends here.
        drop(driver);
        if let Err(error) = &attempt {
            // What is remembered may be of the transaction that has just been undone; or it is done, and the answer was
            // lost: then its batches are known when they are tried again.
            self.memory = Memory::default();
            // Partitions that were thought to be there may be what is missing.
            session.months.borrow_mut().clear();
            let is_undone = session.run(Patience::Each(SETTLE), "rollback").is_ok();
            if !is_undone {
                self.session = None;
            }
            self.forsake(error);
        }
        attempt.map_err(|error| rights::explain(&self.settings, error))
    }

    /// Makes sure that there is a connection that can be relied on.
    fn at_work(&mut self) -> Result<(), StoreError> {
        if self.session.is_some() {
            return Ok(());
        }
        self.session = Some(connect(&self.settings)?);
        self.memory = Memory::default();
        self.locked.clear();
        Ok(())
    }

    /// Lets go of a connection after an error that is neither of what was written nor of others who wrote it too. The error
    /// is told by whoever tries again.
    fn forsake(&mut self, error: &StoreError) {
        let passes = match error {
            StoreError::Sql(SqlError::Postgres(error)) => matches!(
                error.code(),
                Some(
                    &SqlState::LOCK_NOT_AVAILABLE
                        | &SqlState::T_R_DEADLOCK_DETECTED
                        | &SqlState::T_R_SERIALIZATION_FAILURE
                )
            ),
            _ => false,
        };
        if error.is_unavailable() && !passes && self.session.take().is_some() {
            debug!(%error, "the connection to the database is replaced");
        }
    }
}

/// A connection to a server that is fit to be written to.
fn connect(settings: &Settings) -> Result<Session, StoreError> {
    let session = Session::open(settings, "tributary writer", OPTIONS)?;
    let patience = Patience::Each(SETTLE);
    refusal::check_durable(&session, patience, settings)?;
    // Before anything else that fails for want of a right, and would say less.
    rights::check_to_run(&session, patience, settings)?;
    refusal::check_writable(&session, patience, settings)?;
    schema::check(&session, patience, settings)?;
    debug!(database = settings.told(), "connected");
    Ok(session)
}

/// Enters this gateway among those that live. Answers its number.
fn enter(session: &Session) -> Result<i64, SqlError> {
    session.wait(Patience::Each(SETTLE), async {
        let entered = session.client().query_one("insert into instance default values returning id", &[]).await?;
        // A server that was restored from a dump counts transactions anew. What has a higher number than any that was
        // given comes before all that it will give.
        let of_another_life = "update commit_feed set xid = '0' where xid >= pg_snapshot_xmax(pg_current_snapshot())";
        session.client().execute(of_another_life, &[]).await?;
        // What others left behind need not wait for a round of theirs.
        session.client().execute(companion::CLEAR, &[]).await?;
        Ok(entered.try_get(0)?)
    })
}
