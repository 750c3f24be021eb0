//! What to send, when, and what receipts mean: events and the time in, commands and a deadline out. No socket, no
//! clock, no storage.
//!
//! The session speaks of the buffer's rows. It holds one frame's worth of bookkeeping for each frame under way, and
//! ranges for everything else, however much the buffer holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proto::message::{HELLO_EPOCHS_MAX, HELLO_RANGES_MAX, Held, Hello, Receipt, Refusal};
use proto::{Epoch, Lane, Nonce, Range, Ranges, VERSION};

use super::Pace;
use super::backoff::Backoff;
use super::lanes::Lanes;
use super::window::Window;
use crate::buffer::{Contents, EpochSpan};
use crate::random::Random;
use crate::seeded::Bug;

/// How long a connection may take to stand: TLS, CONNACK, SUBACK. Generous, for 2G.
const DIAL_DEADLINE: Duration = Duration::from_secs(60);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The connection stands, and receipts can arrive.
    Connected,
    /// The connection ended, or never came about.
    Lost,
    /// The buffer accepted batches.
    Accepted {
        /// Their rows.
        rows: Range,
        /// By which queue they leave.
        lane: Lane,
        /// The epoch that begins with them.
        began: Option<EpochSpan>,
    },
    /// The buffer let go of batches to make room.
    Evicted(Ranges),
    /// A frame was handed to the connection.
    Published {
        /// Its rows, of those that were asked for.
        rows: Range,
        /// Its size.
        bytes: usize,
        /// As it was asked for.
        lane: Lane,
    },
    /// Rows that were to be published are not in the buffer.
    NotThere(Range),
    /// The gateway said something.
    Receipt(Receipt),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connect; answer with [`Event::Connected`] or [`Event::Lost`].
    Dial,
    /// End the connection; no answer is awaited.
    HangUp,
    /// Publish this.
    Hello(Hello),
    /// Publish a frame out of `within`; answer with [`Event::Published`] or [`Event::NotThere`].
    Publish {
        /// Where to take batches from.
        within: Range,
        /// By which queue: live frames are taken from the end, backfill from the start.
        lane: Lane,
        /// How large the frame may be.
        bytes_max: usize,
    },
    /// Note that receipts cover these rows.
    Mark(Ranges),
    /// Take such notes back.
    Unmark(Ranges),
    /// Tell a person: a batch was refused.
    Alarm {
        /// Which batch.
        row: u64,
        /// Why.
        reason: Refusal,
    },
}

/// Where the connection stands.
#[derive(Clone, Debug)]
enum Link {
    /// Not connected; the next try is due then.
    Resting { until: Instant },
    /// Connecting; it must stand by then.
    Dialling { until: Instant },
    /// Connected.
    Up,
}

/// A hello that is not answered yet.
#[derive(Clone, Debug)]
struct Asked {
    nonce: Nonce,
    /// Epochs whose receipts are still to come, and what their receipts said so far.
    open: Vec<(EpochSpan, Ranges)>,
    until: Instant,
}

