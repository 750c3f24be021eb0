//! A relational store with a time-series store beside.

use gateway::store::audit::Trail;
use gateway::store::sink::Sink;
use gateway::store::{Now, Store, StoreError, SubjectSeed};

use super::{Beside, Place};

/// Where both lie.
pub(super) struct Both {
    pub(super) place: Box<dyn Place>,
    /// Makes a new way to the time-series store.
    pub(super) sink: Box<dyn Fn() -> Box<dyn Sink>>,
}

impl Place for Both {
    fn open_beside(
        &self,
        now: Now,
        subjects: &[SubjectSeed],
        _none: Option<Box<dyn Sink>>,
    ) -> Result<Store, StoreError> {
        self.place.open_beside(now, subjects, Some((self.sink)()))
    }

    fn beside(&self) -> Box<dyn Beside> {
        self.place.beside()
    }

    fn trail(&self) -> Box<dyn Trail> {
        self.place.trail()
    }

    fn back_up(&self) {
        self.place.back_up();
    }

    fn restore(&self) {
        self.place.restore();
    }
}
