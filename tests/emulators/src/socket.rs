//! Where devices are plugged in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::{Device, Manners, Remote};

/// How long a device sleeps when nobody speaks.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };

/// A socket in the wall, with a name that stays while what is plugged in comes and goes.
pub struct Socket {
    _folder: tempfile::TempDir,
    /// What the host opens.
    pub path: PathBuf,
    plugged: Option<(Arc<Plug>, JoinHandle<()>)>,
    wire: Arc<Wire>,
}

/// What went over the wire, of all devices so far.
#[derive(Default)]
pub(crate) struct Wire {
    /// Questions that were heard.
    heard: AtomicUsize,
    /// Bytes that the host has taken, or its terminal.
    taken: AtomicUsize,
    sent: Mutex<Vec<Sent>>,
}

impl Wire {
    /// Something was said, and sent as it came.
    pub(crate) fn note(&self, said: Vec<u8>, came: Vec<u8>) {
        if !said.is_empty() {
            self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { said, came });
        }
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One answer of a device, or what it said unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// As the device said it.
    pub said: Vec<u8>,
    /// As it went over the wire.
    pub came: Vec<u8>,
}

impl Sent {
    /// Whether all of it went over the wire as it was said.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.said == self.came
    }
}

#[derive(Default)]
struct Plug {
    is_pulled: AtomicBool,
}

impl Socket {
    /// An empty one, in a folder of its own.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("usb-device");
        Ok(Self { _folder: folder, path, plugged: None, wire: Arc::default() })
    }

    /// Plugs `device` in; what was there is unplugged.
    ///
    /// # Errors
    /// When the system has no pseudo-terminal to give.
    pub fn plug_in(&mut self, device: impl Device + 'static, manners: Manners) -> io::Result<()> {
        self.unplug();
        let (master, name) = terminal()?;
        let (path, plug, wire) = (self.path.clone(), Arc::new(Plug::default()), Arc::clone(&self.wire));
        symlink(name, &path)?;
        let pulled = Arc::clone(&plug);
        let thread = std::thread::spawn(move || {
            serve(master, device, manners, &plug, &wire);
            // The name goes with the device, whoever pulled the plug.
            let _ = std::fs::remove_file(path);
        });
        self.plugged = Some((pulled, thread));
        Ok(())
    }

    /// Pulls the plug.
    pub fn unplug(&mut self) {
        if let Some((plug, thread)) = self.plugged.take() {
            plug.is_pulled.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }

    /// How often a host has said something.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.wire.heard.load(Ordering::Relaxed)
    }

    /// Waits until nothing more goes over the wire: nothing has for `pause`. Whether it came to that within `most`.
    #[must_use]
    pub fn falls_silent(&self, pause: Duration, most: Duration) -> bool {
        let begun = Instant::now();
        let (mut taken, mut since) = (self.wire.taken.load(Ordering::Relaxed), begun);
        while since.elapsed() < pause {
            if begun.elapsed() > most {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
            let now = self.wire.taken.load(Ordering::Relaxed);
            (taken, since) = if now == taken { (taken, since) } else { (now, Instant::now()) };
        }
        true
    }

    /// What devices said, and what of it went over the wire.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.wire.sent()
    }

    /// The same device behind a TCP port of this machine, for one connection after the other, until the process ends.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn over_tcp(device: impl Device + 'static) -> io::Result<SocketAddr> {
        Ok(Remote::start(device, Manners::good())?.address)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.unplug();
    }
}

/// A pseudo-terminal: the device's end, which does not block, and the name of the host's end.
///
/// # Errors
/// When the system has none to give.
pub fn terminal() -> io::Result<(File, PathBuf)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    // Raw from the start, so that what is sent before anyone listens is neither echoed nor edited.
    let mut modes = tcgetattr(&master)?;
    modes.make_raw();
    tcsetattr(&master, OptionalActions::Now, &modes)?;
    fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
    let name = ptsname(&master, Vec::new())?;
    Ok((File::from(master), name.to_str().map_err(io::Error::other)?.into()))
}

/// Speaks for `device` until the plug is pulled.
fn serve(mut master: File, mut device: impl Device, mut manners: Manners, plug: &Plug, wire: &Wire) {
    let (mut buffer, mut left) = ([0; 512], manners.unplug_after);
    while !plug.is_pulled.load(Ordering::Relaxed) {
        let ready = poll(&mut [PollFd::new(&master, PollFlags::IN)], Some(&NAP)).unwrap_or(0);
        let answer = match master.read(&mut buffer) {
            Ok(count @ 1..) => {
                wire.heard.fetch_add(1, Ordering::Relaxed);
                device.hear(&buffer[..count])
            }
            // Nobody has it open: the terminal says so at once, and again and again.
            _ if ready > 0 => {
                std::thread::sleep(Duration::from_millis(1));
                device.idle()
            }
            _ => device.idle(),
        };
        let said = answer.clone();
        let mut answer = manners.spoil(answer);
        let is_last = left.is_some_and(|left| answer.len() >= left);
        if let Some(left) = &mut left {
            answer.truncate(*left);
            *left -= answer.len();
        }
        wire.note(said, answer.clone());
        send(&mut master, &answer, &manners, plug, wire);
        if is_last {
            return;
        }
    }
}

/// Bytes sent at once where a line has a speed, unless pieces are smaller.
const PACED_BYTES: usize = 32;

/// Sends in pieces, as fast as the host reads and the line goes.
fn send(master: &mut File, answer: &[u8], manners: &Manners, plug: &Plug, wire: &Wire) {
    let piece_bytes = match (manners.piece_bytes, manners.bytes_per_s) {
        (0, 0) => answer.len().max(1),
        (0, _) => PACED_BYTES,
        (piece_bytes, _) => piece_bytes,
    };
    for mut piece in answer.chunks(piece_bytes) {
        let micros = (piece.len() as u64 * 1_000_000).checked_div(manners.bytes_per_s).unwrap_or(0);
        std::thread::sleep(Duration::from_micros(micros));
        while !piece.is_empty() && !plug.is_pulled.load(Ordering::Relaxed) {
            match master.write(piece) {
                Ok(count) => {
                    wire.taken.fetch_add(count, Ordering::Relaxed);
                    piece = &piece[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return,
            }
        }
    }
}
