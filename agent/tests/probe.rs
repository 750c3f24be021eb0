//! `probe` and `dry-run` as a person runs them: what is found is configured, and what is configured is shown.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(feature = "glucose")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use emulators::codefree::CodeFree;
use emulators::contour::Contour;
use emulators::freestyle::Freestyle;
use emulators::lifescan::LifeScan;
use emulators::taidoc::TaiDoc;
use emulators::ultra2::Ultra2;
use emulators::{Device, Manners, Socket, Test};
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_tributary-agent");
/// Tests in each meter.
const TESTS: u16 = 12;

fn agent(arguments: &[&str]) -> Output {
    Command::new(AGENT).args(arguments).env("TRIBUTARY_LOG", "info").stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A configuration of these sources in a folder of its own, and the folder.
fn configuration(sources: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (path, buffer) = (folder.path().join("agent.toml"), folder.path().join("buffer.db"));
    std::fs::write(&path, format!("[device]\nid = \"meter-7\"\n[buffer]\npath = {buffer:?}\n{sources}")).unwrap();
    (folder, path)
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn dry_run(config: &Path, seconds: &str) -> Self {
        let mut command = Command::new(AGENT);
        command.args(["dry-run", "--json", "--for", seconds, "--config"]).arg(config);
        Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Asks it to end, as Ctrl-C does, and awaits that; whether it ended well.
    fn interrupt(&mut self) -> bool {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.success();
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The number in a line of `dry-run --json`.
fn value(line: &str) -> Option<f64> {
    line.split_once("\"value\":")?.1.trim_end_matches('}').parse().ok()
}

/// How long a meter may think about an answer: the first time, and where nothing was found, for a machine with much to do.
const SILENCES_MS: [&str; 2] = ["400", "2000"];
/// Who is given more patience is given it alone.
static ALONE: Mutex<()> = Mutex::new(());

/// What `probe --yes` with `arguments` says of `what`, which speaks at the port that `plugged_in` gives: an agent that was
/// off the processor when an answer came has not heard it, and looks once more.
fn probed<T>(what: &str, mut plugged_in: impl FnMut() -> T, arguments: impl Fn(&T) -> Vec<String>) -> (T, String) {
    let [quick, patient] = SILENCES_MS.map(|silence| ["probe", "--yes", "--listen", "1", "--silence", silence]);
    let mut look = |silence: [&str; 6]| {
        let port = plugged_in();
        let own = arguments(&port);
        let probe = agent(&silence.into_iter().chain(own.iter().map(String::as_str)).collect::<Vec<_>>());
        (port, text(&probe.stdout), text(&probe.stderr), probe.status.success())
    };
    let mut seen = look(quick);
    if !seen.1.contains(what) {
        let _alone = ALONE.lock().unwrap();
        seen = look(patient);
    }
    let (port, printed, told, is_well) = seen;
    assert!(is_well && printed.contains(what), "{what}: {printed}{told}");
    (port, printed)
}

/// Finds the meter, checks what was printed, runs it dry, and holds the readings against the meter's own.
fn find_and_read<M: Device + 'static>(what: &str, meter: impl Fn() -> M) {
    let plugged_in = || {
        let mut socket = Socket::new().unwrap();
        socket.plug_in(meter(), Manners::good()).unwrap();
        socket
    };
    let port = |socket: &Socket| vec!["--port".to_owned(), socket.path.to_str().unwrap().to_owned()];
    let (_socket, printed) = probed(&format!("#   {what}: "), plugged_in, port);

    let (folder, config) = configuration(&printed);
    let check = agent(&["check-config", "--config", config.to_str().unwrap()]);
    assert!(check.status.success(), "{what}: {}", text(&check.stderr));

    let mut dry_run = Running::dry_run(&config, "60");
    let mut lines = BufReader::new(dry_run.0.stdout.take().unwrap()).lines();
    let values: Vec<f64> = lines.by_ref().filter_map(|line| value(&line.unwrap())).take(TESTS.into()).collect();
    let expected: Vec<f64> = (0..TESTS).map(|number| Test::number(number).mg_dl.into()).collect();
    assert_eq!(values, expected, "{what}");
    assert!(dry_run.interrupt(), "{what}: readings and no trouble end well");
    let last = lines.map_while(Result::ok).last().unwrap();
    assert!(last.contains(&format!("\"readings\":{TESTS}")) && last.contains("\"errors\":0"), "{what}: {last}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["agent.toml"], "{what}: nothing was written");
}

#[test]
fn every_emulated_meter_is_found_and_its_configuration_is_accepted_and_yields_its_readings() {
    let tests = || (0..TESTS).map(Test::number).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        scope.spawn(|| find_and_read("OneTouch UltraMini or UltraEasy", || LifeScan::ultra_mini("C176SA5C9", tests())));
        scope.spawn(|| find_and_read("OneTouch Verio IQ", || LifeScan::verio_iq("YZAB1234", tests())));
        scope.spawn(|| find_and_read("OneTouch Ultra2", || Ultra2::new("C123ABC4Y", tests())));
        scope.spawn(|| find_and_read("FreeStyle Lite or Freedom Lite", || Freestyle::lite("DBMN123-A4567", tests())));
        scope.spawn(|| {
            find_and_read("FreeStyle Optium or Precision Xtra", || Freestyle::optium("XCGM123-A4567", tests()));
        });
        scope.spawn(|| find_and_read("Bayer or Ascensia Contour", || Contour::new("7390-2336773", tests())));
        scope.spawn(|| find_and_read("TaiDoc TD-42xx or GlucoRx Nexus", || TaiDoc::new(tests())));
        scope.spawn(|| find_and_read("SD Biosensor CodeFree", || CodeFree::new(tests())));
    });
}

/// A machine with one USB adapter, which `port` is at the end of.
fn machine(port: &Path) -> TempDir {
    let machine = tempfile::tempdir().unwrap();
    let root = machine.path();
    let usb = root.join("sys/devices/usb1/1-1");
    std::fs::create_dir_all(usb.join("1-1:1.0/ttyUSB0/tty/ttyUSB0")).unwrap();
    std::fs::create_dir_all(root.join("sys/class/tty")).unwrap();
    std::fs::create_dir_all(root.join("dev/serial/by-id")).unwrap();
    for (file, text) in [("idVendor", "0403"), ("idProduct", "6001"), ("serial", "A5069RR4")] {
        std::fs::write(usb.join(file), text).unwrap();
    }
    symlink("../../../ttyUSB0", usb.join("1-1:1.0/ttyUSB0/tty/ttyUSB0/device")).unwrap();
    symlink(usb.join("1-1:1.0/ttyUSB0/tty/ttyUSB0"), root.join("sys/class/tty/ttyUSB0")).unwrap();
    symlink(port, root.join("dev/ttyUSB0")).unwrap();
    symlink("../../ttyUSB0", root.join("dev/serial/by-id/usb-FTDI_A5069RR4-if00-port0")).unwrap();
    machine
}

#[test]
fn plugged_in_ports_are_listed_with_their_ids_and_tried_by_their_stable_name() {
    let plugged_in = || {
        let mut socket = Socket::new().unwrap();
        socket.plug_in(TaiDoc::new(vec![Test::number(1)]), Manners::good()).unwrap();
        let machine = machine(&socket.path);
        (socket, machine)
    };
    let root = |machine: &TempDir| machine.path().to_str().unwrap().to_owned();
    let ((socket, machine), printed) =
        probed("taidoc", plugged_in, |(_, machine)| vec!["--json".to_owned(), "--root".to_owned(), root(machine)]);
    let root = &root(&machine);
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let port = &printed["ports"][0];
    let path = format!("{root}/dev/serial/by-id/usb-FTDI_A5069RR4-if00-port0");
    assert_eq!(port["path"], path.as_str());
    assert_eq!((&port["usb"]["vendor"], &port["usb"]["serial_ends"]), (&0x0403.into(), &"9RR4".into()));
    let found = port["result"]["configuration"].as_str().unwrap();
    assert!(found.contains("taidoc") && found.contains(&path), "{found}");
    // Without consent it is only listened to.
    let heard = socket.heard();
    let probe = agent(&["probe", "--listen", "1", "--root", root]);
    assert!(text(&probe.stdout).contains("with --yes devices are asked too"), "{}", text(&probe.stdout));
    assert_eq!(socket.heard(), heard);
    let empty = tempfile::tempdir().unwrap();
    let probe = agent(&["probe", "--root", empty.path().to_str().unwrap()]);
    assert_eq!(text(&probe.stdout), "# This machine has no serial port now.\n");
}

fn source(port: &Path) -> String {
    format!(
        "[[source]]\nname = \"meter\"\ntype = \"glucose_meter\"\nmodel = \"taidoc\"\ntime_zone = \"UTC\"\nport = {port:?}\n"
    )
}

/// What `dry-run` says of a source that has trouble.
fn trouble(mut command: Command, config: &Path) -> String {
    let output = command.args(["dry-run", "--for", "1", "--config"]).arg(config).stdin(Stdio::null()).output().unwrap();
    let (printed, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{printed}{told}");
    assert!(told.contains("trouble, or nothing, came of meter"), "{told}");
    printed
}

#[test]
fn a_missing_port_and_a_port_in_use_are_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (_own, config) = configuration(&source(&folder.path().join("no-such-port")));
    let said = trouble(Command::new(AGENT), &config);
    assert!(said.contains("0 readings, 0 rejects, 1 errors") && said.contains("is it plugged in?"), "{said}");

    let mut socket = Socket::new().unwrap();
    socket.plug_in(TaiDoc::new(vec![Test::number(1)]), Manners::good()).unwrap();
    let (_own, config) = configuration(&source(&socket.path));
    let mut first = Running::dry_run(&config, "60");
    let mut lines = BufReader::new(first.0.stdout.take().unwrap()).lines();
    assert!(value(&lines.next().unwrap().unwrap()).is_some(), "the first has the port");
    let said = trouble(Command::new(AGENT), &config);
    let holder = format!("tributary-agent (process {}) has it open", first.0.id());
    assert!(said.contains(&holder), "{said}");
    assert!(first.interrupt());
}

#[test]
fn a_port_that_may_not_be_opened_is_told_with_its_group_or_mode() {
    let mut socket = Socket::new().unwrap();
    socket.plug_in(TaiDoc::new(vec![Test::number(1)]), Manners::good()).unwrap();
    let terminal = socket.path.canonicalize().unwrap();
    // Nobody may enter private folders: all that the process needs is where it may.
    let shared = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let program = shared.path().join("tributary-agent");
    std::fs::copy(AGENT, &program).unwrap();
    let config = shared.path().join("agent.toml");
    std::fs::write(&config, format!("[device]\nid = \"m\"\n[buffer]\npath = \"b\"\n{}", source(&terminal))).unwrap();
    for (mode, advice) in [(0o660, "`usermod -aG "), (0o600, "a udev rule")] {
        let mut command = Command::new(&program);
        let mode = if rustix::process::geteuid().is_root() {
            command.uid(65_534).gid(65_534);
            mode
        } else {
            mode & 0o077 // an owner is asked for his own bits alone
        };
        std::fs::set_permissions(&terminal, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = trouble(command, &config);
        assert!(said.contains("Permission denied") && said.contains(advice), "{said}");
    }
}

#[test]
fn a_dry_run_shows_readings_and_rejects_and_begins_from_the_beginning_each_time() {
    let rows = "time,v\n2026-03-01T12:00:00Z,21.5\n2026-03-01T12:01:00Z,warm\n2026-03-01T12:02:00Z,Low\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, rows).unwrap();
    let (own, config) = configuration(&format!(
        "[[source]]\nname = \"rows\"\ntype = \"file\"\npath = {file:?}\ntime = {{ column = \"time\" }}\nseries = [{{ column = \
         \"v\", name = \"temperature\", unit = \"Cel\", states = {{ \"Low\" = \"low(0)\" }} }}]\n[[source]]\nname = \"other\"\n\
         type = \"simulate\"\nwhat = \"person\"\n"
    ));
    let config = config.to_str().unwrap();
    for _ in 0..2 {
        let output = agent(&["dry-run", "--source", "rows", "--config", config]);
        let printed = text(&output.stdout);
        assert!(output.status.success(), "{printed}{}", text(&output.stderr));
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[0], "2026-03-01T12:00:00.000Z  rows  temperature  21.5 Cel");
        assert_eq!(lines[1], "2026-03-01T12:02:00.000Z  rows  temperature  low(0) Cel");
        assert!(lines[2].starts_with("rejected  rows  ") && lines[2].ends_with("12:01:00Z,warm"), "{printed}");
        assert_eq!(lines[3..], ["rows: 2 readings, all that there is, 1 rejects, 0 errors"]);
    }
    let left: Vec<_> = std::fs::read_dir(own.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["agent.toml"], "nothing was written");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), rows);

    let output = agent(&["dry-run", "--source", "nobody", "--config", config]);
    assert!(text(&output.stderr).contains("there is no source `nobody`; there is rows, other"));
    std::fs::remove_file(&file).unwrap();
    let output = agent(&["dry-run", "--source", "rows", "--config", config]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("0 readings, 0 rejects, 1 errors; the last: cannot look at"), "{output:?}");
}
