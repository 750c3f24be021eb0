//! What this device says it holds, and what the answer means for that.

use proto::message::{HELLO_EPOCHS_MAX, HELLO_RANGES_MAX, Held, Hello, NOTICE_ITEMS_MAX};
use proto::{Epoch, Nonce, Range, Ranges, VERSION};

use super::patience::Patience;
use super::{Command, Session};
use crate::buffer::EpochSpan;

/// A hello that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    nonce: Nonce,
    /// Epochs whose receipts are still to come.
    open: Vec<Open>,
    pub(super) patience: Patience,
}

/// An epoch whose receipts are still to come.
#[derive(Clone, Debug)]
struct Open {
    span: EpochSpan,
    /// What the hello said of it.
    claim: Held,
    /// Rows that the hello claimed only because it could not name each range.
    overclaimed: Ranges,
    /// Rows that were stored, or set aside, by the receipts so far.
    kept: Ranges,
    /// Rows that were settled in any way.
    settled: Ranges,
}

impl Session {
    /// A hello about all epochs is to go out, once the gaps are told.
    pub(super) fn greet(&mut self) {
        self.unasked = self.epochs.iter().copied().collect();
        self.telling.again(&self.gaps, self.now);
    }

    /// Says hello about the next epochs that this connection has not asked about. Where those are not all, it says
    /// that they are a part, so that the gateway concludes nothing about the others.
    pub(super) fn hello(&mut self) -> Command {
        let count = self.unasked.len().min(HELLO_EPOCHS_MAX);
        let spans: Vec<EpochSpan> = self.unasked.drain(..count).collect();
        let open: Vec<Open> = spans.iter().map(|span| self.held_of(span)).collect();
        let (nonce, command) = self.say(&open);
        self.hello_due = self.now + self.pace.hello_every;
        self.hello_is_wanted = false;
        // With nothing held there is nothing to be told; the hello still tells the gateway that we are here.
        if !open.is_empty() {
            let wait = self.window.deadline().min(Patience::first_max(self.pace.deadline_min));
            let patience = Patience::new(wait, self.now, &mut self.random);
            self.asked = Some(Asked { nonce, open, patience });
        }
        command
    }

    /// The answer is late, and the link lives: asks again for what of it is still to come, in the words of the first hello.
    /// That one may yet be recorded, by another gateway even after this one, and must not seem to speak of another
    /// buffer then. From now on only the new nonce's answer counts.
    pub(super) fn hello_again(&mut self) {
        let Some(mut asked) = self.asked.take() else { return };
        for open in &mut asked.open {
            (open.kept, open.settled) = (Ranges::new(), Ranges::new());
        }
        let (nonce, command) = self.say(&asked.open);
        asked.nonce = nonce;
        asked.patience.asked_again(self.now, &mut self.random);
        self.asked = Some(asked);
        self.commands.push_back(command);
    }

    fn say(&mut self, open: &[Open]) -> (Nonce, Command) {
        let nonce = Nonce(self.random.next().to_be_bytes());
        self.last_hello = Some(nonce);
        let epochs: Vec<Held> = open.iter().map(|open| open.claim.clone()).collect();
        let is_part = epochs.len() < self.epochs.len();
        self.window.ask();
        self.limiter.count(0, self.now);
        let hello = Hello { nonce, versions: (1, VERSION), epochs };
        (nonce, if is_part { Command::HelloPart(hello) } else { Command::Hello(hello) })
    }

    /// Whether `nonce` is that of the latest hello: whoever answers it has heard it.
    pub fn is_last_hello(&self, nonce: Nonce) -> bool {
        self.last_hello == Some(nonce)
    }

    fn held_of(&self, span: &EpochSpan) -> Open {
        let rows = self.rows_of(span);
        let mut ranges: Vec<Range> = rows.into_iter().flat_map(|rows| self.held.within(rows)).collect();
        // Too many to say: the oldest are joined, and what lies between them is looked for in the answer.
        let surplus = ranges.len().saturating_sub(HELLO_RANGES_MAX);
        let mut overclaimed = Ranges::new();
        if surplus > 0
            && let (Some(first), Some(kept)) = (ranges.first().map(|range| range.first), ranges.get_mut(surplus))
        {
            kept.first = first;
            overclaimed = self.held.missing_in(*kept);
        }
        ranges.drain(..surplus);
        let ranges = ranges.iter().map(|rows| Range { first: rows.first - span.base, last: rows.last - span.base });
        let next = rows.map_or(1, |rows| rows.last - span.base + 1);
        let claim = Held { epoch: span.epoch, ranges: ranges.collect(), next };
        Open { span: *span, claim, overclaimed, kept: Ranges::new(), settled: Ranges::new() }
    }

    /// The rows that `span`'s numbers 1 to the last can have.
    pub(super) fn rows_of(&self, span: &EpochSpan) -> Option<Range> {
        let later = self.epochs.iter().map(|later| later.base).filter(|base| *base > span.base).min();
        Range::new(span.base + 1, later.unwrap_or(self.next_row - 1))
    }

    /// A receipt answered the latest hello: what it leaves out is not settled, whatever was said before.
    pub(super) fn answered(&mut self, nonce: Nonce, epoch: Epoch, kept: &Ranges, settled: &Ranges, continued: bool) {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.nonce == nonce) else { return };
        let Some(place) = asked.open.iter().position(|open| open.span.epoch == epoch) else { return };
        asked.patience.answered_in_part(self.now, &mut self.random);
        if let Some(open) = asked.open.get_mut(place) {
            open.kept.extend(kept.iter());
            open.settled.extend(settled.iter());
        }
        if continued {
            return;
        }
        let open = asked.open.swap_remove(place);
        let done = asked.open.is_empty();
        self.uncover(&open.span, &open.kept);
        self.own_up(&open);
        if done {
            self.asked = None;
            if self.unasked.is_empty() {
                self.missed();
            } else {
                self.hello_is_wanted = true;
            }
        }
    }

    /// Sends again what was settled once and is no longer: the gateway was restored to an earlier day.
    fn uncover(&mut self, span: &EpochSpan, kept: &Ranges) {
        let Some(all) = self.rows_of(span) else { return };
        let gone: Ranges =
            self.settled.within(all).flat_map(|range| kept.missing_in(range).iter().collect::<Vec<_>>()).collect();
        if !gone.is_empty() {
            gone.iter().for_each(|rows| self.settled.remove(rows));
            self.requeue(&gone);
            self.commands.push_back(Command::Unmark(gone));
        }
    }

    /// The hello claimed more than is held, so the gateway waits for what neither end has. Says that it will not come.
    fn own_up(&mut self, open: &Open) {
        let mut lost: Ranges =
            open.overclaimed.iter().flat_map(|rows| open.settled.missing_in(rows).iter().collect::<Vec<_>>()).collect();
        self.gaps.iter().for_each(|rows| lost.remove(rows)); // told of with its own reason
        let EpochSpan { epoch, base, .. } = open.span;
        // What an earlier answer left to say, this one says too.
        self.unexplained.retain(|(of, _)| *of != epoch);
        for rows in lost.as_slice().chunks(NOTICE_ITEMS_MAX) {
            let numbers = rows.iter().map(|rows| Range { first: rows.first - base, last: rows.last - base }).collect();
            self.unexplained.push_back((epoch, numbers));
        }
    }
}
