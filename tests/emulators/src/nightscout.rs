//! A Nightscout site: what its REST interfaces v1 and v3 answer, as published descriptions of them say, over HTTP or TLS.
//!
//! It keeps records as a site does: those that were written by v3 carry `srvModified`, which only grows, and stay as
//! `isValid: false` when they are deleted; those that were written by v1 carry nothing, and are gone. [`Fault`]s make it
//! misbehave.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

mod answer;
mod data;
mod store;
mod wire;

pub use data::{cgm, instant};
pub use store::{Collection, Store};

/// How long a thread waits before it looks whether it is to end.
const NAP: Duration = Duration::from_millis(5);

/// A site that runs on this machine.
pub struct Site {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    store: Mutex<Store>,
    faults: Mutex<VecDeque<Fault>>,
    asked: Mutex<Vec<Asked>>,
    /// Answers so far: every other one is sent in chunks.
    answers: AtomicUsize,
    stop: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// What goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None: this one is answered well.
    None,
    /// Another status, with a header.
    Status(u16, Option<(&'static str, String)>),
    /// The connection ends after so many bytes of the answer.
    Cut(usize),
    /// One byte at a time, with a pause between them.
    Drip(Duration),
    /// No answer at all; the connection stays.
    Silence,
    /// A body of so many bytes that say nothing.
    Long(usize),
    /// The same, packed.
    Bomb(usize),
    /// This instead of what was asked for.
    Body(&'static str),
    /// It says that the answer is packed in another way.
    Packed(&'static str),
}

impl Site {
    /// A site without records, which anyone may read by v1.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared { tls, ..Shared::default() });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || listen(&listener, &own));
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// Its records and whom it lets read them.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    /// The next answers go wrong like this.
    pub fn spoil(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// From now on answers are good again. How many faults nobody met.
    pub fn behave(&self) -> usize {
        std::mem::take(&mut *lock(&self.shared.faults)).len()
    }

    /// What it was asked so far; it forgets it then.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *lock(&self.shared.asked))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every connection has a thread, which ends with the site.
fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((socket, _)) => {
                let own = Arc::clone(shared);
                threads.push(std::thread::spawn(move || drop(attend(socket, &own))));
                threads.retain(|thread| !thread.is_finished());
            }
            Err(_) => std::thread::sleep(NAP),
        }
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

fn attend(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(NAP))?;
    socket.set_write_timeout(Some(Duration::from_secs(5)))?;
    match &shared.tls {
        None => converse(socket, shared),
        Some(tls) => {
            let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
            converse(StreamOwned::new(connection, socket), shared)
        }
    }
}

fn converse(mut stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    while let Some(asked) = wire::question(&mut stream, &shared.stop)? {
        lock(&shared.asked).push(asked.clone());
        let fault = lock(&shared.faults).pop_front().unwrap_or(Fault::None);
        let answer = answer::answer(&mut lock(&shared.store), &asked, &fault);
        let number = shared.answers.fetch_add(1, Ordering::Relaxed);
        let packed = asked.header("accept-encoding").is_some_and(|how| how.contains("gzip"));
        let bytes = answer.bytes(packed, number % 2 == 1);
        if !wire::say(&mut stream, &bytes, &fault, &shared.stop)? {
            return Ok(());
        }
    }
    Ok(())
}
