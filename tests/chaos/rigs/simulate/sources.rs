//! What devices read and lose, and what their buffers do with it.

use agent::buffer::{Append, Appended, Loss};
use agent::source::Priority;
use agent::uplink::session::Event;
use proto::message::GapReason;
use proto::{Basis, Lane};

use super::bodies::{Content, Offered};
use super::world::{What, World};

impl World {
    /// A device's sources have readings, or have lost some, and its buffer takes that in.
    pub(super) fn read(&mut self, at: usize) -> anyhow::Result<()> {
        if self.is_quiet {
            return Ok(());
        }
        let next = self.soon(if self.padding_max > 0 { 20 } else { 60 });
        self.plan(next, What::Read(at));
        if self.devices[at].running.is_none() {
            return Ok(());
        }
        let lane = if self.random.once_in(3) { Lane::Backfill } else { Lane::Live };
        let priority = self.random.of(&[Priority::Low, Priority::Normal, Priority::High]);
        let lost = if self.random.once_in(12) { self.random.between(1, 100) } else { 0 };
        // Most losses come with batches; some come alone.
        let count = if lost > 0 && self.random.once_in(3) { 0 } else { self.random.between(1, 5) };
        let contents: Vec<Content> = (0..count).map(|_| self.any_content(at)).collect();
        let batches = contents.iter().map(|content| content.sealed(lane, priority)).collect::<anyhow::Result<_>>()?;
        let loss = Loss { source: None, from: None, until: None, count: Some(lost), reason: GapReason::Overrun };
        let losses: Vec<Loss> = (lost > 0).then_some(loss).into_iter().collect();
        let Some(running) = &mut self.devices[at].running else { return Ok(()) };
        let next_row = running.next_row;
        let appended = running.buffer.append(&Append { batches, losses, ..Append::default() })?;
        running.next_row += count + u64::from(lost > 0);
        running.spans.extend(appended.began);
        self.write_down(at, next_row, &appended, contents, lost);
        self.log.note(
            self.now,
            format_args!("{at} accepts {:?}, loses {lost}, evicts {:?}", appended.rows, appended.evicted),
        );
        self.take_in(at, lane, appended)
    }

    /// The oracle's book has what the buffer now has, and no longer has. Rows are counted here too: those of the batches
    /// from `next_row` on, and then that of the loss.
    fn write_down(&mut self, at: usize, next_row: u64, appended: &Appended, contents: Vec<Content>, lost: u64) {
        let device = &self.devices[at];
        let Some(running) = &device.running else { return };
        for row in appended.evicted.iter().flat_map(|rows| rows.first..=rows.last) {
            if let Some((epoch, number)) = running.identity(row) {
                self.oracle.evicted(&device.name, epoch, number);
            }
        }
        let loss_row = next_row + contents.len() as u64;
        for (row, content) in (next_row..).zip(contents) {
            if let Some((epoch, number)) = running.identity(row) {
                self.oracle.accepted(&device.name, epoch, number, content);
            }
        }
        if let (1.., Some((epoch, number))) = (lost, running.identity(loss_row)) {
            self.oracle.lost(&device.name, epoch, number, device.clock.boot, lost);
        }
    }

    /// Tells the session, in the order in which the agent's shell does.
    fn take_in(&mut self, at: usize, lane: Lane, appended: Appended) -> anyhow::Result<()> {
        let Appended { rows, mut began, evicted, gaps } = appended;
        if !evicted.is_empty() {
            self.tell(at, Event::Evicted(evicted))?;
        }
        if let Some(rows) = rows {
            self.tell(at, Event::Accepted { rows, lane, began: began.take() })?;
        }
        if !gaps.is_empty() {
            self.tell(at, Event::Gaps { rows: gaps, began })?;
        }
        Ok(())
    }

    fn any_content(&mut self, at: usize) -> Content {
        let (uptime_us, true_us) = (self.devices[at].uptime_us(self.now), self.true_time_us());
        let count = self.random.between(1, 4);
        let readings = (0..count).map(|_| {
            self.last_value += 1;
            let source = self.random.once_in(3);
            // An origin may say any time at all, years off; two readings may be of one instant.
            let off = i64::try_from(self.random.between(0, 4)).unwrap_or(0) * 300 * 86_400 * 1_000_000;
            let (basis, time_us) = if source { (Basis::Source, true_us - off) } else { (Basis::Boot, uptime_us) };
            Offered { value: self.last_value, time_us, basis }
        });
        let readings = readings.collect();
        let padding = if self.padding_max == 0 { 0 } else { self.random.place(self.padding_max) + 21 };
        Content { boot: self.devices[at].clock.boot, readings, padding }
    }
}
