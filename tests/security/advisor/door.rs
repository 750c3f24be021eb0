//! Where devices connect to, and the first that they say.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::line::RECORD_BYTES_MAX;

/// How often it is looked for connections. Short: waits are measured by it, on clocks that run fast.
const TICK: Duration = Duration::from_micros(300);
/// For one read; deadlines are looked at in between.
const READ: Duration = Duration::from_millis(5);
/// For the device to take what is written.
const WRITE: Duration = Duration::from_secs(10);

/// Where a device connects to, on loopback.
pub(super) struct Door {
    pub(super) port: u16,
    listener: Option<TcpListener>,
}

impl Door {
    /// # Errors
    /// When the system has no port to give.
    pub(super) fn open() -> io::Result<Self> {
        let mut door = Self { port: 0, listener: None };
        door.reopen()?;
        Ok(door)
    }

    /// Nobody listens there any more.
    pub(super) fn close(&mut self) {
        self.listener = None;
    }

    /// Listens again, on the same port.
    ///
    /// # Errors
    /// When somebody else took it.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        self.port = listener.local_addr()?.port();
        self.listener = Some(listener);
        Ok(())
    }

    /// The next connection.
    ///
    /// # Errors
    /// When none came within `deadline`.
    pub(super) fn accept(&self, deadline: Duration) -> anyhow::Result<TcpStream> {
        let began = Instant::now();
        loop {
            if let Some(Ok((socket, _))) = self.listener.as_ref().map(TcpListener::accept) {
                socket.set_nonblocking(false)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(READ))?;
                socket.set_write_timeout(Some(WRITE))?;
                return Ok(socket);
            }
            anyhow::ensure!(began.elapsed() < deadline, "no connection within {deadline:?}");
            std::thread::sleep(TICK);
        }
    }
}

/// The first record of a connection, which stays there to be read.
///
/// # Errors
/// When it does not come whole.
pub(super) fn first_record(socket: &TcpStream, deadline: Duration) -> anyhow::Result<Vec<u8>> {
    let (began, mut bytes) = (Instant::now(), vec![0; 5 + RECORD_BYTES_MAX]);
    loop {
        let count = socket.peek(&mut bytes).unwrap_or(0);
        let length = 5 + (usize::from(bytes[3]) << 8 | usize::from(bytes[4]));
        if count >= 5 && count >= length {
            bytes.truncate(length);
            return Ok(bytes);
        }
        anyhow::ensure!(began.elapsed() < deadline, "no whole record within {deadline:?}");
        std::thread::sleep(TICK);
    }
}
