//! The shell against emulated devices, over pseudo-terminals and TCP.

use std::io::{Read, Write};
use std::time::Duration;

use emulators::freestyle::Freestyle;
use emulators::{Device as _, Manners, Socket, Test};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::glucose::{Model, Settings};
use crate::source::testing::NOON;
use crate::source::{Intake, Outlet, SourceClock, SourceName};

/// Every kind of device, on terminals and over TCP.
#[cfg(all(feature = "energy", feature = "environment", feature = "vitals"))]
mod every {
    use super::{descriptors, terminals};

    mod cycles;
    mod kinds;
    mod manners;
    mod remote;
    mod rig;
    mod speed;
}

/// A meter's source, opening its port again without much waiting.
struct Rig {
    intakes: mpsc::Receiver<Intake>,
    task: tokio::task::JoinHandle<()>,
    stop: CancellationToken,
    /// What was measured, as it came.
    values: Vec<f64>,
    rejects: Vec<String>,
}

impl Rig {
    fn start(port: &str, retry: (Duration, Duration)) -> Self {
        let model = Model::FreestyleLite;
        let settings = Settings { port: port.into(), model, time_zone: "Europe/Berlin".into(), every_s: 10 };
        let ((outlet, intakes), stop) = (Outlet::new(4), CancellationToken::new());
        let (codec, clock) = (settings.codec(None).unwrap(), SourceClock::invented(NOON));
        let mut shell = Shell::new(settings.link(), codec, SourceName::from("meter"), outlet, clock, stop.clone());
        shell.retry = retry;
        Self { intakes, task: tokio::spawn(shell.run()), stop, values: Vec::new(), rejects: Vec::new() }
    }

    /// Gathers until there are so many readings.
    async fn gather(&mut self, count: usize) {
        while self.values.len() < count {
            let intake = timeout(Duration::from_secs(20), self.intakes.recv()).await;
            let intake = intake.unwrap_or_else(|_| panic!("{} of {count} readings", self.values.len())).unwrap();
            self.rejects.extend(intake.rejects.into_iter().map(|reject| reject.reason));
            self.values.extend(intake.samples.iter().map(|sample| match sample.reading.value {
                proto::Value::Number(number) => number,
                _ => f64::NAN,
            }));
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        drop(self.intakes);
        timeout(Duration::from_secs(5), self.task).await.expect("an end within 5 s").unwrap();
    }
}

const SOON: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(4));

fn meter(tests: u16) -> Freestyle {
    Freestyle { room: 40, ..Freestyle::lite("DBMN123-A4567", (0..tests).map(Test::number).collect()) }
}

fn measured(tests: u16) -> Vec<f64> {
    (0..tests).map(|number| Test::number(number).mg_dl.into()).collect()
}

/// Terminals that this process has open as a host: their masters are called otherwise.
fn terminals() -> usize {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().strip_prefix("/dev/pts/").is_some_and(|rest| rest != "ptmx")).count()
}

