//! What to send, when, and what receipts mean: events and the time in, commands and a deadline out. No socket, no
//! clock, no storage.
//!
//! The session speaks of the buffer's rows. It holds one frame's worth of bookkeeping for each frame under way, and
//! ranges for everything else, however much the buffer holds.

use std::collections::VecDeque;
use std::time::Instant;

use proto::{Epoch, Lane, Nonce, Number, Range, Ranges};

use self::hello::Asked;
use self::link::Link;
use self::suspects::Suspects;
use self::telling::Telling;
use super::Pace;
use super::backoff::Backoff;
use super::lanes::Lanes;
use super::limiter::Limiter;
use super::silence::Silence;
use super::window::Window;
use crate::buffer::{Contents, EpochSpan};
use crate::random::Random;

mod events;
mod hello;
mod link;
mod patience;
mod receipt;
mod suspects;
mod telling;

pub use events::{Command, Event};

/// The uplink's mind.
#[derive(Debug)]
pub struct Session {
    pace: Pace,
    /// The latest instant that anyone told.
    now: Instant,
    backoff: Backoff,
    link: Link,
    silence: Silence,
    limiter: Limiter,
    asked: Option<Asked>,
    /// The nonce of the latest hello, answered or not.
    last_hello: Option<Nonce>,
    /// A hello is to go out as soon as the gaps are told.
    hello_is_wanted: bool,
    hello_due: Instant,
    /// Epochs that this connection's hellos have not named yet: a hello holds only so many.
    unasked: VecDeque<EpochSpan>,
    epochs: Vec<EpochSpan>,
    next_row: u64,
    held: Ranges,
    settled: Ranges,
    /// Rows that will never come, as far as no receipt has confirmed that the gateway knows.
    gaps: Ranges,
    telling: Telling,
    /// Numbers that neither end has, a notice each: to be said on this connection.
    unexplained: VecDeque<(Epoch, Ranges)>,
    /// Refused for good: they stay in the buffer, and are not sent again.
    aside: Ranges,
    /// Refused for now, or not understood: they wait for the next regular hello, so that they delay nothing else.
    resting: Ranges,
    suspects: Suspects,
    lanes: Lanes,
    window: Window,
    /// A publish was commanded and is not yet answered.
    publishing: bool,
    commands: VecDeque<Command>,
    random: Random,
}

impl Session {
    /// A session over what the buffer holds, about to connect. `seed` makes nonces and jitter.
    #[must_use]
    pub fn new(pace: Pace, contents: &Contents, seed: u64, now: Instant) -> Self {
        let mut lanes = Lanes::default();
        for held in contents.held.iter() {
            contents.settled.missing_in(held).iter().for_each(|rows| lanes.add(Lane::Backfill, rows));
        }
        contents.aside.iter().for_each(|rows| lanes.remove(rows));
        let last = [contents.held.last(), contents.settled.last(), contents.gaps.last()].into_iter().flatten().max();
        Self {
            backoff: Backoff::new(pace.reconnect_min, pace.reconnect_max, seed),
            link: Link::Resting { until: now },
            silence: Silence::new(pace.keep_alive, now),
            limiter: Limiter::new(&pace, now),
            asked: None,
            last_hello: None,
            hello_is_wanted: false,
            hello_due: now,
            unasked: VecDeque::new(),
            epochs: contents.epochs.clone(),
            next_row: last.map_or(1, |last| last.saturating_add(1)).max(contents.next_row),
            held: contents.held.clone(),
            settled: contents.settled.clone(),
            gaps: contents.gaps.clone(),
            telling: Telling::default(),
            unexplained: VecDeque::new(),
            aside: contents.aside.clone(),
            resting: Ranges::new(),
            suspects: Suspects::default(),
            lanes,
            window: Window::new(&pace),
            publishing: false,
            commands: VecDeque::new(),
            random: Random::new(seed),
            pace,
            now,
        }
    }

    /// The next thing to do, if anything is to be done now.
    pub fn next_command(&mut self) -> Option<Command> {
        let command = self.commands.pop_front().or_else(|| self.next_of_connection());
        self.note_what_is_under_way();
        command
    }

    fn next_of_connection(&mut self) -> Option<Command> {
        if !matches!(self.link, Link::Up) {
            return None;
        }
        // Gaps first, so that no hello lacks a number that the gateway was not told about.
        let is_allowed = self.limiter.ready_at(self.now) <= self.now;
        if is_allowed && let Some(within) = self.telling.next() {
            return Some(Command::Gaps(within));
        }
        if self.hello_is_wanted && self.asked.is_none() && !self.telling.is_unfinished() {
            return Some(self.hello());
        }
        if is_allowed && let Some((epoch, numbers)) = self.unexplained.pop_front() {
            self.limiter.count(0, self.now);
            return Some(Command::Unexplained { epoch, numbers });
        }
        self.next_frame()
    }

