//! A token that takes its time, beside everything else that an agent does in its one thread.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::buffer::Access;
use agent::clock::BootClock;
use agent::config::Config;
use agent::identity::signer::{Token, TokenError};
use agent::identity::{Key, Tls};
use agent::uplink::mqtt::{Arrival, Connection};
use agent::uplink::{KeySettings, Pace, Settings};
use harness::pki::Files;
use harness::pty::Port;
use harness::{Gateway, Pki};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::sign::SigningKey;
use tokio_util::sync::CancellationToken;

/// How long the token takes for a signature.
const TAKES: Duration = Duration::from_secs(3);
/// No connection ends because this machine has stood still for a while.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(30);
/// Between two readings, and between two looks whether the thread goes on.
const STEP: Duration = Duration::from_millis(20);

/// A double of a token: a key in memory that waits before it signs, on the thread that it is asked on.
struct SlowTokenDouble(Arc<dyn SigningKey>);

impl Token for SlowTokenDouble {
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError> {
        Ok(None)
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        std::thread::sleep(TAKES);
        let signer = self.0.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
        Ok(to_pair(&signer.sign(message).unwrap()))
    }
}

/// r and s of a signature in DER, as a token gives them.
fn to_pair(der: &[u8]) -> [u8; 64] {
    let (r, s) = der[4..].split_at(usize::from(der[3]));
    let mut pair = [0; 64];
    for (number, place) in [(r, 0), (&s[2..], 32)] {
        let digits = &number[number.len().saturating_sub(32)..];
        pair[place + 32 - digits.len()..place + 32].copy_from_slice(digits);
    }
    pair
}

fn settings(files: &Files, port: u16) -> Settings {
    let Files { authority, certificate, key } = files.clone();
    let (host, pace) = ("localhost".to_owned(), Pace::default());
    let (key, receipt_key_file) = (KeySettings::File(key), None);
    Settings {
        host,
        port,
        authority_file: authority,
        certificate_file: certificate,
        key,
        receipt_key_file,
        provisioning_template: None,
        pace,
    }
}

fn dial(device: &str, port: u16, tls: Tls) -> Connection {
    Connection::dial(&device.parse().unwrap(), "localhost", port, tls, KEEP_ALIVE)
}

/// An agent that only captures, from a serial line, in the runtime of the caller.
fn capture(folder: &Path, port: &Port, stop: CancellationToken) -> tokio::task::JoinHandle<anyhow::Result<()>> {
    let path = folder.join("agent.toml");
    let text = format!(
        "[device]\nid = \"capture-1\"\n[buffer]\npath = {:?}\n[sealer]\nlinger_ms = 20\n[[source]]\nname = \"line\"\n\
         type = \"serial\"\nport = {:?}\nformat = \"key_value\"\nseries = [{{ column = \"value\", name = \"line\" }}]\n",
        folder.join("buffer.db"),
        port.path
    );
    std::fs::write(&path, text).unwrap();
    tokio::spawn(agent::run(Config::read(&path).unwrap(), stop))
}

/// Notes the longest time for which the runtime of the caller did not come round to it.
async fn watch_for_gaps(longest: Arc<Mutex<Duration>>) {
    loop {
        let since = Instant::now();
        tokio::time::sleep(STEP).await;
        let mut longest = longest.lock().unwrap();
        *longest = (*longest).max(since.elapsed());
    }
}

fn captured(folder: &Path) -> u64 {
    let Ok(access) = Access::open(&folder.join("buffer.db")) else { return 0 };
    access
        .tallies()
        .ok()
        .and_then(|tallies| tallies.into_iter().find(|(name, _)| name == "held readings"))
        .map_or(0, |found| found.1)
}

#[test]
fn a_token_that_takes_three_seconds_holds_up_neither_capture_nor_another_connection() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let (quick_files, slow_files) = (pki.device("quick-1"), pki.device("slow-1"));
    let key = any_ecdsa_type(&certs::read_private_key(&slow_files.key).unwrap()).unwrap();
    let clock = Arc::new(BootClock::start([1; 8]));
    let port = gateway.mqtt_port;
    let quick_tls = Tls::open(&settings(&quick_files, port), clock.clone()).unwrap();
    let key = Key::in_token("slow", SlowTokenDouble(key)).unwrap();
    let slow_tls = Tls::open_with(&settings(&slow_files, port), clock, key).unwrap();
    let mut line = Port::open(&folder.path().join("line")).unwrap();

    // As the agent's own: one thread for everything.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let capturing = capture(folder.path(), &line, stop.clone());
        let sending = std::thread::spawn({
            let stop = stop.clone();
            move || {
                for value in 0.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    line.send(&format!("value={value}"));
                    std::thread::sleep(STEP);
                }
            }
        });
        let mut quick = dial("quick-1", port, quick_tls);
        assert!(matches!(tokio::time::timeout(SOON, quick.next()).await, Ok(Arrival::Up)));
        let deadline = Instant::now() + SOON;
        while captured(folder.path()) == 0 {
            assert!(Instant::now() < deadline, "nothing is captured");
            tokio::time::sleep(STEP).await;
        }

        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let watching = tokio::spawn(watch_for_gaps(longest.clone()));
        let (began, before) = (Instant::now(), captured(folder.path()));
        let mut slow = dial("slow-1", port, slow_tls);
        let arrival = tokio::time::timeout(SOON, async {
            loop {
                tokio::select! {
                    arrival = quick.next() => assert!(!matches!(arrival, Arrival::Down(_)), "{arrival:?}"),
                    arrival = slow.next() => return arrival,
                }
            }
        });
        assert!(matches!(arrival.await, Ok(Arrival::Up)), "it is let in all the same");
        let (took, during) = (began.elapsed(), captured(folder.path()) - before);
        tokio::task::yield_now().await; // a gap that ends just now is noted too
        watching.abort();
        let longest = *longest.lock().unwrap();
        println!(
            "connected after {took:?}, {during} readings were captured meanwhile, the longest gap was {longest:?}"
        );
        assert!(took >= TAKES, "{took:?}: the token was not asked");
        assert!(longest < TAKES, "for {longest:?} nothing else was done: the thread waited for the token");
        // All would come to 150; of a thread that waits for the token, to next to nothing.
        assert!(during >= 10, "{during} readings captured in {took:?}");
        stop.cancel();
        capturing.await.unwrap().unwrap();
        sending.join().unwrap();
    });
}
