//! The thread that owns the buffer, and the way to it from async code.

use std::thread::{self, JoinHandle};

use proto::{Clock, Range, Ranges};
use tokio::sync::{mpsc, oneshot};

use super::{Append, Appended, Buffer, BufferError, Parcel};
use crate::pulse::{Beat, Pulse};

/// Requests that may wait for the thread. There are two askers, sealer and uplink, and each waits for its answer.
const REQUESTS_MAX: usize = 8;

enum Request {
    Append(Append, oneshot::Sender<Result<Appended, BufferError>>),
    Peek {
        within: Range,
        newest_first: bool,
        bytes_max: usize,
        answer: oneshot::Sender<Result<Option<Parcel>, BufferError>>,
    },
    Gaps {
        within: Range,
        limit: usize,
        answer: oneshot::Sender<Result<Vec<proto::message::Gap>, BufferError>>,
    },
    SetAside(u64, String),
    #[cfg(feature = "seeded-bugs")]
    Forget(Range),
    Mark(Ranges),
    Unmark(Ranges, oneshot::Sender<Result<Ranges, BufferError>>),
    SetClock(Clock),
    CountForged(u64),
    Pulse(Beat, Pulse),
}

/// A way to the buffer's thread. The thread ends when all handles are gone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

impl Handle {
    /// Gives `buffer` a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn spawn(buffer: Buffer) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let thread = thread::Builder::new().name("buffer".into()).stack_size(512 * 1024);
        let thread = thread.spawn(move || serve(buffer, inbox))?;
        Ok((Self { requests }, thread))
    }

    /// See [`Buffer::append`].
    ///
    /// # Errors
    /// As there, or [`BufferError::Gone`].
    pub async fn append(&self, append: Append) -> Result<Appended, BufferError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Append(append, answer)).await?;
        answered.await.map_err(|_| BufferError::Gone)?
    }

    /// See [`Buffer::peek`].
    ///
    /// # Errors
    /// As there, or [`BufferError::Gone`].
    pub async fn peek(
        &self,
        within: Range,
        newest_first: bool,
        bytes_max: usize,
    ) -> Result<Option<Parcel>, BufferError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Peek { within, newest_first, bytes_max, answer }).await?;
        answered.await.map_err(|_| BufferError::Gone)?
    }

    /// See [`Buffer::gaps`].
    ///
    /// # Errors
    /// As there, or [`BufferError::Gone`].
    pub async fn gaps(&self, within: Range, limit: usize) -> Result<Vec<proto::message::Gap>, BufferError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Gaps { within, limit, answer }).await?;
        answered.await.map_err(|_| BufferError::Gone)?
    }

    /// See [`Buffer::set_aside`].
    ///
    /// # Errors
    /// [`BufferError::Gone`].
    pub async fn set_aside(&self, row: u64, reason: String) -> Result<(), BufferError> {
        self.ask(Request::SetAside(row, reason)).await
    }

    /// Lets go of `rows` as nothing but a seeded bug may.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) async fn forget(&self, rows: Range) -> Result<(), BufferError> {
        self.ask(Request::Forget(rows)).await
    }

    /// See [`Buffer::mark`].
    ///
    /// # Errors
    /// [`BufferError::Gone`].
    pub async fn mark(&self, rows: Ranges) -> Result<(), BufferError> {
        self.ask(Request::Mark(rows)).await
    }

    /// See [`Buffer::unmark`].
    ///
    /// # Errors
    /// As there, or [`BufferError::Gone`].
    pub async fn unmark(&self, rows: Ranges) -> Result<Ranges, BufferError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Request::Unmark(rows, answer)).await?;
        answered.await.map_err(|_| BufferError::Gone)?
    }

    /// See [`Buffer::set_clock`].
    ///
    /// # Errors
    /// [`BufferError::Gone`].
    pub async fn set_clock(&self, clock: Clock) -> Result<(), BufferError> {
        self.ask(Request::SetClock(clock)).await
    }

    /// See [`Buffer::count_forged`].
    ///
    /// # Errors
    /// [`BufferError::Gone`].
    pub async fn count_forged(&self, count: u64) -> Result<(), BufferError> {
        self.ask(Request::CountForged(count)).await
    }

    /// Has the thread answer `pulse` with `beat`, once it has done all that it was asked before. Does not wait for it.
    ///
    /// # Errors
    /// [`BufferError::Gone`].
    pub async fn pulse(&self, beat: Beat, pulse: Pulse) -> Result<(), BufferError> {
        self.ask(Request::Pulse(beat, pulse)).await
    }

    async fn ask(&self, request: Request) -> Result<(), BufferError> {
        self.requests.send(request).await.map_err(|_| BufferError::Gone)
    }
}

fn serve(mut buffer: Buffer, mut inbox: mpsc::Receiver<Request>) {
    while let Some(request) = inbox.blocking_recv() {
        // Who asked may have gone meanwhile; what was asked for is done all the same.
        let done = match request {
            Request::Append(append, answer) => {
                let _ = answer.send(buffer.append(&append));
                Ok(())
            }
            Request::Peek { within, newest_first, bytes_max, answer } => {
                let _ = answer.send(buffer.peek(within, newest_first, bytes_max));
                Ok(())
            }
            Request::Gaps { within, limit, answer } => {
                let _ = answer.send(buffer.gaps(within, limit));
                Ok(())
            }
            #[cfg(feature = "seeded-bugs")]
            Request::Forget(rows) => buffer.forget(rows),
            Request::SetAside(row, reason) => buffer.set_aside(row, &reason),
            Request::Mark(rows) => {
                buffer.mark(&rows);
                Ok(())
            }
            Request::Unmark(rows, answer) => {
                let _ = answer.send(buffer.unmark(&rows));
                Ok(())
            }
            Request::SetClock(clock) => buffer.set_clock(clock),
            Request::CountForged(count) => buffer.count_forged(count),
            Request::Pulse(beat, pulse) => {
                let _ = pulse.send(beat);
                Ok(())
            }
        };
        if let Err(error) = done {
            // Nothing is lost: a mark or a clock that is not written is learned again from the next hello.
            tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "the buffer could not be updated");
        }
    }
    if let Err(error) = buffer.finish() {
        tracing::warn!(%error, "the last receipts and counts could not be noted; the gateway will say the receipts again");
    }
}