/// The uplink's mind.
#[derive(Debug)]
pub struct Session {
    pace: Pace,
    backoff: Backoff,
    link: Link,
    asked: Option<Asked>,
    hello_due: Instant,
    /// Epochs that this connection's hellos have not named yet: a hello holds only so many.
    unasked: VecDeque<EpochSpan>,
    epochs: Vec<EpochSpan>,
    next_row: u64,
    held: Ranges,
    settled: Ranges,
    /// Refused for good: they stay in the buffer, and are not sent again.
    aside: Ranges,
    /// Refused for now: they wait for the next hello, so that they delay nothing else.
    resting: Ranges,
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
        Self {
            backoff: Backoff::new(pace.reconnect_min, pace.reconnect_max, seed),
            link: Link::Resting { until: now },
            asked: None,
            hello_due: now,
            unasked: VecDeque::new(),
            epochs: contents.epochs.clone(),
            next_row: contents.held.last().map_or(1, |last| last + 1),
            held: contents.held.clone(),
            settled: contents.settled.clone(),
            aside: Ranges::new(),
            resting: Ranges::new(),
            lanes,
            window: Window::new(&pace),
            publishing: false,
            commands: VecDeque::new(),
            random: Random::new(seed),
            pace,
        }
    }

    /// The next thing to do, if anything is to be done now.
    pub fn next_command(&mut self) -> Option<Command> {
        if let Some(command) = self.commands.pop_front() {
            return Some(command);
        }
        // Until the first answer, what the gateway lacks is not known: nothing is sent blindly.
        let greeted = matches!(self.link, Link::Up) && self.asked.is_none() && self.unasked.is_empty();
        if !greeted || self.publishing {
            return None;
        }
        let (lane, within) = self.lanes.next(|lane| self.window.room(lane).is_some())?;
        let bytes_max = self.window.room(lane)?.min(self.pace.frame_bytes_max);
        self.publishing = true;
        Some(Command::Publish { within: self.within_one_epoch(within, lane), lane, bytes_max })
    }

    /// When [`Session::handle_deadline`] wants to be called, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.link {
            Link::Resting { until } | Link::Dialling { until } => *until,
            Link::Up => match &self.asked {
                Some(asked) => asked.until,
                None => self.window.due().map_or(self.hello_due, |due| due.min(self.hello_due)),
            },
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => self.connected(now),
            Event::Lost => self.lost(now),
            Event::Accepted { rows, lane, began } => self.accepted(rows, lane, began, now),
            Event::Evicted(rows) => self.evicted(&rows),
            Event::Published { rows, bytes, lane } => {
                self.publishing = false;
                self.lanes.remove(rows);
                self.lanes.took_turn(lane);
                // A connection that was lost meanwhile took the frame with it.
                if matches!(self.link, Link::Up) {
                    self.window.sent(rows, bytes, lane, now);
                } else {
                    self.requeue(&[rows].into_iter().collect());
                }
            }
            Event::NotThere(rows) => {
                self.publishing = false;
                self.held.remove(rows);
                self.lanes.remove(rows);
            }
            Event::Receipt(receipt) => self.receipt(&receipt, now),
        }
    }

    /// Takes in that the deadline has passed.
    pub fn handle_deadline(&mut self, now: Instant) {
        if now < self.deadline() {
            return;
        }
        match &self.link {
            Link::Resting { .. } => {
                self.link = Link::Dialling { until: now + DIAL_DEADLINE };
                self.commands.push_back(Command::Dial);
            }
            Link::Dialling { .. } => self.hang_up(now),
            Link::Up if self.asked.is_some() => self.hang_up(now),
            Link::Up => {
                if self.window.due().is_some_and(|due| due <= now) {
                    self.window.missed(now);
                } else {
                    self.wake();
                }
                self.unasked = self.epochs.iter().copied().collect();
                self.hello(now);
            }
        }
    }

    /// How many batches wait for a receipt.
    #[must_use]
    pub fn unsettled(&self) -> u64 {
        let under_way: Ranges = self.window.rows().collect();
        self.lanes.waiting() + under_way.count()
    }

    /// What was sent and is not yet settled, for a seeded bug.
    #[cfg(feature = "seeded-bugs")]
    pub(super) fn under_way(&self) -> Vec<Range> {
        self.window.rows().collect()
    }

    fn connected(&mut self, now: Instant) {
        self.link = Link::Up;
        self.backoff.connected(now);
        self.lanes.demote();
        self.wake();
        self.unasked = self.epochs.iter().copied().collect();
        self.hello(now);
    }

    fn accepted(&mut self, rows: Range, lane: Lane, began: Option<EpochSpan>, now: Instant) {
        self.epochs.extend(began);
        self.held.insert(rows);
        self.next_row = self.next_row.max(rows.last.saturating_add(1));
        self.lanes.add(lane, rows);
        // A hello first: its receipt brings the time to a device that has none, before anything is sent without.
        if let (Some(span), Link::Up, None) = (began, &self.link, &self.asked) {
            self.unasked.push_back(span);
            self.hello(now);
        }
    }

    fn evicted(&mut self, rows: &Ranges) {
        for range in rows.iter() {
            self.held.remove(range);
            self.settled.remove(range);
            self.lanes.remove(range);
        }
        let broken = self.window.drop_touching(rows);
        self.requeue(&broken);
    }

    /// What was refused for now may be sent again.
    fn wake(&mut self) {
        let resting = std::mem::take(&mut self.resting);
        self.requeue(&resting);
    }

    fn lost(&mut self, now: Instant) {
        let under_way = self.window.clear();
        if !Bug::NoRedrive.is_on() {
            self.requeue(&under_way);
        }
        self.asked = None;
        self.unasked.clear();
        self.commands
            .retain(|command| matches!(command, Command::Mark(_) | Command::Unmark(_) | Command::Alarm { .. }));
        self.link = Link::Resting { until: now + self.backoff.failed(now) };
    }

    fn hang_up(&mut self, now: Instant) {
        self.lost(now);
        self.commands.push_back(Command::HangUp);
    }

    /// Says hello about the next epochs that this connection has not asked about.
    fn hello(&mut self, now: Instant) {
        let count = self.unasked.len().min(HELLO_EPOCHS_MAX);
        let open: Vec<EpochSpan> = self.unasked.drain(..count).collect();
        let nonce = Nonce(self.random.next().to_be_bytes());
        let epochs = open.iter().map(|span| self.held_of(span)).collect();
        self.commands.push_back(Command::Hello(Hello { nonce, versions: (1, VERSION), epochs }));
        self.hello_due = now + self.pace.hello_every;
        self.window.ask();
        // With nothing held there is nothing to be told; the hello still tells the gateway that we are here.
        if !open.is_empty() {
            let open = open.into_iter().map(|span| (span, Ranges::new())).collect();
            self.asked = Some(Asked { nonce, open, until: now + self.window.deadline() });
        }
    }

    fn held_of(&self, span: &EpochSpan) -> Held {
        let rows = self.rows_of(span);
        let mut ranges: Vec<Range> = rows
            .into_iter()
            .flat_map(|rows| self.held.within(rows))
            .map(|rows| Range { first: rows.first - span.base, last: rows.last - span.base })
            .collect();
        // Too many to say: the oldest are joined. What lies between them was evicted, and a gap will say so.
        let surplus = ranges.len().saturating_sub(HELLO_RANGES_MAX);
        if let (Some(first), Some(kept)) = (ranges.first().map(|range| range.first), ranges.get_mut(surplus)) {
            kept.first = first;
        }
        ranges.drain(..surplus);
        Held { epoch: span.epoch, ranges, next: rows.map_or(1, |rows| rows.last - span.base + 1) }
    }

    /// The rows that `span`'s numbers 1 to the last can have.
    fn rows_of(&self, span: &EpochSpan) -> Option<Range> {
        let later = self.epochs.iter().map(|later| later.base).filter(|base| *base > span.base).min();
        Range::new(span.base + 1, later.unwrap_or(self.next_row - 1))
    }

    /// Cuts `within` to the epoch that its next row is of: a frame is of one epoch.
    fn within_one_epoch(&self, within: Range, lane: Lane) -> Range {
        let edge = if lane == Lane::Live { within.last } else { within.first };
        let span = self.epochs.iter().filter(|span| span.base < edge).max_by_key(|span| span.base);
        span.and_then(|span| self.rows_of(span)).and_then(|rows| rows.intersect(within)).unwrap_or(within)
    }

    fn receipt(&mut self, receipt: &Receipt, now: Instant) {
        let Some(span) = self.epochs.iter().find(|span| span.epoch == receipt.epoch).copied() else { return };
        let Some(all) = self.rows_of(&span) else { return };
        // A gateway cannot settle what was never numbered.
        let rows = |range: Range| {
            let first = range.first.checked_add(span.base)?;
            Range::new(first, range.last.saturating_add(span.base))?.intersect(all)
        };
        let mut said: Ranges = receipt.ranges.iter().filter_map(|settled| rows(settled.range)).collect();
        for refused in &receipt.refused {
            if let Some(row) = rows(Range::one(refused.number)) {
                self.refuse(row, refused.reason);
            }
        }
        // Another body under the same number may be settled; ours is not.
        self.aside.iter().for_each(|rows| said.remove(rows));
        self.settle(&said, now);
        if let Some(asked) = &mut self.asked {
            asked.until = now + self.window.deadline(); // a slow link is not a dead one
        }
        if let Some(nonce) = receipt.nonce {
            self.answered(nonce, receipt.epoch, &said, receipt.continued, now);
        }
    }

    /// `rows` are settled: they are not sent (again), and may leave the buffer.
    fn settle(&mut self, rows: &Ranges, now: Instant) {
        let mut news = Ranges::new();
        for range in rows.iter() {
            for held in self.held.within(range) {
                news.extend(self.settled.missing_in(held).iter());
            }
            self.lanes.remove(range);
        }
        self.settled.extend(news.iter());
        self.window.settle(&self.settled, now);
        if !news.is_empty() {
            self.commands.push_back(Command::Mark(news));
        }
    }

    /// The gateway did not take a batch. A conflict can never be settled; a full quarantine may empty.
    fn refuse(&mut self, row: Range, reason: Refusal) {
        if self.aside.contains(row.first) {
            return;
        }
        self.commands.push_back(Command::Alarm { row: row.first, reason });
        let list = if reason == Refusal::QuarantineFull { &mut self.resting } else { &mut self.aside };
        list.insert(row);
        self.lanes.remove(row);
        // Its frame has had its answer; the rest of it waits for its own receipt, or is sent again.
        let others = self.window.drop_touching(&[row].into_iter().collect());
        self.requeue(&others);
    }

    /// A receipt answered the latest hello: what it leaves out is not settled, whatever was said before.
    fn answered(&mut self, nonce: Nonce, epoch: Epoch, said: &Ranges, continued: bool, now: Instant) {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.nonce == nonce) else { return };
        let Some(place) = asked.open.iter().position(|(span, _)| span.epoch == epoch) else { return };
        if let Some((_, sum)) = asked.open.get_mut(place) {
            sum.extend(said.iter());
        }
        if continued {
            return;
        }
        let (span, sum) = asked.open.swap_remove(place);
        let done = asked.open.is_empty();
        self.uncover(&span, &sum);
        if done {
            self.asked = None;
            if self.unasked.is_empty() {
                let lost = self.window.lost();
                self.requeue(&lost);
            } else {
                self.hello(now);
            }
        }
    }

    /// Sends again what was settled once and is no longer: the gateway was restored to an earlier day.
    fn uncover(&mut self, span: &EpochSpan, sum: &Ranges) {
        let Some(all) = self.rows_of(span) else { return };
        let gone: Ranges =
            self.settled.within(all).flat_map(|range| sum.missing_in(range).iter().collect::<Vec<_>>()).collect();
        if !gone.is_empty() {
            gone.iter().for_each(|rows| self.settled.remove(rows));
            self.requeue(&gone);
            self.commands.push_back(Command::Unmark(gone));
        }
    }

    /// What was lost on the way is history by the time it goes again.
    fn requeue(&mut self, rows: &Ranges) {
        for range in rows.iter() {
            for held in self.held.within(range).collect::<Vec<_>>() {
                self.settled.missing_in(held).iter().for_each(|rows| self.lanes.add(Lane::Backfill, rows));
            }
        }
        self.aside.iter().chain(self.resting.iter()).for_each(|rows| self.lanes.remove(rows));
    }
}
