//! The connection's life: dialling, standing, silence, its end.

use std::time::Instant;

use proto::Ranges;

use super::super::NETWORK_DEADLINE;
use super::{Command, Session};

/// Where the connection stands.
#[derive(Clone, Debug)]
pub(super) enum Link {
    /// Not connected; the next try is due then.
    Resting { until: Instant },
    /// Connecting; it must stand by then.
    Dialling { until: Instant },
    /// Connected.
    Up,
}

impl Session {
    /// When [`Session::handle_deadline`] wants to be called, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.link {
            Link::Resting { until } | Link::Dialling { until } => *until,
            Link::Up => {
                let ends = [self.silence.due(), self.patience_due()];
                let turns = [self.answer_due(), self.question_due(), self.telling_due(), self.turn_due()];
                ends.into_iter().chain(turns).flatten().min().unwrap_or(self.hello_due)
            }
        }
    }

    /// When the hello under way should have been answered. While bytes are still leaving, no answer can be late.
    fn answer_due(&self) -> Option<Instant> {
        self.asked.as_ref().filter(|_| !self.silence.is_leaving()).and_then(|asked| asked.patience.due())
    }

    /// When a link that lives and answers no hello is given up.
    fn patience_due(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.patience.gives_up_at())
    }

    /// When the next hello is due, by the clock or because a frame should have been settled.
    fn question_due(&self) -> Option<Instant> {
        if self.asked.is_some() || self.hello_is_wanted {
            return None;
        }
        let missing = self.window.due().filter(|_| !self.silence.is_leaving());
        Some(missing.map_or(self.hello_due, |due| due.min(self.hello_due)))
    }

    /// When notices of gaps are taken for lost. Not while a hello has no answer: their receipts are as late as that is, and
    /// to send more would only fill the gateway.
    fn telling_due(&self) -> Option<Instant> {
        self.telling.due().filter(|_| !self.silence.is_leaving() && self.asked.is_none())
    }

    /// When the next frame or notice may go, if the rate is what it waits for.
    fn turn_due(&self) -> Option<Instant> {
        let ready = self.limiter.ready_at(self.now);
        let frame_waits = self.is_greeted() && !self.publishing && self.lanes.waiting() > 0;
        let notice_waits = self.telling.has_turn() || !self.unexplained.is_empty();
        (ready > self.now && (frame_waits || notice_waits)).then_some(ready)
    }

    /// Takes in that the deadline has passed.
    pub fn handle_deadline(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if now < self.deadline() {
            return;
        }
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        match &self.link {
            Link::Resting { .. } => {
                self.link = Link::Dialling { until: now + NETWORK_DEADLINE };
                self.commands.push_back(Command::Dial);
            }
            Link::Dialling { .. } => self.hang_up(),
            Link::Up if is_due(self.silence.due()) || is_due(self.patience_due()) => self.hang_up(),
            Link::Up => {
                if is_due(self.answer_due()) {
                    self.hello_again();
                }
                if is_due(self.telling_due()) {
                    self.telling.give_up();
                }
                if is_due(self.question_due()) {
                    self.ask_again();
                }
            }
        }
        self.note_what_is_under_way();
    }

    /// A frame should have been settled, or it is simply time: hello.
    fn ask_again(&mut self) {
        if self.window.due().is_some_and(|due| due <= self.now) {
            self.window.missed(self.now);
        } else {
            self.wake();
        }
        self.greet();
        self.hello_is_wanted = true;
    }

    pub(super) fn connected(&mut self) {
        self.link = Link::Up;
        self.backoff.connected(self.now);
        self.silence.connected(self.now);
        self.lanes.demote();
        self.wake();
        self.greet();
        self.hello_is_wanted = true;
    }

    /// What was refused for now may be sent again.
    fn wake(&mut self) {
        let resting = std::mem::take(&mut self.resting);
        self.requeue(&resting);
    }

    pub(super) fn lost(&mut self) {
        if matches!(self.link, Link::Up) {
            self.died();
        }
        self.asked = None;
        self.unasked.clear();
        self.hello_is_wanted = false;
        self.telling.lost();
        self.unexplained.clear();
        self.silence.connected(self.now);
        self.commands.retain(|command| {
            use Command::{Alarm, Mark, SetAside, Unmark};
            matches!(command, Mark(_) | Unmark(_) | SetAside { .. } | Alarm { .. })
        });
        self.link = Link::Resting { until: self.now + self.backoff.failed(self.now) };
    }

    pub(super) fn hang_up(&mut self) {
        self.lost();
        self.commands.push_back(Command::HangUp);
    }

    /// A message that was leaving has left.
    pub(super) fn left(&mut self) {
        if self.silence.left(self.now) {
            // The answers to all that was queued behind it could not come any sooner.
            self.window.queued(self.now);
            if let Some(asked) = &mut self.asked {
                asked.patience.put_off(self.now);
            }
        }
    }

    /// Whether the connection stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// Whether this connection knows what the gateway lacks: until then nothing is sent blindly.
    pub(super) fn is_greeted(&self) -> bool {
        self.is_connected() && self.asked.is_none() && self.unasked.is_empty() && !self.hello_is_wanted
    }

    pub(super) fn note_what_is_under_way(&mut self) {
        let is_busy = self.asked.is_some() || self.telling.is_under_way() || self.window.rows().next().is_some();
        self.silence.busy(is_busy || self.silence.is_leaving(), self.now);
    }

    /// How many batches wait for a receipt. What is set aside waits for none.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        let mut rows: Ranges = self.window.rows().chain(self.suspects.waiting()).chain(self.resting.iter()).collect();
        self.aside.iter().for_each(|aside| rows.remove(aside));
        self.lanes.waiting() + rows.count()
    }
}
