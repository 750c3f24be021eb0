//! A time-series store beside the relational one, and how nothing is lost or doubled between the two.
//!
//! The relational store keeps readings as ever, and in the commit that stores a batch or pack it enters a claim (see
//! `ledger/claims.rs`). Then the readings are written to the sink, then their claims go in a second, short transaction,
//! and only then receipts cover them. After a crash, or when the sink was away, what is still claimed is written again
//! from the same rows: the very same records.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Moment};

use proto::{DeviceId, Epoch, Range};
use tracing::{error, info, warn};

use super::error::StoreError;
use super::ledger::Claim;
use super::sink::{Sink, SinkError};
use super::sql::Db;
use super::{Item, Ledger, Now, Outcome, SettledRanges};
use totals::TOTALS;

mod claims;
mod deliver;
mod pace;
mod records;
pub mod totals;

/// How a time-series store is served.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Readings that may wait for it before no more are taken from devices. They lie in the relational store anyway; this
    /// bounds how far the two may be apart.
    pub readings_max: u64,
    /// How long it may fail, with something waiting, before no more is taken from devices.
    pub away_max: Duration,
    /// How long after a claim was entered another than its gateway may write it. Several gateways share a database; where
    /// there is but one, it is zero.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { readings_max: 200_000, away_max: Duration::from_secs(60), grace: Duration::ZERO }
    }
}

/// The relational store, as far as it must know of the sink.
pub(in crate::store) trait Relational: Ledger {
    /// From now on, enters a claim with all that it records.
    fn claim_from_now_on(&mut self);

    /// What the last [`Ledger::record`] claimed.
    fn take_claims(&mut self) -> Vec<Claim>;

    /// All of `act` in one durable transaction, or nothing.
    fn transact(&mut self, act: &mut dyn FnMut(Db<'_>) -> Result<(), StoreError>) -> Result<(), StoreError>;
}

/// Both stores, as one ledger. A thread of its own writes what is left over.
pub struct Outbox {
    shared: Arc<Shared>,
    drainer: Option<JoinHandle<()>>,
}

struct Shared {
    ledger: Mutex<Box<dyn Relational>>,
    sink: Mutex<deliver::Writer>,
    state: Mutex<State>,
    /// Told when there is something to drain, or when it is to end.
    stirred: Condvar,
    settings: Settings,
    now: Now,
}

#[derive(Default)]
struct State {
    /// Readings that no receipt covers, because the sink has not got them.
    waiting: u64,
    /// Claims that the recorder is writing itself: from the first reading to the last.
    in_hand: Option<(i64, i64)>,
    /// Since when the sink takes nothing, and why.
    failing: Option<(Moment, String)>,
    has_left_over: bool,
    is_over: bool,
}

impl Outbox {
    /// Sets `sink` beside `ledger`. What was claimed before and is still to be written, is written from now on.
    pub(in crate::store) fn open(
        mut ledger: Box<dyn Relational>,
        sink: Box<dyn Sink>,
        settings: Settings,
        now: Now,
    ) -> Result<Self, StoreError> {
        ledger.claim_from_now_on();
        let waiting = claims::waiting(&mut *ledger)?;
        if waiting > 0 {
            info!(readings = waiting, "the time-series store is to be given what waited for it");
        }
        TOTALS.waiting.set(waiting);
        let state = State { waiting, has_left_over: true, ..State::default() };
        let sink = Mutex::new(deliver::Writer { sink, names: records::Names::default() });
        let (ledger, state) = (Mutex::new(ledger), Mutex::new(state));
        let shared = Arc::new(Shared { ledger, sink, state, stirred: Condvar::new(), settings, now });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("outbox".into()).spawn(move || own.drain());
        let drainer =
            thread.map_err(|error| StoreError::Unfit(format!("the system has no thread to give: {error}")))?;
        Ok(Self { shared, drainer: Some(drainer) })
    }
}

impl Ledger for Outbox {
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        let shared = &self.shared;
        if items.iter().any(|item| matches!(item, Item::Batch(_) | Item::Pack(_))) {
            shared.make_sure_of_room()?;
        }
        let (outcomes, mine) = {
            let mut ledger = lock(&shared.ledger);
            let outcomes = ledger.record(items)?;
            (outcomes, shared.note(ledger.take_claims()))
        };
        // While the sink fails, nobody waits for it here: what is left over is written by the drainer, with its patience.
        let is_worth_trying = lock(&shared.state).failing.is_none();
        let delivered = if is_worth_trying { shared.deliver(&mine) } else { Ok(()) };
        let has_left_over = delivered.map_err(|error| shared.failed(&error)).is_err();
        let mut state = lock(&shared.state);
        state.in_hand = None;
        state.has_left_over |= has_left_over;
        if state.has_left_over {
            shared.stirred.notify_all();
        }
        drop(state);
        Ok(outcomes)
    }

    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, around: Range) -> Result<SettledRanges, StoreError> {
        let mut ledger = lock(&self.shared.ledger);
        // In this order: what is claimed after the first look may be in it, and must not be left in.
        let settled = ledger.settled_around(device, epoch, around)?;
        let claimed = claims::of_epoch(&mut **ledger, device, epoch)?;
        Ok(claims::without(settled, &claimed, around))
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        lock(&self.shared.state).is_over = true;
        self.shared.stirred.notify_all();
        // It ends at the latest when the sink's deadline is over. If it panicked, that was said then.
        let _ = self.drainer.take().map(JoinHandle::join);
    }
}

