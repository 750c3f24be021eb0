//! Devices whose line is set to another speed than the host's: nothing is invented, and what is said says what to check.

use std::io::Write;
use std::sync::{Arc, Mutex};

use emulators::{Device as Emulator, Manners, Socket, misread};

use super::kinds::{self, Kind, METERS, Way};
use super::rig::{Rig, SOON};
use crate::source::settings::Settings as Any;
use crate::source::testing::configured;

/// A device that sends and hears at another speed.
struct Mistuned {
    device: Box<dyn Emulator>,
    baud: u64,
    /// The host's.
    read_baud: u64,
}

impl Emulator for Mistuned {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let heard = misread(bytes, self.read_baud, self.baud);
        misread(&self.device.hear(&heard), self.baud, self.read_baud)
    }

    fn idle(&mut self) -> Vec<u8> {
        misread(&self.device.idle(), self.baud, self.read_baud)
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The speed that a kind's port is set to.
fn line_of(kind: &Kind) -> crate::source::device::Line {
    let settings: Any = configured(&format!("name = \"it\"\nport = \"/dev/x\"\n{}", kind.toml)).settings;
    settings.device().unwrap().link().line
}

/// Waits until the source has given up, and answers what it said of its port.
async fn given_up(kind: Kind, device: Box<dyn Emulator>) -> String {
    let log = Log::default();
    let (writer, mut socket) = (log.clone(), Socket::new().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut rig = Rig::start(kind.toml, socket.path.to_str().unwrap(), SOON);
    socket.plug_in(device, Manners::good()).unwrap();
    let is_told = |text: &str| text.contains("makes no sense at") || text.contains("nothing at all comes");
    rig.until(kind.name, |_| is_told(&log.text())).await;
    assert!(rig.samples.iter().all(|sample| sample.series.name.as_str() == "oximeter.status"), "{:?}", rig.samples);
    rig.stop().await;
    log.text()
}

/// Each on a thread of its own, as logs are gathered by thread.
fn on_threads(kinds: Vec<Kind>, check: fn(&Kind, String), device: fn(&Kind) -> Box<dyn Emulator>) {
    let run = |kind: Kind| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        check(&kind, runtime.block_on(given_up(kind, device(&kind))));
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = kinds.into_iter().map(|kind| scope.spawn(move || run(kind))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn a_device_that_speaks_at_another_speed_is_given_up_with_what_to_check() {
    // At twice the speed and at half of it; those that begin by themselves are heard, and make no sense.
    let speaks = |kind: &Kind| matches!(kind.way, Way::Speaks | Way::Repeats) && kind.name != "serial";
    let kinds = kinds::all().filter(speaks).filter(|kind| kind.name != "contec_cms50, firmware 7").collect();
    let check = |kind: &Kind, log: String| {
        let line = line_of(kind);
        let expected =
            format!("what comes makes no sense at {line}: is this device at this port, and set to that speed?");
        assert!(log.contains(&expected), "{}: {log}", kind.name);
    };
    on_threads(kinds, check, |kind| {
        let read_baud = line_of(kind).baud.into();
        Box::new(Mistuned { device: (kind.device)(0..2_000), baud: read_baud / 2, read_baud })
    });
}

fn a_device_that_is_asked_at_another_speed_is_given_up_with_what_to_check() {
    // It does not understand what it is asked.
    let [freestyle, .., taidoc, _] = METERS;
    let kinds = vec![freestyle, taidoc, kinds::DEXCOM, kinds::MODBUS, kinds::MHZ19];
    let check = |kind: &Kind, log: String| {
        let expected = format!("nothing at all comes at {}", line_of(kind));
        assert!(log.contains(&expected), "{}: {log}", kind.name);
    };
    on_threads(kinds, check, |kind| {
        let read_baud = line_of(kind).baud.into();
        Box::new(Mistuned { device: (kind.device)(0..20), baud: read_baud * 4, read_baud })
    });
}

/// What sends text without end, as a console does.
struct Babble;

impl Emulator for Babble {
    fn hear(&mut self, _bytes: &[u8]) -> Vec<u8> {
        b"\r\nlogin: incorrect\r\n".to_vec()
    }
}

fn another_device_at_a_meters_port_is_given_up_with_what_to_check() {
    let check = |kind: &Kind, log: String| {
        assert!(log.contains("of this model?"), "{}: {log}", kind.name);
        assert!(log.contains(&format!("makes no sense at {}", line_of(kind))), "{}: {log}", kind.name);
    };
    let kinds = METERS.into_iter().filter(|kind| !matches!(kind.name, "contour" | "codefree")).collect();
    on_threads(kinds, check, |_| Box::new(Babble));
}

/// Patience of ten seconds has to end: so all at once.
#[test]
fn a_device_at_another_speed_or_another_device_is_given_up_with_what_to_check() {
    std::thread::scope(|scope| {
        scope.spawn(a_device_that_speaks_at_another_speed_is_given_up_with_what_to_check);
        scope.spawn(a_device_that_is_asked_at_another_speed_is_given_up_with_what_to_check);
        scope.spawn(another_device_at_a_meters_port_is_given_up_with_what_to_check);
    });
}
