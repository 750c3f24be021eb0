//! One connection through the proxy: two sockets, and a thread for each way.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::{Plan, lock};

/// How long a read or write waits before it looks whether the connection has ended.
const PATIENCE: Duration = Duration::from_millis(50);
/// How often a stalled way looks whether it still is.
const STALL_TICK: Duration = Duration::from_millis(2);
/// Bytes moved at once, at most.
const CHUNK: usize = 16 * 1024;
/// A slow way moves its bytes so many times a second.
const STEPS_PER_S: u64 = 50;

/// No cut and no halt: no connection of ours ever carries so much.
const NEVER: u64 = u64::MAX;
/// A flow of so many bytes a second is free.
const FREE: u64 = u64::MAX;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

/// How a connection ends, for both ends of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In order: what is under way arrives, then the end.
    Fin,
    /// At once, with RST.
    Reset,
}

/// How bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// As they come.
    Free,
    /// So many a second.
    BytesPerSecond(u32),
    /// Not at all; nobody is told, not even of the other end's end.
    Stalled,
}

impl Flow {
    fn rate(self) -> u64 {
        match self {
            Self::Free => FREE,
            Self::BytesPerSecond(rate) => u64::from(rate).max(1),
            Self::Stalled => 0,
        }
    }
}

/// One way's state.
struct Lane {
    passed: AtomicU64,
    cut_at: AtomicU64,
    halt_at: AtomicU64,
    rate: AtomicU64,
}

impl Lane {
    fn new(way: Way, plan: &Plan, flow: Flow) -> Self {
        let after = |what: Option<(Way, u64)>| what.filter(|(of, _)| *of == way).map_or(NEVER, |(_, after)| after);
        let (cut_at, halt_at) = (after(plan.cut), after(plan.halt));
        Self { passed: 0.into(), cut_at: cut_at.into(), halt_at: halt_at.into(), rate: flow.rate().into() }
    }
}