    fn next_frame(&mut self) -> Option<Command> {
        if !self.is_greeted() || self.publishing || self.limiter.ready_at(self.now) > self.now {
            return None;
        }
        let under_way = self.window.rows().next().is_some();
        if self.window.rows().any(|rows| self.suspects.touches(rows)) {
            return None;
        }
        if !under_way && let Some(rows) = self.suspects.release(self.lanes.waiting() == 0) {
            self.requeue(&[rows].into_iter().collect());
        }
        let (lane, within) = self.lanes.next(|lane| self.window.room(lane).is_some())?;
        let within = self.suspects.cut(self.within_one_epoch(within, lane), lane == Lane::Live);
        if under_way && self.suspects.touches(within) {
            return None; // it goes alone
        }
        let bytes_max = self.window.room(lane)?.min(self.pace.frame_bytes_max);
        self.publishing = true;
        Some(Command::Publish { within, lane, bytes_max })
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        self.now = self.now.max(now);
        match event {
            Event::Connected => self.connected(),
            Event::Lost => self.lost(),
            Event::Accepted { rows, lane, began } => self.accepted(rows, lane, began),
            Event::Evicted(rows) => self.evicted(&rows),
            Event::Gaps { rows, began } => self.gaps(&rows, began),
            Event::Published { rows, bytes, lane } => self.published(rows, bytes, lane),
            Event::NotThere(rows) => {
                self.publishing = false;
                // Damaged, most likely, or let go of a moment ago. If the buffer names no gap there, it will say so.
                self.gaps(&[rows].into_iter().collect(), None);
            }
            Event::NotRead => {
                self.publishing = false;
                self.hang_up();
                self.telling = Telling::default();
            }
            Event::TooLarge(rows) => {
                self.publishing = false;
                self.set_aside(rows, "it is larger than any broker takes");
            }
            Event::Told { rows, sent } => self.told(rows, sent),
            Event::Receipt(receipt) => {
                self.silence.heard(self.now);
                self.receipt(&receipt);
            }
            Event::Heard => self.silence.heard(self.now),
            Event::Leaving => self.silence.leaving(self.now),
            Event::Left => self.left(),
        }
        self.note_what_is_under_way();
    }

    /// Where `number` of `epoch` lies in the buffer.
    #[must_use]
    pub fn row_of(&self, epoch: Epoch, number: Number) -> Option<u64> {
        let span = self.epochs.iter().find(|span| span.epoch == epoch)?;
        span.base.checked_add(number)
    }

    /// What was sent and is not yet settled, for a seeded bug.
    #[cfg(feature = "seeded-bugs")]
    pub(super) fn under_way(&self) -> Vec<Range> {
        self.window.rows().collect()
    }

    fn accepted(&mut self, rows: Range, lane: Lane, began: Option<EpochSpan>) {
        self.held.insert(rows);
        self.next_row = self.next_row.max(rows.last.saturating_add(1));
        self.lanes.add(lane, rows);
        self.begin(began);
    }

    /// An epoch begins. A hello first: its receipt brings the time to a device that has none, before anything is sent
    /// without.
    fn begin(&mut self, began: Option<EpochSpan>) {
        let Some(span) = began.filter(|span| !self.epochs.contains(span)) else { return };
        self.epochs.push(span);
        if matches!(self.link, Link::Up) {
            self.unasked.push_back(span);
            self.hello_is_wanted = true;
        }
    }

    fn evicted(&mut self, rows: &Ranges) {
        for range in rows.iter() {
            self.held.remove(range);
            self.settled.remove(range);
            self.aside.remove(range);
            self.resting.remove(range);
            self.lanes.remove(range);
        }
        self.suspects.clear(rows);
        let broken = self.window.drop_touching(rows);
        self.requeue(&broken);
    }

    fn gaps(&mut self, rows: &Ranges, began: Option<EpochSpan>) {
        self.evicted(rows);
        self.gaps.extend(rows.iter());
        self.next_row = self.next_row.max(rows.last().map_or(0, |last| last.saturating_add(1)));
        if matches!(self.link, Link::Up) {
            self.telling.add(rows);
        }
        self.begin(began);
    }

    fn told(&mut self, rows: Range, sent: bool) {
        if sent && matches!(self.link, Link::Up) {
            self.limiter.count(0, self.now);
            self.telling.told(rows, Some(self.now + self.window.deadline()));
        } else {
            self.telling.told(rows, None);
        }
        if !sent {
            self.gaps.remove(rows); // they were confirmed before, as far as the buffer knows
        }
    }

    fn published(&mut self, rows: Range, bytes: usize, lane: Lane) {
        self.publishing = false;
        self.lanes.remove(rows);
        self.lanes.took_turn(lane);
        // A connection that was lost meanwhile took the frame with it.
        if matches!(self.link, Link::Up) {
            self.limiter.count(bytes, self.now);
            self.window.sent(rows, bytes, lane, self.now);
        } else {
            self.requeue(&[rows].into_iter().collect());
        }
    }

    /// Cuts `within` to the epoch that its next row is of: a frame is of one epoch.
    fn within_one_epoch(&self, within: Range, lane: Lane) -> Range {
        let edge = if lane == Lane::Live { within.last } else { within.first };
        let span = self.epochs.iter().filter(|span| span.base < edge).max_by_key(|span| span.base);
        span.and_then(|span| self.rows_of(span)).and_then(|rows| rows.intersect(within)).unwrap_or(within)
    }
}
