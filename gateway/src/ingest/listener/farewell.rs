//! The last of a connection: what is still to be written, and whether anybody is there to hear it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::outbox::Outbox;

type Stream = TlsStream<TcpStream>;

/// Writes what is left and closes, without waiting long for someone who may be gone.
///
/// With `linger`, what the client still sends is read and thrown away for a while: to close over unread bytes would
/// reset the connection and could take our last packet with it. Answers whether the client then closed its side in good
/// order: somebody was there to hear it.
pub(super) async fn farewell(shared: &Shared, stream: &mut Stream, outbox: &mut Outbox, linger: bool) -> bool {
    let leaving = async {
        outbox.drain(stream).await?;
        stream.shutdown().await?;
        let (socket, mut scrap) = (&mut stream.get_mut().0, [0; 2048]);
        while linger && socket.read(&mut scrap).await? > 0 {}
        std::io::Result::Ok(linger)
    };
    // Whoever does not hear it sees the socket close.
    matches!(timeout(shared.settings.farewell_deadline, Box::pin(leaving)).await, Ok(Ok(true)))
}

/// Whether the client has closed its side already, behind what it still had sent: then it did not lose its place to
/// another, but came again itself before its end was seen.
pub(super) async fn has_left(stream: &mut Stream) -> bool {
    let mut scrap = [0; 2048];
    for _ in 0..UNREAD_ROUNDS_MAX {
        match timeout(Duration::ZERO, stream.read(&mut scrap)).await {
            Err(_) => return false, // nothing more has come, neither bytes nor an end
            Ok(Ok(1..)) => {}
            Ok(_) => return true,
        }
    }
    false
}

/// Reads, of 2 KiB at most, until the end is looked for no longer: 4 MiB are all that waits in a socket.
const UNREAD_ROUNDS_MAX: usize = 2_048;
