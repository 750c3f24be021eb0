use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant as Moment};

use proto::Basis;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::*;
use crate::source::device::testing::Bench;
use crate::source::testing::{NOON, Running, assert_golden, configured, told_all};
use crate::source::{Configured, Intake, Settings as Any, SourceClock};

/// A socket in the wall: a link in a folder of its own, to a terminal that can be unplugged.
struct Socket {
    _folder: tempfile::TempDir,
    path: PathBuf,
    device: Option<File>,
}

impl Socket {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usb-meter");
        Self { _folder: folder, path, device: None }
    }

    fn plug_in(&mut self) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        // Raw from the start, so that what is sent before anyone listens is neither echoed nor edited.
        let mut modes = tcgetattr(&master).unwrap();
        modes.make_raw();
        tcsetattr(&master, OptionalActions::Now, &modes).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        symlink(name.to_str().unwrap(), &self.path).unwrap();
        self.device = Some(File::from(master));
    }

    fn unplug(&mut self) {
        std::fs::remove_file(&self.path).unwrap();
        self.device = None;
    }

    fn send(&mut self, bytes: &[u8]) {
        self.device.as_mut().unwrap().write_all(bytes).unwrap();
    }
}

/// Waits until `done`, at most 20 s.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Moment::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn meter(socket: &Socket, more: &str) -> Configured {
    configured(&format!(
        r#"name = "meter"
        type = "serial"
        port = "{}"
        baud = 115200
        format = "csv"
        columns = 2
        {more}
        [[series]]
        column = 1
        name = "power.active"
        unit = "W"
        [[series]]
        column = 2
        name = "energy.active"
        unit = "kW.h"
        kind = "counter""#,
        socket.path.display()
    ))
}

const TRUSTED: &str = "trust_first_line = true";

fn start(source: &Configured) -> Running {
    Running::start(source, None, &SourceClock::invented(NOON), 4)
}

/// Gathers intakes until they hold so many readings and rejects.
async fn gather(running: &mut Running, samples: usize, rejects: usize) -> Vec<Intake> {
    let mut intakes: Vec<Intake> = Vec::new();
    let count = |intakes: &[Intake]| {
        let samples: usize = intakes.iter().map(|intake| intake.samples.len()).sum();
        (samples, intakes.iter().map(|intake| intake.rejects.len()).sum::<usize>())
    };
    while count(&intakes).0 < samples || count(&intakes).1 < rejects {
        intakes.push(running.next().await);
    }
    assert_eq!(count(&intakes), (samples, rejects), "{:?}", told_all(&intakes));
    intakes
}

/// What was read, without its time of arrival.
fn values(intakes: &[Intake]) -> Vec<String> {
    told_all(intakes).iter().map(|line| line.rsplit(' ').next().unwrap().to_string()).collect()
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/serial/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    sample.source[0].validate().unwrap();
    let Any::Serial(full) = &sample.source[0].settings else { panic!("a serial source") };
    let short = toml::from_str::<Settings>(
        "port = \"/dev/serial/by-id/usb-Example_Board_0001-if00\"\nformat = \"key_value\"\nseries = []",
    );
    let (separator, silence_s, series) = (full.separator, full.silence_s, full.series.clone());
    assert_eq!(&Settings { separator, silence_s, series, ..short.unwrap() }, full);
}

#[test]
fn settings_that_cannot_be_are_named() {
    let socket = Socket::new();
    let field = |change: &dyn Fn(&mut Settings)| {
        let mut source = meter(&socket, "");
        let Any::Serial(settings) = &mut source.settings else { unreachable!() };
        change(settings);
        source.validate().unwrap_err().field
    };
    assert_eq!(field(&|settings| settings.baud = 1), "source.meter.baud");
    assert_eq!(field(&|settings| settings.data_bits = 9), "source.meter.data_bits");
    assert_eq!(field(&|settings| settings.stop_bits = 0), "source.meter.stop_bits");
    assert_eq!(field(&|settings| settings.format = Format::Json), "source.meter.series[0].column");
    assert_eq!(field(&|settings| settings.series[1].column = Key::Name("e".into())), "source.meter.series[1].column");
    assert_eq!(field(&|settings| settings.line_bytes_max = 1), "source.meter.line_bytes_max");
    assert_eq!(field(&|settings| settings.port.clear()), "source.meter.port");
}

#[test]
fn a_recorded_wire_becomes_what_it_must() {
    let socket = Socket::new();
    let Any::Serial(settings) = meter(&socket, "").settings else { unreachable!() };
    let parser = settings.parser().unwrap();
    let wire = std::fs::read("src/source/serial/testdata/wire.txt").unwrap();
    let mut lines = Vec::new();
    for (number, line) in wire.split(|byte| *byte == b'\n').enumerate() {
        let arrival = proto::Instant(1_000_000 * i64::try_from(number).unwrap());
        match parser.read(line, arrival) {
            Ok(None) => lines.push("nothing".to_string()),
            Ok(Some(taken)) => {
                lines.extend(taken.samples.iter().map(crate::source::testing::told));
                lines.extend(taken.problem.map(|problem| format!("rejected: {problem}")));
            }
            Err(problem) => lines.push(format!("rejected: {problem}")),
        }
    }
    assert_golden("serial/testdata/wire.expected", &lines);
}

