//! What receipts mean for what is sent.

use proto::message::{Receipt, Refusal, Settlement};
use proto::{Range, Ranges};

use super::suspects::Verdict;
use super::{Command, Session};
use crate::seeded::Bug;

impl Session {
    pub(super) fn receipt(&mut self, receipt: &Receipt) {
        self.limiter.count(0, self.now);
        let Some(span) = self.epochs.iter().find(|span| span.epoch == receipt.epoch).copied() else { return };
        let all = self.rows_of(&span); // none of an epoch without rows, whose answer counts all the same
        // A gateway cannot settle what was never numbered.
        let rows = |range: Range| {
            let first = range.first.checked_add(span.base)?;
            Range::new(first, range.last.saturating_add(span.base))?.intersect(all?)
        };
        let (mut kept, mut settled) = (Ranges::new(), Ranges::new());
        for said in &receipt.ranges {
            let Some(rows) = rows(said.range) else { continue };
            settled.insert(rows);
            if said.state != Settlement::Gap {
                kept.insert(rows);
            }
        }
        for refused in &receipt.refused {
            if let Some(row) = rows(Range::one(refused.number)) {
                self.refuse(row, refused.reason);
            }
        }
        // Another body under the same number may be settled; ours is not.
        self.aside.iter().for_each(|rows| kept.remove(rows));
        self.settle(&kept, &settled);
        if let Some(asked) = &mut self.asked {
            asked.patience.put_off(self.now);
        }
        if let Some(nonce) = receipt.nonce {
            self.answered(nonce, receipt.epoch, &kept, &settled, receipt.continued);
        }
    }

    /// `kept` is safe at the gateway: it is not sent (again), and may leave the buffer. Gaps are confirmed by all that is
    /// `settled`. What the gateway takes for a gap and we hold is no gap: it goes out, and takes the gap back.
    fn settle(&mut self, kept: &Ranges, settled: &Ranges) {
        let mut news = Ranges::new();
        for range in kept.iter() {
            for held in self.held.within(range) {
                news.extend(self.settled.missing_in(held).iter());
            }
            self.lanes.remove(range);
        }
        self.settled.extend(news.iter());
        if !news.is_empty() {
            self.suspects.clear(&news);
            self.silence.settled();
        }
        self.window.settle(&self.settled, self.now);
        let confirmed: Ranges = settled.iter().flat_map(|range| self.gaps.within(range).collect::<Vec<_>>()).collect();
        if !confirmed.is_empty() {
            confirmed.iter().for_each(|rows| self.gaps.remove(rows));
            self.telling.confirmed(&self.gaps, self.now + self.window.deadline());
            news.extend(confirmed.iter());
        }
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
        match reason {
            Refusal::QuarantineFull => self.resting.insert(row),
            Refusal::Conflict => self.set_aside(row, "the gateway has another batch under its number"),
            Refusal::TooLarge => self.set_aside(row, "it is larger than the gateway takes"),
        }
        self.lanes.remove(row);
        // Its frame has had its answer; the rest of it waits for its own receipt, or is sent again.
        let others = self.window.drop_touching(&[row].into_iter().collect());
        self.requeue(&others);
    }

    /// The answer to a hello lacks frames that it should have had. They go again; what is lacking time and again rests.
    pub(super) fn missed(&mut self) {
        for rows in self.window.lost() {
            if self.suspects.missed(rows) == Verdict::Rest {
                self.resting.insert(rows);
            }
            self.requeue(&[rows].into_iter().collect());
        }
    }

    /// The connection died with frames under way. Most often that is no fault of theirs, see [`super::suspects`].
    pub(super) fn died(&mut self) {
        let flights: Vec<Range> = self.window.rows().collect();
        let to_blame = self.suspects.died(&flights);
        let under_way = self.window.clear();
        if !Bug::NoRedrive.is_on() {
            self.requeue(&under_way);
        }
        if let Some((rows, Verdict::Aside)) = to_blame {
            self.set_aside(rows, "connections die whenever it is sent, and only then");
        }
    }

    /// `rows` stay in the buffer and are not sent again, not even after a restart.
    pub(super) fn set_aside(&mut self, rows: Range, reason: &'static str) {
        self.aside.insert(rows);
        self.lanes.remove(rows);
        self.suspects.clear(&[rows].into_iter().collect());
        self.commands.push_back(Command::SetAside { rows, reason });
    }

    /// What was lost on the way is history by the time it goes again.
    pub(super) fn requeue(&mut self, rows: &Ranges) {
        for range in rows.iter() {
            for held in self.held.within(range).collect::<Vec<_>>() {
                self.settled.missing_in(held).iter().for_each(|rows| self.lanes.add(proto::Lane::Backfill, rows));
            }
        }
        let others = self.aside.iter().chain(self.resting.iter()).chain(self.suspects.waiting());
        others.for_each(|rows| self.lanes.remove(rows));
    }
}