/// All that this process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_thousand_unplugged_meters_lose_nothing_double_nothing_and_leave_no_descriptor() {
    let mut socket = Socket::new().unwrap();
    let mut rig = Rig::start(socket.path.to_str().unwrap(), SOON);
    let mut settled = 0;
    for cycle in 1..=1_000 {
        if cycle % 3 == 0 {
            // Pulled in the middle of the answer, somewhere else each time.
            let unplug_after = Some(1 + usize::from(cycle) * 7 % 1_200);
            let heard = socket.heard();
            socket.plug_in(meter(cycle), Manners { unplug_after, ..Manners::good() }).unwrap();
            let began = std::time::Instant::now();
            while socket.heard() == heard {
                assert!(began.elapsed() < Duration::from_secs(20), "nobody asks");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        socket.plug_in(meter(cycle), Manners::good()).unwrap();
        rig.gather(cycle.into()).await;
        settled = if cycle == 20 { descriptors() } else { settled };
    }
    assert_eq!(rig.values, measured(1_000));
    let open = descriptors();
    assert!(open <= settled + 2, "{open} descriptors are open, {settled} were after 20 cycles");
    assert!(terminals() <= 1, "{} are open", terminals());
    socket.unplug();
    rig.stop().await;
    assert_eq!(terminals(), 0);
}

#[tokio::test]
async fn a_meter_with_bad_manners_is_read_whole_all_the_same() {
    let mut socket = Socket::new().unwrap();
    let mut rig = Rig::start(socket.path.to_str().unwrap(), SOON);
    let manners = |seed: u16| Manners { damaged: 300, cut: 100, noisy: 200, ..Manners::bad(seed.into()) };
    for tests in (15..=60).step_by(15) {
        socket.plug_in(meter(tests), manners(tests)).unwrap();
        rig.gather(tests.into()).await;
    }
    assert_eq!(rig.values, measured(60));
    assert!(rig.rejects.iter().any(|reason| reason.contains("checksum")), "{:?}", rig.rejects);
    rig.stop().await;
}

#[tokio::test]
async fn a_device_behind_a_tcp_port_is_read_as_one_on_a_wire() {
    let address = Socket::over_tcp(meter(30)).unwrap();
    let mut rig = Rig::start(&format!("tcp://{address}"), SOON);
    rig.gather(30).await;
    assert_eq!(rig.values, measured(30));
    rig.stop().await;
}

/// The address of meters that say what they hold to whoever connects, and then are gone: each holds a test more.
fn brief(meters: u16) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tests in 1..=meters {
            let (mut stream, mut question) = (listener.accept().unwrap().0, [0; 3]);
            stream.read_exact(&mut question).unwrap();
            stream.write_all(&meter(tests).hear(&question)).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_port_that_is_lost_after_it_was_understood_is_opened_again_as_soon_as_ever() {
    // Were each wait longer than the one before, the last of them would take more than a minute.
    let mut rig = Rig::start(&format!("tcp://{}", brief(12)), (Duration::from_millis(20), Duration::from_secs(600)));
    rig.gather(12).await;
    assert_eq!(rig.values, measured(12));
    rig.stop().await;
}

#[tokio::test]
async fn a_port_that_is_never_understood_is_opened_ever_more_rarely() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let retry = (Duration::from_millis(10), Duration::from_millis(160));
    let begun = std::time::Instant::now();
    let rig = Rig::start(&format!("tcp://{}", listener.local_addr().unwrap()), retry);
    for _ in 0..7 {
        drop(timeout(Duration::from_secs(20), listener.accept()).await.expect("it is tried again").unwrap());
    }
    let least = Duration::from_millis(10 + 20 + 40 + 80 + 160 + 160);
    assert!(begun.elapsed() >= least, "seven times within {:?}", begun.elapsed());
    rig.stop().await;
}

/// A codec that always wants to be woken at once.
struct Restless(std::sync::Arc<std::sync::atomic::AtomicU32>);

impl Codec for Restless {
    fn opened(&mut self, _now: Now, out: &mut Out) {
        out.wake_at(Instant(0));
    }

    fn heard(&mut self, _bytes: &[u8], _now: Now, _out: &mut Out) {}

    fn due(&mut self, _now: Now, out: &mut Out) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        out.wake_at(Instant(0));
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// CPU time that this process takes in a second of idling.
async fn idling() -> Duration {
    let before = cpu();
    tokio::time::sleep(Duration::from_secs(1)).await;
    cpu() - before
}

#[tokio::test]
async fn neither_an_unplugged_port_nor_a_mute_device_nor_a_restless_codec_takes_the_processor() {
    let retry = (Duration::from_millis(500), Duration::from_secs(10));
    let mut socket = Socket::new().unwrap();
    let rig = Rig::start(socket.path.to_str().unwrap(), retry);
    let unplugged = idling().await;
    assert!(unplugged < Duration::from_millis(50), "unplugged: {unplugged:?}");
    rig.stop().await;

    socket.plug_in(meter(0), Manners { swallowed: 1_000, ..Manners::good() }).unwrap();
    let link = Link { port: socket.path.to_str().unwrap().into(), line: Line::plain(9_600) };
    let (calls, (outlet, _intakes), stop) = (std::sync::Arc::default(), Outlet::new(1), CancellationToken::new());
    let codec = Box::new(Restless(std::sync::Arc::clone(&calls)));
    let shell =
        Shell::new(link, codec, SourceName::from("restless"), outlet, SourceClock::invented(NOON), stop.clone());
    let task = tokio::spawn(shell.run());
    idling().await;
    let woken = calls.load(std::sync::atomic::Ordering::Relaxed);
    assert!((10..=1_100).contains(&woken), "woken {woken} times in a second");
    stop.cancel();
    task.await.unwrap();
}
