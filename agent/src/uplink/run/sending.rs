//! What the session orders: dialling, frames and notices out of the buffer, marks in it.

use std::time::Instant;

use proto::message::{Gap, GapReason, NOTICE_ITEMS_MAX, Notice};
use proto::{Channel, Epoch, FRAME_BYTES_MAX, Lane, Range, Ranges};
use tracing::{debug, error, warn};

use super::super::Settings;
use super::super::mqtt::Connection;
use super::super::reason::Reason;
use super::super::session::{Command, Event};
use super::Shell;
use crate::buffer::BufferError;

impl Shell {
    pub(super) async fn perform(&mut self, command: Command) -> Result<(), BufferError> {
        match command {
            Command::Dial => {
                let Settings { host, port, pace, .. } = &self.settings;
                debug!(%host, port, "connecting");
                let tls = self.tls.clone();
                self.connection = Some(Connection::dial(&self.device, host, *port, tls, pace.keep_alive));
            }
            Command::HangUp => {
                self.tell_down(&Reason::of("hung up: the gateway was silent, or answered no hello, for too long"));
                self.connection = None;
            }
            Command::Hello(hello) => self.ask(&Notice::Hello(hello)),
            Command::HelloPart(hello) => self.ask(&Notice::HelloPart(hello)),
            Command::Gaps(within) => self.tell_gaps(within).await?,
            Command::Unexplained { epoch, numbers } => {
                error!(%epoch, batches = numbers.count(), "batches are neither here nor at the gateway");
                let gaps = numbers.iter().map(|numbers| unexplained(epoch, numbers)).collect();
                self.send(Channel::Hello, Notice::Gaps(gaps).encode());
            }
            Command::Publish { within, lane, bytes_max } => self.publish(within, lane, bytes_max).await?,
            Command::Mark(rows) => self.buffer.mark(rows).await?,
            Command::Unmark(rows) => self.unmark(rows).await?,
            Command::SetAside { rows, reason } => {
                error!(?rows, reason, "set aside: this stays in the buffer and is not sent again");
                for row in rows.first..=rows.last {
                    self.buffer.set_aside(row, reason.to_owned()).await?;
                }
            }
            Command::Alarm { row, reason } => {
                error!(
                    row,
                    ?reason,
                    "the gateway refused a batch; it stays in the buffer: see `tributary-agent buffer show`"
                );
            }
        }
        Ok(())
    }

    /// Says hello: the answer's time is of a moment after this one.
    fn ask(&mut self, hello: &Notice) {
        self.asked_at = self.clock.now();
        self.send(Channel::Hello, hello.encode());
    }

    async fn publish(&mut self, within: Range, lane: Lane, bytes_max: usize) -> Result<(), BufferError> {
        self.keep_clock(self.clock.for_sending()).await?;
        let event = match self.buffer.peek(within, lane == Lane::Live, bytes_max).await {
            Err(BufferError::Gone) => return Err(BufferError::Gone),
            Err(error) => {
                error!(%error, cause = ?std::error::Error::source(&error), "a batch cannot be read; trying again later");
                Event::NotRead
            }
            Ok(None) => Event::NotThere(within),
            Ok(Some(mut parcel)) => {
                parcel.frame.header.lane = lane;
                let payload = parcel.frame.encode();
                let bytes = payload.len();
                if bytes > FRAME_BYTES_MAX {
                    Event::TooLarge(parcel.rows)
                } else {
                    self.send(Channel::Batch, payload);
                    Event::Published { rows: parcel.rows, bytes, lane }
                }
            }
        };
        self.session.handle(event, Instant::now());
        Ok(())
    }

    async fn tell_gaps(&mut self, within: Range) -> Result<(), BufferError> {
        let event = match self.buffer.gaps(within, NOTICE_ITEMS_MAX).await {
            Err(BufferError::Gone) => return Err(BufferError::Gone),
            Err(error) => {
                error!(%error, cause = ?std::error::Error::source(&error), "gaps cannot be read; trying again later");
                Event::NotRead
            }
            Ok(gaps) => {
                let rows = if gaps.len() < NOTICE_ITEMS_MAX { within } else { self.told_of(within, &gaps) };
                let sent = !gaps.is_empty();
                if sent {
                    self.send(Channel::Hello, Notice::Gaps(gaps).encode());
                }
                Event::Told { rows, sent }
            }
        };
        self.session.handle(event, Instant::now());
        Ok(())
    }

    /// The gateway was restored to an earlier day: it gets again what it lacks, and is told of all gaps again, for it would
    /// find no reason for them by itself.
    async fn unmark(&mut self, rows: Ranges) -> Result<(), BufferError> {
        warn!(batches = rows.count(), "the gateway no longer has what it had; sending it again");
        match self.buffer.unmark(rows).await {
            Err(BufferError::Gone) => return Err(BufferError::Gone),
            Err(error) => {
                // Nothing is lost: the buffer knows it, lets none of it go as settled, and writes it with the next append.
                error!(%error, cause = ?std::error::Error::source(&error), "what the gateway lacks cannot be written down yet");
            }
            Ok(rows) => self.session.handle(Event::Gaps { rows, began: None }, Instant::now()),
        }
        Ok(())
    }

    /// The part of `within` that a full notice is about: all up to its last gap.
    fn told_of(&self, within: Range, gaps: &[Gap]) -> Range {
        let row = |gap: &Gap| self.session.row_of(gap.epoch?, gap.range?.last);
        let last = gaps.iter().filter_map(row).max();
        last.and_then(|last| Range::new(within.first, last.min(within.last))).unwrap_or(within)
    }

    /// Publishes, or else treats the connection as lost.
    pub(super) fn send(&mut self, channel: Channel, payload: Vec<u8>) {
        let sent = self.connection.as_ref().is_some_and(|connection| connection.publish(channel, payload).is_ok());
        let event = if sent {
            Event::Leaving
        } else {
            self.connection = None;
            Event::Lost
        };
        self.session.handle(event, Instant::now());
    }
}

fn unexplained(epoch: Epoch, numbers: Range) -> Gap {
    let (source, from, until, boot, count) = (None, None, None, None, None);
    Gap { epoch: Some(epoch), range: Some(numbers), source, from, until, boot, count, reason: GapReason::Unexplained }
}
