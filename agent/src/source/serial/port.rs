//! One opening of the port.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::{DataBits, SerialPortBuilderExt, SerialStream, StopBits};

use super::{Parity, Settings};

/// An end of input may be a hiccup of the driver: it is believed when it is still there after this.
const SUSPECT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that come sooner than this after opening belong to a line that had begun before: at 300 baud, the slowest in
/// use, a character takes 33 ms.
pub(super) const CUT_WITHIN: Duration = Duration::from_millis(40);

/// The open port. Dropping it closes it; nothing waits for output, because nothing is written.
pub(super) struct Port {
    stream: SerialStream,
    opened: Instant,
    /// Whether the last read gave nothing.
    suspect: bool,
}

/// What a read gave.
#[derive(Debug)]
pub(super) enum Heard {
    /// That many bytes, so long after opening.
    Bytes(usize, Duration),
    /// Nothing in the time given.
    Silence,
    /// The port is gone.
    Lost(String),
}

impl Port {
    /// Opens the port for this process alone.
    pub(super) fn open(settings: &Settings) -> Result<Self, tokio_serial::Error> {
        let data_bits = match settings.data_bits {
            5 => DataBits::Five,
            6 => DataBits::Six,
            7 => DataBits::Seven,
            _ => DataBits::Eight,
        };
        let parity = match settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        };
        let stop_bits = if settings.stop_bits == 2 { StopBits::Two } else { StopBits::One };
        let builder = tokio_serial::new(&settings.port, settings.baud);
        let stream = builder.data_bits(data_bits).parity(parity).stop_bits(stop_bits).open_native_async()?;
        Ok(Self { stream, opened: Instant::now(), suspect: false })
    }

    /// Waits for bytes, at most so long. It may be dropped while waiting; nothing is lost then.
    pub(super) async fn read(&mut self, buffer: &mut [u8], patience: Duration) -> Heard {
        loop {
            match timeout(patience, self.stream.read(buffer)).await {
                Err(_) => return Heard::Silence,
                Ok(Ok(0)) if self.suspect => return Heard::Lost("the port has ended".into()),
                Ok(Ok(0)) => {
                    self.suspect = true;
                    sleep(SUSPECT_PAUSE).await;
                }
                Ok(Ok(count)) => {
                    self.suspect = false;
                    return Heard::Bytes(count, self.opened.elapsed());
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Heard::Lost(error.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One end of a terminal pair reports the other end's going as an input/output error, as an unplugged adapter does.
    #[tokio::test]
    async fn an_error_and_a_lasting_end_of_input_are_both_a_loss() {
        let (near, far) = SerialStream::pair().unwrap();
        let mut port = Port { stream: near, opened: Instant::now(), suspect: false };
        assert!(matches!(port.read(&mut [0; 8], Duration::from_millis(20)).await, Heard::Silence));
        drop(far);
        let heard = timeout(Duration::from_secs(20), port.read(&mut [0; 8], Duration::from_secs(60))).await.unwrap();
        assert!(matches!(&heard, Heard::Lost(problem) if problem.contains("os error 5")), "{heard:?}");

        let (near, far) = SerialStream::pair().unwrap();
        let mut port = Port { stream: far, opened: Instant::now(), suspect: false };
        drop(near);
        let heard = timeout(Duration::from_secs(20), port.read(&mut [0; 8], Duration::from_secs(60))).await.unwrap();
        assert!(matches!(&heard, Heard::Lost(_)), "{heard:?}");
    }
}
