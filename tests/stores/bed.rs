//! A store at work, and what a behaviour asks of it.

use std::time::{Duration, Instant as Moment};

use gateway::store::audit::Trail;
use gateway::store::view::{Device, Ledger, Reading};
use gateway::store::{Item, Now, Outcome, ReadError, SettledRanges, Store, StoreError, SubjectSeed, View};
use proto::message::Settlement;
use proto::{Epoch, Range, Value};

use crate::backend::{Beside, Place};
use crate::batches::{EPOCH, meter};

/// How long a question may take, also on a busy machine.
const QUESTION_DEADLINE: Duration = Duration::from_secs(20);

/// An open store, and where it lies.
pub(crate) struct Bed {
    place: Box<dyn Place>,
    now: Now,
    store: Option<Store>,
}

impl Bed {
    pub(crate) fn new(place: Box<dyn Place>, now: Now) -> Self {
        let store = place.open(now, &[]).unwrap();
        Self { place, now, store: Some(store) }
    }

    /// The open store.
    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// The same, to take parts of it.
    pub(crate) fn store_mut(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    /// The audit trail, as the gateway has it.
    pub(crate) fn trail(&mut self) -> &mut dyn Trail {
        &mut *self.store.as_mut().unwrap().trail
    }

    /// The same as a command has it, beside the gateway.
    pub(crate) fn trail_beside(&self) -> Box<dyn Trail> {
        self.place.trail()
    }

    /// Closes it.
    pub(crate) fn close(&mut self) {
        self.store = None;
    }

    /// Closes and opens it, as when the gateway starts again.
    pub(crate) fn reopen(&mut self) {
        self.reopen_with(&[]).unwrap();
    }

    /// The same with these people in the settings.
    pub(crate) fn reopen_with(&mut self, subjects: &[SubjectSeed]) -> Result<(), StoreError> {
        self.close();
        self.store = Some(self.place.open(self.now, subjects)?);
        Ok(())
    }

    /// Closes it and copies the database aside, then opens it again.
    pub(crate) fn back_up(&mut self) {
        self.close();
        self.place.back_up();
        self.reopen();
    }

    /// Puts the copy back.
    pub(crate) fn restore(&mut self) {
        self.close();
        self.place.restore();
        self.reopen();
    }

    /// A connection of the test's own.
    pub(crate) fn beside(&self) -> Box<dyn Beside> {
        self.place.beside()
    }

    /// Records `items` in one transaction.
    pub(crate) fn record(&mut self, items: impl IntoIterator<Item = Item>) -> Vec<Outcome> {
        self.try_record(&items.into_iter().collect::<Vec<_>>()).unwrap()
    }

    pub(crate) fn try_record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        self.store.as_mut().unwrap().ledger.record(items)
    }

    /// What `ask` asks of one moment's view.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(View<'_>) -> Result<T, ReadError>) -> T {
        self.store().reader.view(Moment::now() + QUESTION_DEADLINE, ask).unwrap()
    }

    /// The key of the first series, which the database gave.
    pub(crate) fn series(&self) -> Option<i64> {
        self.ask(|view| Ok(view.series(None)?.into_iter().next().map(|series| series.id)))
    }

    /// All readings of the first series, in the order of time.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let Some(series) = self.series() else { return Vec::new() };
        self.ask(|view| Ok(view.excerpt(series, (i64::MIN, i64::MAX), 10_000)?.readings))
    }

    /// The same where all are numbers: instant and number.
    pub(crate) fn numbers(&self) -> Vec<(i64, f64)> {
        let number = |reading: Reading| match reading.value {
            Value::Number(number) => (reading.time_us, number),
            other => panic!("{other:?} is no number"),
        };
        self.readings().into_iter().map(number).collect()
    }

    /// The device, as it is shown.
    pub(crate) fn device(&self) -> Device {
        self.ask(|view| view.device("meter-7")).unwrap()
    }

    /// The device's ledger, as it is shown.
    pub(crate) fn ledger(&self) -> Ledger {
        self.ask(|view| view.ledger("meter-7")).unwrap()
    }

    /// Kind and count of each alarm, by kind.
    pub(crate) fn alarms(&self) -> Vec<(String, i64)> {
        let mut raised: Vec<_> = self.ledger().alarms.into_iter().map(|alarm| (alarm.kind, alarm.count)).collect();
        raised.sort();
        raised
    }

    /// Reason and numbers of each gap, ascending.
    pub(crate) fn gaps(&self) -> Vec<(String, u64, u64)> {
        let named = self.ledger().gaps.into_iter();
        let mut gaps: Vec<_> = named.map(|gap| (gap.reason, gap.first.unwrap_or(0), gap.last.unwrap_or(0))).collect();
        gaps.sort_by_key(|gap| gap.1);
        gaps
    }

    /// What a receipt would say of an epoch.
    pub(crate) fn told(&mut self, epoch: Epoch) -> Vec<(u64, u64, Settlement)> {
        let SettledRanges(ranges) = self.store.as_mut().unwrap().ledger.settled(&meter(), epoch).unwrap();
        ranges.into_iter().map(|(range, state)| (range.first, range.last, state)).collect()
    }

    /// The same of the epoch that most batches are of.
    pub(crate) fn settled(&mut self) -> Vec<(u64, u64, Settlement)> {
        self.told(EPOCH)
    }

    /// What a receipt would say after a commit around some numbers of that epoch.
    pub(crate) fn settled_around(&mut self, around: Range) -> Vec<(Range, Settlement)> {
        self.store.as_mut().unwrap().ledger.settled_around(&meter(), EPOCH, around).unwrap().0
    }
}
