//! Where devices are plugged in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::{Device, Manners};

/// How long a device sleeps when nobody speaks.
const NAP: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };

/// A socket in the wall, with a name that stays while what is plugged in comes and goes.
pub struct Socket {
    _folder: tempfile::TempDir,
    /// What the host opens.
    pub path: PathBuf,
    plugged: Option<(Arc<Plug>, JoinHandle<()>)>,
    /// Questions that were heard, by all devices so far.
    heard: Arc<AtomicUsize>,
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
        Ok(Self { _folder: folder, path, plugged: None, heard: Arc::default() })
    }

    /// Plugs `device` in; what was there is unplugged.
    ///
    /// # Errors
    /// When the system has no pseudo-terminal to give.
    pub fn plug_in(&mut self, device: impl Device + 'static, manners: Manners) -> io::Result<()> {
        self.unplug();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        // Raw from the start, so that what is sent before anyone listens is neither echoed nor edited.
        let mut modes = tcgetattr(&master)?;
        modes.make_raw();
        tcsetattr(&master, OptionalActions::Now, &modes)?;
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
        let name = ptsname(&master, Vec::new())?;
        let (path, plug, heard) = (self.path.clone(), Arc::new(Plug::default()), Arc::clone(&self.heard));
        symlink(Path::new(name.to_str().map_err(io::Error::other)?), &path)?;
        let pulled = Arc::clone(&plug);
        let thread = std::thread::spawn(move || {
            serve(File::from(master), device, manners, &plug, &heard);
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
        self.heard.load(Ordering::Relaxed)
    }

    /// The same device behind a TCP port of this machine, for one connection after the other, until the process ends.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn over_tcp(mut device: impl Device + 'static) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut buffer = [0; 512];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    let answer = device.hear(&buffer[..count]);
                    if stream.write_all(&answer).is_err() {
                        break;
                    }
                }
            }
        });
        Ok(address)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.unplug();
    }
}

/// Speaks for `device` until the plug is pulled.
fn serve(mut master: File, mut device: impl Device, mut manners: Manners, plug: &Plug, heard: &AtomicUsize) {
    let (mut buffer, mut left) = ([0; 512], manners.unplug_after);
    while !plug.is_pulled.load(Ordering::Relaxed) {
        let ready = poll(&mut [PollFd::new(&master, PollFlags::IN)], Some(&NAP)).unwrap_or(0);
        let answer = match master.read(&mut buffer) {
            Ok(count @ 1..) => {
                heard.fetch_add(1, Ordering::Relaxed);
                device.hear(&buffer[..count])
            }
            // Nobody has it open: the terminal says so at once, and again and again.
            _ if ready > 0 => {
                std::thread::sleep(Duration::from_millis(1));
                device.idle()
            }
            _ => device.idle(),
        };
        let mut answer = manners.spoil(answer);
        let is_last = left.is_some_and(|left| answer.len() >= left);
        if let Some(left) = &mut left {
            answer.truncate(*left);
            *left -= answer.len();
        }
        send(&mut master, &answer, manners.piece_bytes, plug);
        if is_last {
            return;
        }
    }
}

/// Sends in pieces, as fast as the host reads.
fn send(master: &mut File, answer: &[u8], piece_bytes: usize, plug: &Plug) {
    let piece_bytes = if piece_bytes == 0 { answer.len().max(1) } else { piece_bytes };
    for mut piece in answer.chunks(piece_bytes) {
        while !piece.is_empty() && !plug.is_pulled.load(Ordering::Relaxed) {
            match master.write(piece) {
                Ok(count) => piece = &piece[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return,
            }
        }
    }
}
