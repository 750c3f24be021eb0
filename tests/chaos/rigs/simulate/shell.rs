//! What stands between the agent's session and the world, as the agent's own shell does it: commands are performed,
//! and what happens is told. The one place that knows the session's words.

use agent::uplink::session::{Command, Event};
use proto::message::{Gap, GapReason, NOTICE_ITEMS_MAX, Notice, Receipt};
use proto::{Channel, Epoch, Lane, Quality, Range};

use super::network::Message;
use super::world::World;
use crate::rig::Fault;

impl World {
    /// Has the session of `at` know what happened, and does what it wants then.
    pub(super) fn tell(&mut self, at: usize, event: Event) -> anyhow::Result<()> {
        let now = self.instant();
        if let Some(running) = &mut self.devices[at].running {
            running.session.handle(event, now);
        }
        self.obey(at)
    }

    /// Does what the session of `at` wants.
    pub(super) fn obey(&mut self, at: usize) -> anyhow::Result<()> {
        loop {
            let Some(running) = &mut self.devices[at].running else { return Ok(()) };
            let Some(command) = running.session.next_command() else { return Ok(()) };
            self.perform(at, command)?;
        }
    }

    fn perform(&mut self, at: usize, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Dial => self.dial(at),
            Command::HangUp => self.hang_up(at),
            Command::Hello(hello) => {
                let epochs: Vec<usize> = hello.epochs.iter().map(|held| self.log.epoch(held.epoch)).collect();
                self.log.note(
                    self.now,
                    format_args!(
                        "{at} hello {epochs:?} {:?}",
                        hello.epochs.last().map(|held| (&held.ranges, held.next))
                    ),
                );
                self.send(at, Channel::Hello, Notice::Hello(hello).encode());
            }
            Command::HelloPart(hello) => {
                self.log.note(self.now, format_args!("{at} hello, a part of {} epochs", hello.epochs.len()));
                self.send(at, Channel::Hello, Notice::HelloPart(hello).encode());
            }
            Command::Gaps(within) => self.tell_gaps(at, within)?,
            Command::Unexplained { epoch, numbers } => {
                let of = self.log.epoch(epoch);
                self.log.note(self.now, format_args!("{at} cannot explain {numbers:?} of {of}"));
                let gaps = numbers.iter().take(NOTICE_ITEMS_MAX).map(|numbers| unexplained(epoch, numbers)).collect();
                self.send(at, Channel::Hello, Notice::Gaps(gaps).encode());
            }
            Command::Publish { within, lane, bytes_max } => self.publish(at, within, lane, bytes_max)?,
            Command::Mark(rows) => {
                if let Some(running) = &mut self.devices[at].running {
                    running.buffer.mark(&rows);
                    running.marked.extend(rows.iter());
                }
            }
            Command::Unmark(rows) => {
                self.log.note(self.now, format_args!("{at} unmarks {rows:?}"));
                let now = self.instant();
                if let Some(running) = &mut self.devices[at].running {
                    let open = running.buffer.unmark(&rows)?;
                    rows.iter().for_each(|rows| running.marked.remove(rows));
                    running.session.handle(Event::Gaps { rows: open, began: None }, now);
                }
            }
            Command::SetAside { rows, reason } => {
                self.log.note(self.now, format_args!("{at} sets {rows:?} aside: {reason}"));
                // Every batch here can be taken.
                let seed = self.seed;
                self.found
                    .fault(Fault::Lost, rows.count(), || format!("seed {seed}: {at} sets {rows:?} aside: {reason}"));
                if let Some(running) = &mut self.devices[at].running {
                    for row in rows.first..=rows.last {
                        running.buffer.set_aside(row, reason)?;
                    }
                }
            }
            Command::Alarm { row, reason } => self.log.note(self.now, format_args!("{at} alarm {row} {reason:?}")),
        }
        Ok(())
    }

    fn publish(&mut self, at: usize, within: Range, lane: Lane, bytes_max: usize) -> anyhow::Result<()> {
        let Some(running) = &mut self.devices[at].running else { return Ok(()) };
        let event = match running.buffer.peek(within, lane == Lane::Live, bytes_max)? {
            None => Event::NotThere(within),
            Some(mut parcel) => {
                parcel.frame.header.lane = lane;
                let epoch = self.log.epoch(parcel.frame.header.epoch);
                let payload = parcel.frame.encode();
                let bytes = payload.len();
                self.log.note(self.now, format_args!("{at} sends {:?} of {epoch} {lane:?}", parcel.frame.numbers()));
                self.send(at, Channel::Batch, payload);
                Event::Published { rows: parcel.rows, bytes, lane }
            }
        };
        self.tell_only(at, event);
        Ok(())
    }

    /// One notice of the first gaps of `within`.
    fn tell_gaps(&mut self, at: usize, within: Range) -> anyhow::Result<()> {
        let Some(running) = &mut self.devices[at].running else { return Ok(()) };
        let gaps = running.buffer.gaps(within, NOTICE_ITEMS_MAX)?;
        let row = |gap: &Gap| running.session.row_of(gap.epoch?, gap.range?.last);
        let last = if gaps.len() < NOTICE_ITEMS_MAX { None } else { gaps.iter().filter_map(row).max() };
        let rows = last.and_then(|last| Range::new(within.first, last.min(within.last))).unwrap_or(within);
        let sent = !gaps.is_empty();
        self.log.note(self.now, format_args!("{at} tells {} gaps of {within:?}", gaps.len()));
        if sent {
            self.send(at, Channel::Hello, Notice::Gaps(gaps).encode());
        }
        self.tell_only(at, Event::Told { rows, sent });
        Ok(())
    }

    /// As [`World::tell`], for who is being obeyed already.
    pub(super) fn tell_only(&mut self, at: usize, event: Event) {
        let now = self.instant();
        if let Some(running) = &mut self.devices[at].running {
            running.session.handle(event, now);
        }
    }

    /// A receipt has reached the agent.
    pub(super) fn reaches_agent(&mut self, message: &Message) -> anyhow::Result<()> {
        let at = self.network.connections[message.connection].device;
        if self.devices[at].connection != Some(message.connection) {
            return Ok(());
        }
        let receipt = Receipt::decode(&message.payload)?;
        let now = self.now;
        let device = &mut self.devices[at];
        if receipt.nonce.is_some() {
            device.told_at = now;
        }
        if receipt.nonce.is_some() && device.clock.quality == Quality::Unset {
            device.clock.offset_us = receipt.gateway_time.0.saturating_sub(device.uptime_us(now));
            device.clock.quality = Quality::Synced;
            self.oracle.clock(device.clock.boot, device.clock.offset_us);
            if let Some(running) = &mut device.running {
                running.buffer.set_clock(device.clock)?;
            }
        }
        let epoch = self.log.epoch(receipt.epoch);
        self.log.note(self.now, format_args!("{at} hears of {epoch}: {:?}", receipt.ranges.len()));
        self.tell(at, Event::Receipt(receipt))
    }

    /// Starts the agent of `at`, if it does not run.
    pub(super) fn start_agent(&mut self, at: usize) -> anyhow::Result<()> {
        if self.devices[at].running.is_some() {
            return Ok(());
        }
        self.log.note(self.now, format_args!("{at} starts"));
        let (seed, now) = (self.random.next(), self.instant());
        self.devices[at].start(seed, now)?;
        self.obey(at)
    }
}

/// Numbers that are neither in the buffer nor at the gateway.
fn unexplained(epoch: Epoch, numbers: Range) -> Gap {
    Gap {
        epoch: Some(epoch),
        range: Some(numbers),
        source: None,
        from: None,
        until: None,
        boot: None,
        count: None,
        reason: GapReason::Unexplained,
    }
}
