//! Bytes on their way to one client.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// What waits to be written, and since when. Whatever gathers between two writes leaves together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) bytes: BytesMut,
    /// Written to the TLS layer, which may still hold it.
    unflushed: bool,
    since: Option<Instant>,
    /// Those of `bytes` that the clock runs for: what was added later has its own time.
    timed: usize,
}

impl Outbox {
    /// Whether there is anything left to write. To be asked after each change: it starts the clock.
    pub(super) fn has_work(&mut self) -> bool {
        let work = self.unflushed || !self.bytes.is_empty();
        if !work {
            self.since = None;
        } else if self.since.is_none() || (self.timed == 0 && !self.bytes.is_empty()) {
            self.since = Some(Instant::now());
            self.timed = self.bytes.len();
        }
        work
    }

    /// When what waits longest must be gone.
    pub(super) fn deadline(&self, write_deadline: Duration) -> Option<Instant> {
        self.since.map(|since| since + write_deadline)
    }

    /// One step of writing. Cancel safe: what was not written stays.
    pub(super) async fn write(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.bytes.is_empty() {
            writer.flush().await?;
            self.unflushed = false;
        } else {
            let written = writer.write_buf(&mut self.bytes).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.timed = self.timed.saturating_sub(written);
            self.unflushed = true;
        }
        Ok(())
    }

    /// Writes all of it.
    pub(super) async fn drain(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while self.has_work() {
            self.write(writer).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, BufWriter, duplex};

    use super::*;

    #[tokio::test]
    async fn what_the_layer_below_holds_back_is_flushed_before_the_clock_stops() {
        let (near, mut far) = duplex(1024);
        let mut writer = BufWriter::new(near); // holds back, as TLS does
        let mut outbox = Outbox::default();
        outbox.bytes.extend_from_slice(b"last words");
        assert!(outbox.has_work() && outbox.deadline(Duration::ZERO).is_some());
        outbox.drain(&mut writer).await.unwrap();
        assert!(outbox.deadline(Duration::ZERO).is_none());
        drop(writer); // what it still held is lost
        let mut heard = [0; 10];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"last words");
    }

    #[tokio::test]
    async fn a_client_that_always_has_more_to_read_is_given_time_for_it() {
        let (mut writer, mut far) = duplex(100);
        let mut outbox = Outbox::default();
        outbox.bytes.extend_from_slice(&[7; 50]);
        let (mut deadlines, mut scrap) = (Vec::new(), [0; 100]);
        for _ in 0..20 {
            outbox.bytes.extend_from_slice(&[7; 100]); // before the last of it has left
            assert!(outbox.has_work());
            deadlines.push(outbox.deadline(Duration::ZERO).unwrap());
            outbox.write(&mut writer).await.unwrap();
            assert_eq!(outbox.bytes.len(), 50);
            far.read_exact(&mut scrap).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await; // so that the clock moves
        }
        deadlines.dedup();
        assert_eq!(deadlines.len(), 10, "each time that all is gone which the clock ran for");
        assert!(outbox.has_work());
        let last = outbox.deadline(Duration::ZERO);
        outbox.bytes.extend_from_slice(&[7; 100]);
        assert!(outbox.has_work() && outbox.deadline(Duration::ZERO) == last, "to be told more gives no time");
    }
}
