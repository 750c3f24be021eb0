//! Devices that are somewhere else in the network.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crate::socket::Wire;
use crate::{Device, Manners, Sent};

/// A device behind a TCP port of this machine, for one connection after the other, until the process ends.
pub struct Remote {
    /// Where it is.
    pub address: SocketAddr,
    wire: Arc<Wire>,
}

impl Remote {
    /// `device` with `manners`; where the plug is to be pulled, the connection ends, once.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(mut device: impl Device + 'static, mut manners: Manners) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, wire) = (listener.local_addr()?, Arc::<Wire>::default());
        let log = Arc::clone(&wire);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                // It ends with the host, or in the middle of an answer; the next connection is another one.
                let _ = converse(stream, &mut device, &mut manners, &log);
            }
        });
        Ok(Self { address, wire })
    }

    /// What the device said, and what of it was sent.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.wire.sent()
    }
}

/// Speaks for `device` over one connection.
fn converse(mut stream: TcpStream, device: &mut impl Device, manners: &mut Manners, wire: &Wire) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(3)))?;
    let mut buffer = [0; 512];
    loop {
        let answer = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => device.hear(&buffer[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => device.idle(),
            Err(error) => return Err(error),
        };
        let said = answer.clone();
        let mut answer = manners.spoil(answer);
        let is_last = manners.unplug_after.is_some_and(|left| answer.len() >= left);
        if let Some(left) = &mut manners.unplug_after {
            answer.truncate(*left);
            *left -= answer.len();
        }
        let piece_bytes = if manners.piece_bytes == 0 { answer.len().max(1) } else { manners.piece_bytes };
        for piece in answer.chunks(piece_bytes) {
            stream.write_all(piece)?;
        }
        wire.note(said, answer);
        if is_last {
            manners.unplug_after = None;
            return Ok(());
        }
    }
}
