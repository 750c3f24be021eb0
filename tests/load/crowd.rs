//! What all devices of the process share: how many are there, what they are to do, and what came of it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::load::{Done, Up};
use tokio::sync::{Notify, watch};

use crate::plan::{Plan, Started};
use crate::tally::{Reasons, Tally, processor_time};

/// All devices.
pub(crate) struct Crowd {
    /// How many there are.
    pub(crate) devices: usize,
    up: Cell<usize>,
    attempts: Cell<u64>,
    /// When the first one dialled or was lost, with the processor time until then.
    since: Cell<Option<(Instant, Duration)>>,
    is_up: Notify,
    reasons: RefCell<Reasons>,
    plan: watch::Sender<Option<Started>>,
    drops: watch::Sender<u64>,
    tally: RefCell<Tally>,
    busy: Cell<usize>,
    processor: Cell<Duration>,
    is_done: Notify,
}

impl Crowd {
    pub(crate) fn new(devices: usize) -> Self {
        Self {
            devices,
            up: Cell::new(0),
            attempts: Cell::new(0),
            since: Cell::new(Some((Instant::now(), processor_time()))),
            is_up: Notify::new(),
            reasons: RefCell::default(),
            plan: watch::channel(None).0,
            drops: watch::channel(0).0,
            tally: RefCell::default(),
            busy: Cell::new(0),
            processor: Cell::new(Duration::ZERO),
            is_done: Notify::new(),
        }
    }

    /// What is to be published, as it changes.
    pub(crate) fn plans(&self) -> watch::Receiver<Option<Started>> {
        self.plan.subscribe()
    }

    /// Changes when every socket is to be closed.
    pub(crate) fn drops(&self) -> watch::Receiver<u64> {
        self.drops.subscribe()
    }

    pub(crate) fn attempt(&self) {
        self.attempts.set(self.attempts.get() + 1);
    }

    pub(crate) fn connected(&self) {
        self.up.set(self.up.get() + 1);
        if self.up.get() == self.devices {
            self.is_up.notify_one();
        }
    }

    /// A connection that stood has ended.
    pub(crate) fn lost(&self, why: String) {
        self.up.set(self.up.get().saturating_sub(1));
        if self.since.get().is_none() {
            self.since.set(Some((Instant::now(), processor_time())));
        }
        self.failed(why);
    }

    pub(crate) fn failed(&self, why: String) {
        self.reasons.borrow_mut().add(why);
    }

    /// Once all are connected, after some were not.
    pub(crate) async fn all_up(&self) -> Up {
        loop {
            self.is_up.notified().await;
            if self.up.get() < self.devices {
                continue; // one has gone again before this was looked at
            }
            let (began, processor) = self.since.take().unwrap_or((Instant::now(), processor_time()));
            return Up {
                sessions: self.up.get(),
                seconds: began.elapsed().as_secs_f64(),
                attempts: self.attempts.take(),
                failures: self.reasons.borrow_mut().take(),
                processor_s: processor_time().saturating_sub(processor).as_secs_f64(),
            };
        }
    }

    /// All devices publish `plan`, from now on.
    pub(crate) fn publish(&self, plan: Arc<Plan>) {
        self.tally.take();
        self.busy.set(self.devices);
        self.processor.set(processor_time());
        self.plan.send_replace(Some(Started { plan, at: Instant::now() }));
    }

    /// A receipt covers a message so long after it was due.
    pub(crate) fn settled(&self, took: Duration) {
        self.tally.borrow_mut().add(took);
    }

    /// Receipts cover all that one device had to publish.
    pub(crate) fn finished(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if self.busy.get() == 0 {
            self.is_done.notify_one();
        }
    }

    /// Once receipts cover all of a plan.
    pub(crate) async fn all_done(&self) -> Done {
        loop {
            self.is_done.notified().await;
            let Some(Started { plan, at }) = self.plan.borrow().clone() else { continue };
            let (took, tally) = (at.elapsed(), self.tally.take());
            let processor_s = processor_time().saturating_sub(self.processor.get()).as_secs_f64();
            let done = tally.done(took, plan.work.readings, &mut self.reasons.borrow_mut());
            return Done { processor_s, sessions: self.up.get(), ..done };
        }
    }

    /// Has every device close its socket.
    pub(crate) fn drop_all(&self) {
        self.drops.send_modify(|count| *count += 1);
    }
}
