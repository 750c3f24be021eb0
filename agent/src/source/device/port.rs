//! One opening of the port.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_serial::{ClearBuffer, DataBits, SerialPort, SerialPortBuilderExt, SerialStream, StopBits};

#[cfg(feature = "programs")]
use super::program::{Program, Running};
use super::{Link, Parity, TCP, ports};

/// An end of input may be a hiccup of the driver: it is believed when it is still there after this.
const SUSPECT_PAUSE: Duration = Duration::from_millis(5);
/// How long a TCP connection may take to be made.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long what a codec writes may take to be taken: requests are short, and a port that takes nothing is stuck.
const WRITE_TIME: Duration = Duration::from_secs(3);
/// How long it may take to find out why a port cannot be opened; without it, less is said.
const ADVICE_TIME: Duration = Duration::from_secs(2);

/// How long closing a port may take before that is worth a word.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// The open port. It is to be closed with [`Port::close`]: dropping it may block.
pub(super) struct Port {
    stream: Stream,
    /// Whether the last read gave nothing.
    suspect: bool,
}

enum Stream {
    Serial(SerialStream),
    Tcp(TcpStream),
    #[cfg(feature = "programs")]
    Program(Running),
}

/// What a read gave.
#[derive(Debug)]
pub(super) enum Heard {
    /// That many bytes.
    Bytes(usize),
    /// Nothing in the time given.
    Silence,
    /// The port is gone.
    Lost(String),
}

impl Port {
    /// Opens the port for this process alone. Fails with what is wrong and what to do.
    pub(super) async fn open(link: &Link) -> Result<Self, String> {
        let stream = match link.port.strip_prefix(TCP) {
            Some(address) => Stream::Tcp(connect(address).await?),
            None => match serial(link) {
                Ok(stream) => Stream::Serial(stream),
                Err(error) => return Err(cannot_open(link.clone(), error).await),
            },
        };
        Ok(Self { stream, suspect: false })
    }

    /// Runs a program in the place of a port. Fails with what is wrong and what to do.
    #[cfg(feature = "programs")]
    pub(super) fn start(program: &Program) -> Result<Self, String> {
        Ok(Self { stream: Stream::Program(Running::start(program)?), suspect: false })
    }

    /// Waits for bytes, at most so long. It may be dropped while waiting; nothing is lost then.
    pub(super) async fn read(&mut self, buffer: &mut [u8], patience: Duration) -> Heard {
        loop {
            let read = async {
                match &mut self.stream {
                    Stream::Serial(stream) => stream.read(buffer).await,
                    Stream::Tcp(stream) => stream.read(buffer).await,
                    #[cfg(feature = "programs")]
                    Stream::Program(program) => program.read(buffer).await,
                }
            };
            match timeout(patience, read).await {
                Err(_) => return Heard::Silence,
                Ok(Ok(0)) if self.suspect || matches!(self.stream, Stream::Tcp(_)) => {
                    return Heard::Lost("the port has ended".into());
                }
                Ok(Ok(0)) => {
                    #[cfg(feature = "programs")]
                    if let Stream::Program(program) = &mut self.stream {
                        return Heard::Lost(program.ended().await);
                    }
                    self.suspect = true;
                    sleep(SUSPECT_PAUSE).await;
                }
                Ok(Ok(count)) => {
                    self.suspect = false;
                    return Heard::Bytes(count);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Heard::Lost(error.to_string()),
            }
        }
    }

    /// Gives `bytes` to the system, which sends them.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let write = async {
            match &mut self.stream {
                Stream::Serial(stream) => stream.write_all(bytes).await,
                Stream::Tcp(stream) => stream.write_all(bytes).await,
                #[cfg(feature = "programs")]
                Stream::Program(_) => Ok(()), // who reads lines writes nothing
            }
        };
        match timeout(WRITE_TIME, write).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err(format!("takes no bytes for {} s; is flow control on?", WRITE_TIME.as_secs())),
        }
    }
}

impl Port {
    /// Closes the port and waits until it is; `late` is called where that takes long.
    ///
    /// A driver may keep whoever closes its port for half a minute (`closing_wait`), while a stuck adapter does not take what
    /// was written to it. So that is thrown away first; as not every driver can, closing is left to another thread: this
    /// one serves all sources. Opening the same port meanwhile would wait as long.
    pub(super) async fn close(self, late: impl FnOnce()) {
        if let Stream::Serial(stream) = self.stream {
            let _ = stream.clear(ClearBuffer::Output); // one that was unplugged has nothing left
            drop_aside(stream, CLOSE_TIME, late).await;
        }
    }
}

/// Drops `what` on a thread where that may block, and waits for it; `late` is called after `patience`.
async fn drop_aside(what: impl Send + 'static, patience: Duration, late: impl FnOnce()) {
    let mut dropping = spawn_blocking(move || drop(what));
    if timeout(patience, &mut dropping).await.is_err() {
        late();
        let _ = dropping.await; // dropping does not panic
    }
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let connected = timeout(CONNECT_TIME, TcpStream::connect(address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(format!("cannot connect: {error}; check `port` and that the device listens there"));
        }
        Err(_) => return Err(format!("does not answer for {} s; check `port`", CONNECT_TIME.as_secs())),
    };
    // Requests are single short writes that wait for an answer; where it cannot be set they are merely slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn serial(link: &Link) -> Result<SerialStream, tokio_serial::Error> {
    let line = link.line;
    let data_bits = match line.data_bits {
        5 => DataBits::Five,
        6 => DataBits::Six,
        7 => DataBits::Seven,
        _ => DataBits::Eight,
    };
    let parity = match line.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    };
    let stop_bits = if line.stop_bits == 2 { StopBits::Two } else { StopBits::One };
    let builder = tokio_serial::new(&link.port, line.baud);
    builder.data_bits(data_bits).parity(parity).stop_bits(stop_bits).open_native_async()
}

/// What is wrong with a port that cannot be opened, and what to do about it.
///
/// To find that out, files of the system are read, for each process several: elsewhere than where all sources run, and
/// without waiting for it for long.
async fn cannot_open(link: Link, error: tokio_serial::Error) -> String {
    let said = error.to_string();
    let look = tokio::task::spawn_blocking(move || advice(&link, &error));
    let advice = match timeout(ADVICE_TIME, look).await {
        Ok(Ok(advice)) => advice,
        Ok(Err(_)) | Err(_) => "check `port` and the cable".to_owned(),
    };
    format!("cannot open: {said}; {advice}")
}

fn advice(link: &Link, error: &tokio_serial::Error) -> String {
    use tokio_serial::ErrorKind::{Io, NoDevice};

    let (root, port) = (Path::new("/"), Path::new(&link.port));
    match error.kind() {
        Io(io::ErrorKind::NotFound) => format!("is it plugged in? {}", ports::named(root)),
        Io(io::ErrorKind::PermissionDenied) => ports::how_to_be_let_in(root, port),
        // What the library calls this is a port that somebody else has locked, or taken for himself alone.
        NoDevice | Io(io::ErrorKind::ResourceBusy) => {
            let until = Instant::now() + ADVICE_TIME;
            let holder = ports::holder(port, until).unwrap_or_else(|| "another program".to_owned());
            format!("{holder} has it open, and a port has room for one")
        }
        _ => format!("check `port`, its baud rate ({}) and the cable", link.line.baud),
    }
}

#[cfg(test)]
mod tests;
