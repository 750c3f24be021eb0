//! Which gaps the gateway is being told of.

use std::time::Instant;

use proto::{Range, Ranges};

/// Notices of gaps that go out before a receipt confirms the first of them.
const NOTICES_MAX: usize = 16;

/// Gaps on their way to the gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct Telling {
    /// Rows to be told of before the next hello.
    untold: Ranges,
    /// Notices without a receipt, by the rows that they are about.
    notices: Vec<Range>,
    /// When to stop waiting for the receipts.
    until: Option<Instant>,
    /// A notice was commanded and is not yet answered.
    asked: bool,
}

impl Telling {
    /// `rows` are to be told of.
    pub(super) fn add(&mut self, rows: &Ranges) {
        self.untold.extend(rows.iter());
    }

    /// Before another hello, all of `gaps` are told of again, save those whose receipts may still come.
    pub(super) fn again(&mut self, gaps: &Ranges, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.give_up();
        }
        self.add(gaps);
        self.notices.iter().for_each(|rows| self.untold.remove(*rows));
    }

    /// The connection ended: whatever was told may not have arrived.
    pub(super) fn lost(&mut self) {
        *self = Self { asked: self.asked, ..Self::default() };
    }

    /// What the next notice is taken from, if there may be one.
    pub(super) fn next(&mut self) -> Option<Range> {
        if !self.has_turn() {
            return None;
        }
        let within = Range::new(self.untold.first()?, self.untold.last()?)?;
        self.asked = true;
        Some(within)
    }

    /// Whether a notice may go out.
    pub(super) fn has_turn(&self) -> bool {
        !self.asked && self.notices.len() < NOTICES_MAX && !self.untold.is_empty()
    }

    /// A notice about `rows` went out, or (`sent_until` is none) there was nothing to say about them.
    pub(super) fn told(&mut self, rows: Range, sent_until: Option<Instant>) {
        self.asked = false;
        self.untold.remove(rows);
        if sent_until.is_some() {
            self.notices.push(rows);
            self.until = self.until.or(sent_until);
        }
    }

    /// Whether a hello has to wait.
    pub(super) fn is_unfinished(&self) -> bool {
        self.asked || !self.untold.is_empty()
    }

    /// Whether notices wait for receipts.
    pub(super) fn is_under_way(&self) -> bool {
        !self.notices.is_empty()
    }

    /// When to go on without the receipts, if that is what the rest waits for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.until.filter(|_| self.is_unfinished() && self.notices.len() >= NOTICES_MAX)
    }

    /// `gaps` are what is still unconfirmed: notices about none of them are done, and the others' time starts anew.
    pub(super) fn confirmed(&mut self, gaps: &Ranges, until: Instant) {
        self.notices.retain(|rows| gaps.within(*rows).next().is_some());
        self.until = (!self.notices.is_empty()).then_some(until);
    }

    /// No receipt came: these gaps are told of again with the next hello, and the others have their turn now.
    pub(super) fn give_up(&mut self) {
        self.notices.clear();
        self.until = None;
    }
}
