//! A TCP proxy on loopback that does to a connection what hostile networks do: cut it after byte k, stall it without a
//! word, slow it down.
//!
//! It moves bytes and understands none of them. Each connection has two threads of its own; all of them end with the
//! proxy.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

mod link;

pub use link::{End, Flow, Link, Way};

/// How often the proxy looks for connections and for its own end.
const TICK: Duration = Duration::from_millis(1);
/// For the target to take a connection: it is on this machine.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Connections at once; more are closed at once.
const LINKS_MAX: usize = 256;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Cut it once so many bytes have passed that way; a byte more never passes.
    pub cut: Option<(Way, u64)>,
    /// Once so many bytes have passed that way, no more do, until it is told to flow.
    pub halt: Option<(Way, u64)>,
    /// How a cut is made.
    pub end: End,
    /// From the client to the target.
    pub up: Flow,
    /// From the target to the client.
    pub down: Flow,
}

impl Default for Plan {
    fn default() -> Self {
        Self { cut: None, halt: None, end: End::Fin, up: Flow::Free, down: Flow::Free }
    }
}

impl Plan {
    /// Everything passes, until so many bytes have passed that way.
    #[must_use]
    pub fn cut(way: Way, after: u64, end: End) -> Self {
        Self { cut: Some((way, after)), end, ..Self::default() }
    }

    /// Nothing passes either way, and nobody is told.
    #[must_use]
    pub fn silent() -> Self {
        Self { up: Flow::Stalled, down: Flow::Stalled, ..Self::default() }
    }
}

/// Who may connect.
#[derive(Debug)]
enum Gate {
    /// Everyone, with this plan.
    Open(Plan),
    /// As many as there are plans; others wait to be let in.
    Each(VecDeque<Plan>),
}

/// What the acceptor and the owner share.
struct Shared {
    /// Each connection goes to the next one that takes it.
    targets: Mutex<Vec<u16>>,
    turn: AtomicUsize,
    stop: AtomicBool,
    gate: Mutex<Gate>,
    links: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    accepted: usize,
    alive: Vec<Arc<Link>>,
    newest: Option<Arc<Link>>,
}

/// The proxy.
pub struct Proxy {
    /// Where it listens, on loopback.
    pub port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy before `target`, a port on loopback. It lets nobody in before it is told to.
    ///
    /// # Errors
    /// When the system has no port or no thread to give.
    pub fn start(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            targets: Mutex::new(vec![target]),
            turn: AtomicUsize::new(0),
            stop: false.into(),
            gate: Mutex::new(Gate::Each(VecDeque::new())),
            links: Mutex::default(),
        });
        let own = shared.clone();
        let acceptor = std::thread::Builder::new().name("proxy".into()).spawn(move || own.accept(&listener))?;
        Ok(Self { port, shared, acceptor: Some(acceptor) })
    }

    /// Later connections go to this port.
    pub fn aim(&self, target: u16) {
        self.balance(&[target]);
    }

    /// Later connections go to these ports in turn, past those where nobody listens: a TCP balancer.
    pub fn balance(&self, targets: &[u16]) {
        *lock(&self.shared.targets) = targets.to_vec();
    }

    /// Lets everyone in, with `plan`.
    pub fn open(&self, plan: Plan) {
        *lock(&self.shared.gate) = Gate::Open(plan);
    }

    /// Lets nobody in any more; who is connected stays.
    pub fn close(&self) {
        *lock(&self.shared.gate) = Gate::Each(VecDeque::new());
    }

    /// Lets just one in, with `plan`, and answers its connection; none if nobody came within `deadline`.
    #[must_use]
    pub fn pass(&self, plan: Plan, deadline: Duration) -> Option<Arc<Link>> {
        let before = self.accepted();
        *lock(&self.shared.gate) = Gate::Each(VecDeque::from([plan]));
        let found = self.newest_after(before, deadline);
        if found.is_none() {
            self.close();
        }
        found
    }

    /// The newest connection, once there were more than `count`; none if there were not within `deadline`.
    #[must_use]
    pub fn newest_after(&self, count: usize, deadline: Duration) -> Option<Arc<Link>> {
        let began = Instant::now();
        while self.accepted() <= count {
            if began.elapsed() > deadline {
                return None;
            }
            std::thread::sleep(TICK);
        }
        self.newest()
    }

    /// How many connections there were.
    #[must_use]
    pub fn accepted(&self) -> usize {
        lock(&self.shared.links).accepted
    }

    /// The newest connection, ended or not.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Link>> {
        lock(&self.shared.links).newest.clone()
    }

    /// Ends every connection.
    pub fn cut_all(&self, end: End) {
        lock(&self.shared.links).alive.iter().for_each(|link| link.cut(end));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut_all(End::Fin);
        for link in std::mem::take(&mut lock(&self.shared.links).alive) {
            link.join();
        }
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::Acquire) {
            let waits = matches!(&*lock(&self.gate), Gate::Each(plans) if plans.is_empty());
            let client = if waits { None } else { listener.accept().ok() };
            match client {
                Some((client, _)) => self.connect(client),
                None => std::thread::sleep(TICK),
            }
        }
    }

    /// Joins `client` with the target. If the target takes nobody, the client is closed, as it would be there.
    fn connect(&self, client: TcpStream) {
        let plan = match &mut *lock(&self.gate) {
            Gate::Open(plan) => Some(*plan),
            Gate::Each(plans) => plans.pop_front(),
        };
        let mut links = lock(&self.links);
        links.alive.retain(|link| !link.is_over() || !link.join());
        let (Some(plan), true) = (plan, links.alive.len() < LINKS_MAX) else { return };
        let Some(server) = self.server() else { return };
        if let Ok(link) = Link::start(client, server, &plan) {
            links.accepted += 1;
            links.newest = Some(link.clone());
            links.alive.push(link);
        }
    }

    /// A connection to the target whose turn it is, or to the next that takes it.
    fn server(&self) -> Option<TcpStream> {
        let targets = lock(&self.targets).clone();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let inturn = (0..targets.len()).map(|place| targets[(turn + place) % targets.len()]);
        let mut addresses = inturn.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        addresses.find_map(|address| TcpStream::connect_timeout(&address, CONNECT_DEADLINE).ok())
    }
}

/// Nobody panics with one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
