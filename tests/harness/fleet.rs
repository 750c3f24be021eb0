//! A scripted twin of AWS IoT's fleet provisioning: MQTT over TLS, with the topics, answers and rules of AWS IoT Core's
//! developer guide ("Device provisioning MQTT API", "Provisioning devices that don't have device certificates using
//! fleet provisioning"). It forgets answers, goes silent and hangs up where it is told to.
//!
//! As there: each request makes another certificate, which lets nobody in; its token is good once and for a while, and
//! with it the certificate goes; who publishes or subscribes what the policy does not allow is hung up on. Whether a token
//! that was used may be used again is not documented: the twin does either.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use certs::Authority;
use rustls::ServerConfig;

use crate::mqtt::{Stream, stream};
use crate::pki::{Files, Pki};

mod account;
mod session;

pub use account::{Account, Certificate, Status};

/// How often it looks for connections and for its own end.
const TICK: Duration = Duration::from_millis(2);
/// Connections at once; more are closed at once.
const SESSIONS_MAX: usize = 16;
/// The template that is there.
pub const TEMPLATE: &str = "tributary";

/// Where a session may stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The claim's CONNECT came.
    Connect,
    /// Its SUBSCRIBE came.
    Subscribe,
    /// The signing request came; nothing is made.
    CreateAsked,
    /// The certificate is made; nobody was told.
    Created,
    /// The template was asked for; nothing is done.
    ProvisionAsked,
    /// The thing is made and the certificate active; nobody was told.
    Provisioned,
    /// The device's own CONNECT came, and was not answered.
    OwnConnect,
    /// The device's own SUBSCRIBE came, and was not answered.
    OwnSubscribe,
}

/// All of them, in their order.
pub const STEPS: [Step; 8] = [
    Step::Connect,
    Step::Subscribe,
    Step::CreateAsked,
    Step::Created,
    Step::ProvisionAsked,
    Step::Provisioned,
    Step::OwnConnect,
    Step::OwnSubscribe,
];

/// What happens at a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is said any more on that connection.
    Silence,
    /// The connection is closed.
    Cut,
    /// It is rejected so: a status, a code and words. Only where something was asked.
    Reject(u16, &'static str, &'static str),
}

/// What goes wrong, and how often.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Where, what, and how many times.
    pub fault: Option<(Step, Fault, u32)>,
    /// Whether a token that was used may be used again for the same.
    pub takes_used_tokens: bool,
}

struct Shared {
    script: Mutex<Script>,
    account: Mutex<Account>,
    /// Faults that happened since the script began.
    faults: Mutex<u32>,
    authority: Authority,
    /// The certificate of all claims, DER.
    claim: Vec<u8>,
    stop: AtomicBool,
    tls: Arc<ServerConfig>,
}

/// The twin.
pub struct Fleet {
    /// Where it listens, on loopback.
    pub port: u16,
    /// The claim that devices share.
    pub claim: Files,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Fleet {
    /// A twin whose authority lies in `folder`.
    ///
    /// # Errors
    /// When files cannot be made, or the system has no port to give.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let pki = Pki::create(folder);
        let claim = pki.device("claim-fleet");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            account: Mutex::default(),
            faults: Mutex::default(),
            authority: Authority::open(&authority_in(folder))?,
            claim: certs::read_certificates(&claim.certificate)?.first().map(|der| der.to_vec()).unwrap_or_default(),
            stop: false.into(),
            tls: stream::server_config(&pki.server())?,
        });
        let own = shared.clone();
        let acceptor = std::thread::Builder::new().name("fleet".into()).spawn(move || own.accept(&listener))?;
        Ok(Self { port, claim, shared, acceptor: Some(acceptor) })
    }

    /// From now on it goes by `script`.
    pub fn play(&self, script: Script) {
        *lock(&self.shared.script) = script;
        *lock(&self.shared.faults) = 0;
    }

    /// Faults that happened since the script began.
    #[must_use]
    pub fn faults(&self) -> u32 {
        *lock(&self.shared.faults)
    }

    /// What there is.
    #[must_use]
    pub fn account(&self) -> Account {
        lock(&self.shared.account).clone()
    }

    /// As if an hour went by: tokens that were not used are void, and their certificates gone.
    pub fn let_tokens_expire(&self) {
        lock(&self.shared.account).expire();
    }
}

impl Drop for Fleet {
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
            let own = self.clone();
            // However it ends: the other end may be killed at any moment.
            let session = move || drop(session::Session::new(&own, stream).run());
            if sessions.len() < SESSIONS_MAX {
                sessions.extend(std::thread::Builder::new().name("fleet session".into()).spawn(session));
            }
        }
        sessions.into_iter().for_each(|session| drop(session.join()));
    }

    /// What is to go wrong at `step`, if anything is: it is used up by that.
    fn fault_at(&self, step: Step) -> Option<Fault> {
        let mut script = lock(&self.script);
        let (at, fault, left) = script.fault.as_mut()?;
        if *at != step || *left == 0 {
            return None;
        }
        *left -= 1;
        *lock(&self.faults) += 1;
        Some(fault.clone())
    }
}

fn authority_in(folder: &Path) -> PathBuf {
    folder.join("authority")
}

/// Nobody panics with one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