#[tokio::test]
async fn lines_are_read_and_stamped_on_arrival_and_what_is_wrong_is_named() {
    let mut socket = Socket::new();
    socket.plug_in();
    let mut running = start(&meter(&socket, TRUSTED));
    socket.send(b"230.1,17.25\r\n\r\nnoise\xff\x00\n230.2");
    let intakes = gather(&mut running, 2, 1).await;
    assert!(intakes.iter().all(|intake| intake.lane == proto::Lane::Live && intake.cursor.is_none()));
    assert_eq!(intakes[0].samples[0].basis, Basis::Boot);
    assert_eq!(intakes[0].samples[0].reading.utc_offset_minutes, None);
    let reject = intakes.iter().flat_map(|intake| &intake.rejects).next().unwrap();
    assert!(reject.place.ends_with("usb-meter line 3"), "{}", reject.place);
    assert_eq!(reject.bytes, b"noise\xff\x00");
    socket.send(b",17.26\n");
    assert_eq!(values(&gather(&mut running, 2, 0).await), ["230.2", "17.26"]);
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_is_unplugged_and_replugged_is_read_on() {
    let mut socket = Socket::new();
    let mut running = start(&meter(&socket, TRUSTED)); // it is not there yet
    for round in 0..3 {
        socket.plug_in();
        socket.send(format!("{round}.5,{round}\n12").as_bytes());
        assert_eq!(values(&gather(&mut running, 2, 0).await), [format!("{round}.5"), round.to_string()]);
        socket.unplug();
        let cut = gather(&mut running, 0, 1).await;
        assert!(cut[0].rejects[0].reason.contains("cut off"), "{}", cut[0].rejects[0].reason);
        assert_eq!(cut[0].rejects[0].bytes, b"12");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_port_is_closed_before_it_is_opened_again() {
    let mut socket = Socket::new();
    socket.plug_in();
    let mut running = start(&meter(&socket, TRUSTED));
    socket.send(b"1,1\n");
    gather(&mut running, 2, 0).await;
    let held = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        names.filter(|name| name.starts_with("/dev/pts/")).map(|name| name.display().to_string()).collect::<Vec<_>>()
    };
    let name = std::fs::read_link(&socket.path).unwrap().display().to_string();
    assert!(held().contains(&name));
    socket.unplug();
    until("the lost port to be closed", || !held().iter().any(|held| held.starts_with(&name))).await;
    running.stop().await;
}

#[tokio::test]
async fn a_first_line_that_had_begun_before_the_port_was_opened_is_put_aside() {
    let mut socket = Socket::new();
    socket.plug_in();
    socket.send(b"30.1,17.25\n230.2,17.26\n"); // was 230.1
    let mut running = start(&meter(&socket, ""));
    let intakes = gather(&mut running, 2, 1).await;
    assert_eq!(values(&intakes)[..2], ["230.2", "17.26"]);
    assert!(intakes[0].rejects[0].reason.contains("may have lost its beginning"));
    running.stop().await;
}

#[tokio::test]
async fn a_line_that_never_ends_is_named_once_and_the_next_is_read() {
    let mut socket = Socket::new();
    socket.plug_in();
    let mut running = start(&meter(&socket, "trust_first_line = true\nline_bytes_max = 64"));
    for _ in 0..20 {
        socket.send(&[b'7'; 200]);
    }
    socket.send(b"\n1,2\n");
    let intakes = gather(&mut running, 2, 1).await;
    let reject = intakes.iter().flat_map(|intake| &intake.rejects).next().unwrap();
    assert!(reject.reason.contains("line_bytes_max") && reject.bytes.len() <= 256);
    running.stop().await;
}

#[tokio::test]
async fn a_flood_of_noise_is_counted_rather_than_kept() {
    let mut socket = Socket::new();
    socket.plug_in();
    let mut running = start(&meter(&socket, TRUSTED));
    for _ in 0..100 {
        socket.send(b"#\n");
    }
    // Ten of the hundred are kept; some later reject, or one of its own after a second of quiet, tells of the others.
    let mut rejects = Vec::new();
    let told = |reason: &str| -> Option<usize> {
        let before = reason.split(" more were rejected").next()?;
        reason.contains("more were rejected").then(|| before.rsplit(' ').next()?.parse().ok())?
    };
    while rejects.iter().map(|reason: &String| told(reason).unwrap_or(0)).sum::<usize>() == 0 {
        rejects.extend(running.next().await.rejects.into_iter().map(|reject| reject.reason));
    }
    let counted: usize = rejects.iter().filter_map(|reason| told(reason)).sum();
    let kept = rejects
        .iter()
        .filter(|reason| !reason.contains("too many to keep; check") || reason.contains("before it"))
        .count();
    assert_eq!(kept + counted, 100, "{rejects:?}");
    assert!(kept < 30, "{kept}");
    running.stop().await;
}

#[tokio::test]
async fn a_silent_port_is_opened_anew() {
    let mut socket = Socket::new();
    socket.plug_in();
    let mut running = start(&meter(&socket, "trust_first_line = true\nsilence_s = 1"));
    socket.send(b"1,1\n");
    gather(&mut running, 2, 0).await;
    // Someone else is behind the name now, while the old terminal is still held open and silent.
    let old = socket.device.take();
    std::fs::remove_file(&socket.path).unwrap();
    socket.plug_in();
    socket.send(b"2,2\n");
    assert_eq!(values(&gather(&mut running, 2, 0).await), ["2", "2"]);
    drop(old);
    running.stop().await;
}

#[tokio::test]
async fn lines_with_a_time_of_their_own_keep_it() {
    let mut socket = Socket::new();
    socket.plug_in();
    let source = configured(&format!(
        r#"name = "meter"
        type = "serial"
        port = "{}"
        format = "json"
        trust_first_line = true
        time = {{ column = "time" }}
        series = [{{ column = "power.active", name = "power.active", unit = "W" }}]"#,
        socket.path.display()
    ));
    let mut running = start(&source);
    socket.send(b"{\"time\":\"2026-03-01T13:00:00+01:00\",\"power.active\":230.4}\n{\"power.active\":1}\n");
    let intakes = gather(&mut running, 1, 1).await;
    assert_eq!(told_all(&intakes)[0], format!("source {} power.active [W] gauge 230.4 offset 60", NOON.0));
    assert!(intakes.iter().any(|intake| intake.rejects.iter().any(|reject| reject.reason.contains("`time`"))));
    running.stop().await;
}

#[test]
fn bytes_that_are_no_text_are_told_with_the_speed_that_may_be_wrong() {
    let Any::Serial(settings) = meter(&Socket::new(), TRUSTED).settings else { panic!("a serial source") };
    let mut bench = Bench::open(settings.codec(None).unwrap());
    bench.hear(b"\xfe\x80\x1e\xf8\n12;\n");
    bench.hear(&[0xfe; 5_000]);
    bench.hear(b"\n");
    let (told, _) = bench.told();
    let hinted: Vec<bool> = told.iter().map(|line| line.ends_with("is `baud` what the device is set to?")).collect();
    assert_eq!(hinted, [true, false, true], "{told:?}");
}

/// The only reading that a line gives, by settings of a series and of the source.
fn value_of(line: &str, series: &str, more: &str) -> Result<f64, String> {
    let toml = format!("port = \"/dev/x\"\n{more}\n[[series]]\ncolumn = \"t\"\nname = \"t\"\n{series}");
    let settings: Settings = toml::from_str(&toml).map_err(|error| error.to_string())?;
    let parser = settings.validate().and_then(|()| settings.parser()).map_err(|error| error.to_string())?;
    match parser.read(line.as_bytes(), proto::Instant(0))?.unwrap().samples[0].reading.value {
        proto::Value::Number(number) => Ok(number),
        _ => panic!("a number"),
    }
}

#[test]
fn columns_are_scaled_as_exact_decimals_before_they_are_bounded() {
    let scaled = |text: &str, series: &str| value_of(&format!("t={text}"), series, "format = \"key_value\"");
    assert_eq!(scaled("2301", "scale = 0.1"), Ok(230.1));
    assert_eq!(scaled("3", "scale = 0.1"), Ok(0.3));
    assert_eq!(scaled("21.5", "offset = -40"), Ok(-18.5));
    assert_eq!(scaled("614", "scale = 0.05\noffset = -10.2\nmax = 20.5"), Ok(20.5));
    assert!(scaled("616", "scale = 0.05\noffset = -10.2\nmax = 20.5").unwrap_err().contains("above its `max`"));
    assert!(scaled("1234567890123456789012", "scale = 0.1").unwrap_err().contains("more digits"));
    assert!(scaled("1", "scale = 0").unwrap_err().contains("series[0].scale: is 0"));
    assert!(scaled("1", "scale = \"x\"").is_err());
}

#[test]
fn lines_are_taken_apart_by_a_pattern() {
    let read = |line: &str, pattern: &str| value_of(line, "", &format!("format = \"pattern\"\n{pattern}"));
    let both = "pattern = 'T=(?<t>[0-9.]+) +H=(?<h>[0-9.]+)%'";
    assert_eq!(read("T=21.5  H=40%\r", both), Ok(21.5));
    assert!(read("T=21.5", both).unwrap_err().contains("does not match `pattern`"));
    assert!(read("", "").unwrap_err().contains("pattern: is needed"));
    assert!(
        read("", "pattern = 'T=(?<x>.*)'")
            .unwrap_err()
            .contains("series[0].column: `t` is no group of `pattern`, which has x")
    );
    assert!(read("", "pattern = \"{t}\"").unwrap_err().contains("pattern: is no regular expression"));
    assert!(
        value_of("", "", "format = \"json\"\npattern = '(?<t>.*)'")
            .unwrap_err()
            .contains("is for format = \"pattern\"")
    );
}
