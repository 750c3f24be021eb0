//! What goes into the session, and what comes out.

use proto::message::{Hello, Receipt, Refusal};
use proto::{Epoch, Lane, Range, Ranges};

use crate::buffer::EpochSpan;

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
    /// Rows will never come: the gateway is to be told.
    Gaps {
        /// Which rows.
        rows: Ranges,
        /// The epoch that begins with them.
        began: Option<EpochSpan>,
    },
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
    /// Rows that were to be published cannot be read now; the connection is given up for a while.
    NotRead,
    /// A frame is larger than any broker takes, so it was not sent.
    TooLarge(Range),
    /// What the buffer knows of these gaps is said; there was something to say if `sent`.
    Told {
        /// Which rows, of those that were asked for.
        rows: Range,
        /// Whether a notice went out.
        sent: bool,
    },
    /// The gateway said something.
    Receipt(Receipt),
    /// Anything at all came in: the link lives.
    Heard,
    /// A message was handed to the connection and has not left the program yet. Who never says so sends at once.
    Leaving,
    /// The oldest message that was leaving has left.
    Left,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connect; answer with [`Event::Connected`] or [`Event::Lost`].
    Dial,
    /// End the connection; no answer is awaited.
    HangUp,
    /// Publish this: what is held of all epochs.
    Hello(Hello),
    /// Publish this: what is held of some epochs.
    HelloPart(Hello),
    /// Publish one notice of the first gaps of this range; answer with [`Event::Told`].
    Gaps(Range),
    /// Publish one notice that these numbers will never come, and nobody knows why.
    Unexplained {
        /// The epoch that they are of.
        epoch: Epoch,
        /// Which numbers: as many ranges as one notice holds, at most.
        numbers: Ranges,
    },
    /// Publish a frame out of `within`; answer with [`Event::Published`], [`Event::NotThere`], [`Event::NotRead`] or
    /// [`Event::TooLarge`].
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
    /// Note that nobody can take these rows: they stay in the buffer and are not sent again.
    SetAside {
        /// Which rows.
        rows: Range,
        /// Why.
        reason: &'static str,
    },
    /// Tell a person: a batch was refused.
    Alarm {
        /// Which batch.
        row: u64,
        /// Why.
        reason: Refusal,
    },
}