impl Shared {
    /// Fails before anything is committed where the sink is too far behind.
    fn make_sure_of_room(&self) -> Result<(), StoreError> {
        let state = lock(&self.state);
        let why = match &state.failing {
            Some((since, why)) if state.waiting > 0 && since.elapsed() > self.settings.away_max => why.clone(),
            _ if state.waiting > self.settings.readings_max => "it is slower than what comes".to_owned(),
            _ => return Ok(()),
        };
        Err(StoreError::SinkBehind { waiting: state.waiting, why })
    }

    /// Notes what was just claimed. Answers what the recorder is to write itself.
    fn note(&self, claims: Vec<Claim>) -> Vec<Claim> {
        let (mine, later): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.blocks);
        let mut state = lock(&self.state);
        state.waiting += mine.iter().map(Claim::readings).sum::<u64>();
        TOTALS.waiting.set(state.waiting);
        state.in_hand = mine.first().zip(mine.last()).map(|(first, last)| (first.first, last.last));
        state.has_left_over |= !later.is_empty();
        mine
    }

    fn failed(&self, error: &deliver::Undelivered) {
        TOTALS.failures.add(1);
        let mut state = lock(&self.state);
        let is_new = state.failing.is_none();
        let since = state.failing.as_ref().map_or_else(Moment::now, |(since, _)| *since);
        state.failing = Some((since, error.to_string()));
        let waiting = state.waiting;
        drop(state);
        match error {
            deliver::Undelivered::Sink(SinkError::Unfit(_)) => {
                error!(%error, waiting, "the time-series store refuses everything");
            }
            _ if is_new => warn!(%error, waiting, "the time-series store takes nothing; what is for it waits"),
            _ => {}
        }
    }

    fn recovered(&self) {
        if let Some((since, _)) = lock(&self.state).failing.take() {
            info!(after_s = since.elapsed().as_secs(), "the time-series store takes readings again");
        }
    }

    /// Writes what is left over, oldest first, until it is all over.
    fn drain(&self) {
        let mut pace = pace::Pace::default();
        while self.wait_for_left_over(pace.delay()) {
            match self.deliver_left_over() {
                Ok(deliver::Rest::Some) => pace.went_well(),
                Ok(deliver::Rest::None) => {
                    pace.went_well();
                    pace.rest();
                }
                Err(error) => {
                    self.failed(&error);
                    pace.failed();
                }
            }
        }
    }

    /// Waits for `delay`, or for less if there is nothing to be patient about. False when it is over.
    fn wait_for_left_over(&self, delay: Duration) -> bool {
        let until = Moment::now() + delay;
        let mut state = lock(&self.state);
        loop {
            let left = until.saturating_duration_since(Moment::now());
            if state.is_over {
                return false;
            }
            let is_stirred = state.has_left_over && state.in_hand.is_none();
            if left.is_zero() || is_stirred {
                state.has_left_over = false;
                return true;
            }
            state = self.stirred.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A lock whose holder panicked holds what that one left: each is in order between any two steps.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
