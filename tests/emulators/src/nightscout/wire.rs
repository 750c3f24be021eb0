//! Questions in, answers out, on a connection that looks now and then whether it is to end.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Asked, Fault, NAP};

/// The next question; none at the connection's end.
pub(super) fn question(stream: &mut impl Read, stop: &AtomicBool) -> io::Result<Option<Asked>> {
    // Who asks waits for the answer: nothing stands behind a question.
    let (mut head, mut piece) = (Vec::new(), [0; 4_096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(count) => head.extend_from_slice(&piece[..count]),
            Err(error) if is_patience(&error) && !stop.load(Ordering::Relaxed) => {}
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = head.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok(Some(Asked { target, headers: lines.filter_map(header).collect() }))
}

/// Sends `bytes` as `fault` has it; whether the connection stays.
pub(super) fn say(
    stream: &mut (impl Read + Write),
    bytes: &[u8],
    fault: &Fault,
    stop: &AtomicBool,
) -> io::Result<bool> {
    match fault {
        Fault::Cut(length) => {
            stream.write_all(&bytes[..bytes.len().min(*length)])?;
            stream.flush()?;
            Ok(false)
        }
        Fault::Drip(pause) => {
            for byte in bytes {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                stream.write_all(&[*byte])?;
                stream.flush()?;
                std::thread::sleep(*pause);
            }
            Ok(true)
        }
        Fault::Silence => {
            // Until the other side has had enough.
            let mut byte = [0];
            while !stop.load(Ordering::Relaxed) {
                match stream.read(&mut byte) {
                    Ok(0) => break,
                    Err(error) if !is_patience(&error) => break,
                    _ => std::thread::sleep(NAP),
                }
            }
            Ok(false)
        }
        _ => {
            stream.write_all(bytes)?;
            stream.flush()?;
            Ok(true)
        }
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
