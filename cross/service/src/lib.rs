//! What a program tells the service manager that started it, by systemd's protocol `sd_notify(3)`: that it is ready, how
//! it is, that it ends; and, for the watchdog, that it gets on.
//!
//! The watchdog is fed on progress, never by a clock alone: [`Manager::keep_told`] asks for a pulse each time, and says
//! nothing while there is none. Where no manager listens, nothing of this runs.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

/// How often the manager hears how it goes, where it has no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(30);
/// Of the time after which a watchdog bites, the pulse is asked for in every such part: two more may be late.
const PULSES_IN_A_BITE: u32 = 3;

/// Who started this program and wants to hear of it.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    /// After how long without a pulse it takes this program for dead.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment names; none where none does. One that cannot be reached is logged: whoever waits for
    /// word of this program will wait in vain.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        Self::of(|name| env::var_os(name)).unwrap_or_else(|error| {
            warn!(%error, "NOTIFY_SOCKET cannot be used; whoever started this program will not know that it is ready");
            None
        })
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Option<Self>> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address(&name)?)?;
        // A manager that stands still must hold nobody up here.
        socket.set_nonblocking(true)?;
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_for_us = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&us| us > 0 && is_for_us).map(Duration::from_micros);
        Ok(Some(Self { socket, watchdog }))
    }

    /// All is open: who waits for this program may go on.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Asks for a pulse again and again, and passes it on with what it says for people: one line, and nothing that
    /// concerns a person. Waits for one that does not come, and is silent meanwhile. Runs until it is dropped.
    pub async fn keep_told<Pulse: Future<Output = String>>(&self, mut pulse: impl FnMut() -> Pulse) {
        let every = self.watchdog.map_or(STATUS_EVERY, |bite| bite / PULSES_IN_A_BITE);
        loop {
            sleep(every).await;
            let mut next = pin!(pulse());
            let status = match timeout(every, &mut next).await {
                Ok(status) => status,
                Err(_) => {
                    error!(after_s = every.as_secs(), "nothing gets on; the watchdog is not fed meanwhile");
                    let status = next.await;
                    info!("it gets on again");
                    status
                }
            };
            self.tell(&format!("WATCHDOG=1\nSTATUS={}", line(&status)));
        }
    }

    fn tell(&self, words: &str) {
        if let Err(error) = self.socket.send(words.as_bytes()) {
            warn!(%error, "the service manager does not take what it is told");
        }
    }
}

/// Where `name` leads: a path, or, with an `@` before it, a name that no file has.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        [b'@', hidden @ ..] => SocketAddr::from_abstract_name(hidden),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    }
}

/// `text` as one line: a new line would be a new word of the protocol.
fn line(text: &str) -> String {
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests;
