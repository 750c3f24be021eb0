//! A scripted MQTT server over TLS: it does what servers do when they are broken, in a hurry or lying, and notes what
//! it was sent. It stores nothing.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConfig;

use crate::mqtt::{Stream, stream};
use crate::pki::Files;

mod session;

/// How often it looks for connections and for its own end.
const TICK: Duration = Duration::from_millis(2);
/// Connections at once; more are closed at once.
const SESSIONS_MAX: usize = 16;
/// Frames that are noted; what comes after is only counted.
const FRAMES_MAX: usize = 10_000;

/// How a server answers CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Come in; and whether it says that it kept a session.
    Welcome {
        /// What CONNACK says.
        session_present: bool,
    },
    /// No: such a code.
    Refuse(u8),
    /// Not at all.
    Silence,
}

/// How it answers a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// That nothing is settled: the agent is to send everything it has.
    NothingSettled,
    /// The same, with the nonce of another hello: it answers nothing.
    StaleNonce,
    /// Bytes that are no receipt.
    Garbage,
    /// Not at all.
    Silence,
}

/// How it acknowledges publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Each at once.
    AtOnce,
    /// Never.
    Withheld,
    /// Each so much later.
    Late(Duration),
    /// Held until there are so many, then the last one first.
    Reversed(usize),
    /// At once, and one more for an id that was never used.
    UnknownToo,
    /// At once, and twice.
    Twice,
}

/// What it does on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    /// At CONNECT.
    pub greeting: Greeting,
    /// At each hello.
    pub answer: Answer,
    /// At each publish.
    pub acks: Acks,
    /// Closes the connection once so many packets came.
    pub packets_max: Option<usize>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            greeting: Greeting::Welcome { session_present: false },
            answer: Answer::NothingSettled,
            acks: Acks::AtOnce,
            packets_max: None,
        }
    }
}

/// What it was sent.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// Connections whose CONNECT came.
    pub connects: usize,
    /// Connections that have ended.
    pub ended: usize,
    /// Hellos.
    pub hellos: usize,
    /// Frames on `batch`, as they came; the first ten thousand.
    pub frames: Vec<Vec<u8>>,
    /// Publishes that were acknowledged.
    pub acknowledged: usize,
    /// Pings.
    pub pings: usize,
}

struct Shared {
    script: Mutex<Script>,
    noted: Mutex<Noted>,
    stop: AtomicBool,
    tls: Arc<ServerConfig>,
}

/// The server.
pub struct Broker {
    /// Where it listens, on loopback.
    pub port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Broker {
    /// A server with the certificate in `files`, for devices of the same authority.
    ///
    /// # Errors
    /// When the files cannot be used, or the system has no port to give.
    pub fn start(files: &Files) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            noted: Mutex::default(),
            stop: false.into(),
            tls: stream::server_config(files)?,
        });
        let own = shared.clone();
        let acceptor = std::thread::Builder::new().name("broker".into()).spawn(move || own.accept(&listener))?;
        Ok(Self { port, shared, acceptor: Some(acceptor) })
    }

    /// Plays `script` on the connections that come from now on, and begins its notes anew.
    pub fn play(&self, script: Script) {
        *lock(&self.shared.script) = script;
        *lock(&self.shared.noted) = Noted::default();
    }

    /// What it was sent since the script began.
    #[must_use]
    pub fn noted(&self) -> Noted {
        lock(&self.shared.noted).clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    /// Takes connections until the end, and then waits for those that are left.
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let mut sessions: Vec<JoinHandle<()>> = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let Ok((socket, _)) = listener.accept() else {
                std::thread::sleep(TICK);
                continue;
            };
            sessions.retain(|session| !session.is_finished());
            let Ok(stream) = Stream::accept(socket, self.tls.clone()) else { continue };
            let (own, script) = (self.clone(), *lock(&self.script));
            let session = move || {
                // However it ends: a connection that breaks is what this server is for.
                let _: io::Result<()> = session::Session::new(&own, stream, script).run();
                lock(&own.noted).ended += 1;
            };
            if sessions.len() < SESSIONS_MAX {
                sessions.extend(std::thread::Builder::new().name("broker session".into()).spawn(session));
            }
        }
        sessions.into_iter().for_each(|session| drop(session.join()));
    }
}

/// Nobody panics with one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
