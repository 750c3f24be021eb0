//! A connection that ends when nothing goes on: a request that does not come whole, an answer that is not taken, silence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::door::{Bounds, Counters};

/// How long is waited for what.
#[derive(Debug)]
pub(super) struct Patience {
    request: Duration,
    idle: Duration,
    alarm: Pin<Box<Sleep>>,
    /// A request has begun, or the connection has, and no byte of an answer has been written.
    is_asked: bool,
    is_over: bool,
    counters: Arc<Counters>,
}

impl Patience {
    /// From now on, a first request is waited for.
    pub(super) fn new(bounds: Bounds, counters: Arc<Counters>) -> Self {
        let Bounds { request_deadline: request, idle_deadline: idle, .. } = bounds;
        Self { request, idle, alarm: Box::pin(sleep(request)), is_asked: true, is_over: false, counters }
    }

    /// From now on.
    pub(super) fn begun(mut self) -> Self {
        self.until(self.request);
        self
    }

    fn until(&mut self, span: Duration) {
        self.alarm.as_mut().reset(Instant::now() + span);
    }

    /// Bytes have come. More of the same request gain no time.
    fn heard(&mut self) {
        if !self.is_asked {
            self.is_asked = true;
            self.until(self.request);
        }
    }

    /// Bytes of an answer have gone.
    fn said(&mut self) {
        self.is_asked = false;
        self.until(self.idle);
    }

    /// Ready, with an error, once it is over.
    fn over(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.alarm.as_mut().poll(context));
        if !self.is_over {
            self.is_over = true;
            self.counters.one_stalled();
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

/// With TLS or without.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// A connection and its seat.
#[derive(Debug)]
pub struct Patient {
    stream: Stream,
    patience: Patience,
    #[expect(dead_code, reason = "given back when the connection ends")]
    seat: OwnedSemaphorePermit,
}

impl Patient {
    pub(super) fn new(stream: Stream, seat: OwnedSemaphorePermit, patience: Patience) -> Self {
        Self { stream, patience, seat }
    }
}

impl AsyncRead for Patient {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, patience, .. } = self.get_mut();
        let before = buffer.filled().len();
        let read = match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        match read {
            Poll::Pending => patience.over(context).map(Err),
            read => {
                if buffer.filled().len() > before {
                    patience.heard();
                }
                read
            }
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, patience, .. } = self.get_mut();
        let written = match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        match written {
            Poll::Pending => patience.over(context).map(Err),
            written => {
                if matches!(written, Poll::Ready(Ok(1..))) {
                    patience.said();
                }
                written
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, patience, .. } = self.get_mut();
        let flushed = match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Secure(stream) => Pin::new(stream).poll_flush(context),
        };
        if flushed.is_pending() { patience.over(context).map(Err) } else { flushed }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, patience, .. } = self.get_mut();
        let shut = match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        };
        if shut.is_pending() { patience.over(context).map(Err) } else { shut }
    }
}
