//! What stands between the agent's session and the world, as the agent's own shell does it: commands are performed,
//! and what happens is told. The one place that knows the session's words.

use agent::buffer::Append;
use agent::uplink::session::{Command, Event};
use proto::message::{Gap, GapReason, NOTICE_ITEMS_MAX, Notice, Receipt};
use proto::{Basis, Channel, Epoch, Lane, Quality, Range};

use super::bodies::{Content, Offered};
use super::network::{Message, SECOND};
use super::world::{What, World};

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

    fn dial(&mut self, at: usize) {
        let connection = self.network.dial(at);
        self.devices[at].connection = Some(connection);
        self.log.note(self.now, format_args!("{at} dials {connection}"));
        let reachable = self.cloud.is_running() && self.devices[at].offline_until <= self.now;
        let when = self.soon(if self.is_quiet { 1 } else { 3 });
        if reachable {
            self.plan(when, What::Stands(connection));
        } else if self.random.once_in(2) {
            self.plan(when, What::DialFails(connection));
        } // else nobody answers at all, and the session must see to it
    }

    /// The agent ends its connection; the gateway may learn it late.
    fn hang_up(&mut self, at: usize) {
        if let Some(connection) = self.devices[at].connection.take() {
            self.log.note(self.now, format_args!("{at} hangs up {connection}"));
            self.agent_leaves(connection);
        }
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

    /// Publishes; a connection that takes nothing is lost.
    fn send(&mut self, at: usize, channel: Channel, payload: Vec<u8>) {
        let Some(connection) = self.devices[at].connection else { return self.tell_only(at, Event::Lost) };
        let message = Message { connection, channel, payload: payload.into() };
        let [first, again] = self.network.send_up(connection, self.now, self.weather, &mut self.random);
        if let Some(when) = first {
            self.plan(when, What::Up(message.clone()));
        }
        // A hello is not said again: its words are true only when they are said.
        if let (Some(when), true) = (again, channel == Channel::Batch) {
            self.plan(when, What::UpAgain(message));
        }
    }

    /// As [`World::tell`], for who is being obeyed already.
    fn tell_only(&mut self, at: usize, event: Event) {
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

    /// A device's sources have readings, which its buffer accepts.
    pub(super) fn read(&mut self, at: usize) -> anyhow::Result<()> {
        if self.is_quiet {
            return Ok(());
        }
        let next = self.soon(60);
        self.plan(next, What::Read(at));
        if self.devices[at].running.is_none() {
            return Ok(());
        }
        let lane = if self.random.once_in(3) { Lane::Backfill } else { Lane::Live };
        let contents: Vec<Content> = (0..self.random.between(1, 5)).map(|_| self.any_content(at)).collect();
        let batches = contents.iter().map(|content| content.sealed(lane)).collect::<anyhow::Result<_>>()?;
        let Some(running) = &mut self.devices[at].running else { return Ok(()) };
        let appended = running.buffer.append(&Append { batches, ..Append::default() })?;
        running.spans.extend(appended.began);
        let name = self.devices[at].name.clone();
        let Some(running) = &self.devices[at].running else { return Ok(()) };
        for row in appended.evicted.iter().flat_map(|rows| rows.first..=rows.last) {
            if let Some((epoch, number)) = running.identity(row) {
                self.oracle.evicted(&name, epoch, number);
            }
        }
        let Some(rows) = appended.rows else { return Ok(()) };
        for (row, content) in (rows.first..=rows.last).zip(contents) {
            if let Some((epoch, number)) = running.identity(row) {
                self.oracle.accepted(&name, epoch, number, content);
            }
        }
        self.log.note(self.now, format_args!("{at} accepts {rows:?}, evicts {:?}", appended.evicted));
        if !appended.evicted.is_empty() {
            self.tell(at, Event::Evicted(appended.evicted))?;
        }
        self.tell(at, Event::Accepted { rows, lane, began: appended.began })?;
        if !appended.gaps.is_empty() {
            self.tell(at, Event::Gaps { rows: appended.gaps, began: None })?;
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

    /// The agent knows that its connection has ended.
    pub(super) fn agent_loses(&mut self, connection: usize) -> anyhow::Result<()> {
        let at = self.network.connections[connection].device;
        if self.devices[at].connection != Some(connection) {
            return Ok(());
        }
        self.devices[at].connection = None;
        self.agent_leaves(connection);
        self.tell(at, Event::Lost)
    }

    /// The agent's end is closed: what it sent may still arrive for a moment, and the gateway learns of it some time.
    pub(super) fn agent_leaves(&mut self, connection: usize) {
        let until = self.soon(2);
        self.network.silence(connection, until);
        self.network.connections[connection].agent_has_it = false;
        let learns = until + self.random.between(0, 45 * SECOND);
        self.plan(learns, What::GatewayLoses(connection));
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