/// A connection through the proxy.
pub struct Link {
    up: Lane,
    down: Lane,
    end: End,
    over: AtomicBool,
    cut: AtomicBool,
    /// When the last byte passed, in microseconds since `began`.
    last_us: AtomicU64,
    began: Instant,
    sockets: Mutex<Option<[Arc<TcpStream>; 2]>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Link {
    pub(super) fn start(client: TcpStream, server: TcpStream, plan: &Plan) -> io::Result<Arc<Self>> {
        for socket in [&client, &server] {
            socket.set_nonblocking(false)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
        }
        let (client, server) = (Arc::new(client), Arc::new(server));
        let link = Arc::new(Self {
            up: Lane::new(Way::Up, plan, plan.up),
            down: Lane::new(Way::Down, plan, plan.down),
            end: plan.end,
            over: false.into(),
            cut: false.into(),
            last_us: 0.into(),
            began: Instant::now(),
            sockets: Mutex::new(Some([client.clone(), server.clone()])),
            threads: Mutex::default(),
        });
        for (way, from, to) in [(Way::Up, client.clone(), server.clone()), (Way::Down, server, client)] {
            let own = link.clone();
            let name = format!("proxy {way:?}");
            let thread = std::thread::Builder::new().name(name).spawn(move || own.pump(way, &from, &to))?;
            lock(&link.threads).push(thread);
        }
        Ok(link)
    }

    /// How many bytes have passed.
    #[must_use]
    pub fn passed(&self, way: Way) -> u64 {
        self.lane(way).passed.load(Ordering::Acquire)
    }

    /// For how long nothing has passed, either way.
    #[must_use]
    pub fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_micros(self.last_us.load(Ordering::Acquire)))
    }

    /// Whether it has ended, by a cut or by one of its ends.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Whether it was cut.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Waits for the end, at most `deadline`; answers whether it came.
    #[must_use]
    pub fn wait_over(&self, deadline: Duration) -> bool {
        let began = Instant::now();
        while !self.is_over() && began.elapsed() < deadline {
            std::thread::sleep(STALL_TICK);
        }
        self.is_over()
    }

    /// From now on bytes pass so.
    pub fn flow(&self, way: Way, flow: Flow) {
        self.lane(way).rate.store(flow.rate(), Ordering::Release);
    }

    /// To be cut after so many more bytes that way; 0 is now.
    pub fn cut_after(&self, way: Way, more: u64) {
        let at = self.passed(way).saturating_add(more);
        self.lane(way).cut_at.store(at, Ordering::Release);
        if more == 0 {
            self.cut(self.end);
        }
    }

    /// Ends it now.
    pub fn cut(&self, end: End) {
        if !self.is_over() {
            self.cut.store(true, Ordering::Release);
        }
        self.finish(end);
    }

    /// Waits for its threads, if it has ended; answers whether they have.
    pub(super) fn join(&self) -> bool {
        lock(&self.threads).drain(..).all(|thread| thread.join().is_ok())
    }

    fn lane(&self, way: Way) -> &Lane {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// Lets go of the sockets. The last of the threads to see it closes them.
    fn finish(&self, end: End) {
        let Some(sockets) = lock(&self.sockets).take() else { return };
        for socket in &sockets {
            if end == End::Reset {
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                let _ = setsockopt(socket, sockopt::Linger, &at_once);
            }
            // A reading thread wakes; writing ones look after `PATIENCE`. Only Fin is told to the other end here.
            let _ = socket.shutdown(if end == End::Reset { Shutdown::Read } else { Shutdown::Both });
        }
        self.over.store(true, Ordering::Release);
    }

    /// Moves bytes until the connection is over.
    fn pump(&self, way: Way, mut from: &TcpStream, to: &TcpStream) {
        let mut chunk = vec![0; CHUNK];
        while !self.is_over() {
            let Some(most) = self.may_read(way) else { continue };
            match from.read(&mut chunk[..most]) {
                Ok(0) => return self.finish(End::Fin),
                Ok(count) => self.forward(way, &chunk[..count], to),
                Err(error) if is_patience(&error) => {}
                Err(_) => return self.finish(End::Reset),
            }
        }
    }

    /// How many bytes may be read next; none, after a while, on a way that is stalled or has had its share.
    fn may_read(&self, way: Way) -> Option<usize> {
        match self.lane(way).rate.load(Ordering::Acquire) {
            FREE => Some(CHUNK),
            0 => {
                std::thread::sleep(STALL_TICK);
                None
            }
            rate => {
                std::thread::sleep(Duration::from_millis(1_000 / STEPS_PER_S));
                Some(usize::try_from(rate / STEPS_PER_S).unwrap_or(CHUNK).clamp(1, CHUNK))
            }
        }
    }

    /// Writes what may pass; cuts where a cut is due.
    fn forward(&self, way: Way, bytes: &[u8], mut to: &TcpStream) {
        let lane = self.lane(way);
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over() {
            let halt_at = lane.halt_at.load(Ordering::Acquire);
            let room =
                lane.cut_at.load(Ordering::Acquire).min(halt_at).saturating_sub(lane.passed.load(Ordering::Acquire));
            let most = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            if lane.rate.load(Ordering::Acquire) == 0 {
                std::thread::sleep(STALL_TICK); // read just before the stall began
                continue;
            }
            let written = match to.write(&rest[..most]) {
                Ok(written) => written,
                Err(error) if is_patience(&error) => continue,
                Err(_) => return self.finish(End::Reset),
            };
            rest = &rest[written..];
            let passed = lane.passed.fetch_add(written as u64, Ordering::AcqRel) + written as u64;
            let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.last_us.store(now, Ordering::Release);
            if passed >= halt_at {
                lane.halt_at.store(NEVER, Ordering::Release);
                lane.rate.store(Flow::Stalled.rate(), Ordering::Release);
            }
            if passed >= lane.cut_at.load(Ordering::Acquire) {
                self.cut(self.end);
            }
        }
    }
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
