//! Twenty sources of as many kinds as there are, on one agent: a hundred readings a second in all, from devices that speak at
//! the pace of real ones and run in the process that holds this, not in the agent's.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use emulators::air::Air;
use emulators::dexcom::{Generation, Receiver};
use emulators::modbus::Modbus;
use emulators::nightscout::Site;
use emulators::oximeters::{Contec, Nonin, Vitals};
use emulators::taidoc::TaiDoc;
use emulators::{Device, Manners, Socket, Test};

use crate::device::now_us;
use crate::servers::Mosquitto;

mod paced;
mod speakers;

use paced::{Paced, sentences, telegram, wave};
use speakers::{Logger, Program, Publisher, Speaker, UPLOADED, Uploader};

/// How many sources there are.
pub const SOURCES: u32 = 20;
/// Readings a second of all together, at least.
pub const READINGS_PER_S: u32 = 100;
/// What they are, for who reads a table.
pub const KINDS: &str = "3 serial (key=value, JSON, regular expression), 2 modbus (TCP, RTU), dsmr, nmea, sds011, plantower_pms, \
                         mhz19, nonin_oem3, contec_cms50, glucose_meter, dexcom_receiver, exec, system, socket, folder, mqtt \
                         (Mosquitto), nightscout";
/// What has come of a source and can have come of no other: what it is, a series, and a value where others have that series too.
pub const PROOFS: [(&str, &str, Option<u8>); 20] = [
    ("serial, key=value", "pairs", None),
    ("serial, JSON", "json", None),
    ("serial, regular expression", "words", None),
    ("modbus, TCP", "inverter.7", None),
    ("modbus, RTU", "frequency", None),
    ("dsmr", "power.active.import", None),
    ("glucose_meter", "glucose.meal", None),
    ("dexcom_receiver", "receiver.display_offset", None),
    ("nmea", "position.latitude", None),
    ("sds011", "pm10", None),
    ("plantower_pms", "particles.0.3", None),
    ("mhz19", "co2", None),
    ("nonin_oem3", "spo2", Some(NONIN)),
    ("contec_cms50", "spo2", Some(CONTEC)),
    ("exec", "program.e", None),
    ("system", "system.uptime", None),
    ("socket", "app.e", None),
    ("folder", "logger.v", None),
    ("mqtt", "temperature.sensor-4", None),
    ("nightscout", "glucose", Some(UPLOADED)),
];
/// Oxygen saturation in percent that each oximeter measures.
const NONIN: u8 = 97;
const CONTEC: u8 = 96;
const SECOND: Duration = Duration::from_secs(1);

/// The devices. They fall silent when it is dropped.
pub struct Mix {
    /// The `[[source]]` tables.
    pub tables: String,
    sockets: Vec<Socket>,
    _broker: Mosquitto,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Mix {
    /// Plugs everything in; files, sockets and the broker are in `folder`.
    ///
    /// # Errors
    /// [`crate::servers::Missing`] when Mosquitto is not on this machine; others when the system gives no terminal or port.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let broker = Mosquitto::start_with(&folder.join("broker"), |port| {
            format!("user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\n")
        })?;
        let port = broker.port;
        let (tables, sockets, threads) = (String::new(), Vec::new(), Vec::new());
        let mut mix = Self { tables, sockets, _broker: broker, stop: Arc::default(), threads };
        mix.boards()?;
        mix.meters()?;
        mix.sensors()?;
        mix.programs(folder, port)?;
        Ok(mix)
    }

    /// Adds a source that is no device at a wire.
    fn source(&mut self, kind: &str, settings: &str) {
        let number = self.tables.matches("[[source]]").count();
        let _ = writeln!(self.tables, "[[source]]\nname = \"{kind}-{number}\"\ntype = \"{kind}\"\n{settings}");
    }

    /// Adds one that is, behind a terminal.
    fn wired(&mut self, kind: &str, settings: &str, device: impl Device + 'static) -> anyhow::Result<()> {
        let mut socket = Socket::new()?;
        socket.plug_in(device, Manners::good())?;
        self.source(kind, &format!("port = {:?}\n{settings}", socket.path));
        self.sockets.push(socket);
        Ok(())
    }

    /// Boards that print lines, five times a second.
    fn boards(&mut self) -> anyhow::Result<()> {
        let every = SECOND / 5;
        let series =
            |name: &str| format!("trust_first_line = true\nseries = [{{ column = \"v\", name = \"{name}\" }}]");
        let pairs = Paced::new(every, |count| format!("v={}.5\n", wave(count)).into_bytes());
        self.wired("serial", &format!("format = \"key_value\"\n{}", series("pairs")), pairs)?;
        let json = Paced::new(every, |count| format!("{{\"v\":{}.5}}\n", wave(count)).into_bytes());
        self.wired("serial", &format!("format = \"json\"\n{}", series("json")), json)?;
        let words = Paced::new(every, |count| format!("Tank 1: {}.5 mm\n", wave(count)).into_bytes());
        let pattern = r"format = 'pattern'
pattern = 'Tank \d+: (?<v>[0-9.]+) mm'";
        self.wired("serial", &format!("{pattern}\n{}", series("words")), words)
    }

    /// Meters of energy, and of people.
    fn meters(&mut self) -> anyhow::Result<()> {
        let mut inverter = Modbus { over_tcp: true, ..Modbus::default() };
        let mut registers = String::from("every_s = 1\n");
        for number in 0..24_u16 {
            inverter.registers.insert((1, 3, 100 + number), 2_300 + number);
            let _ = writeln!(
                registers,
                "[[source.registers]]\nname = \"inverter.{number}\"\naddress = {}\nkind = \"holding\"\ntype = \"u16\"\nscale = 0.1",
                100 + number
            );
        }
        let address = Socket::over_tcp(inverter)?;
        self.source("modbus", &format!("port = \"tcp://{address}\"\n{registers}"));
        self.wired("modbus", "map = \"sdm630\"\nevery_s = 2", Modbus::sdm630())?;
        self.wired("dsmr", "version = 5", Paced::new(SECOND, telegram))?;
        let tests = (0..100).map(|number| Test { meal: 1, ..Test::number(number) }).collect();
        let meter = "model = \"taidoc\"\ntime_zone = \"Europe/Berlin\"\nevery_s = 30";
        self.wired("glucose_meter", meter, TaiDoc::new(tests))?;
        let mut receiver = Receiver::new("sm40000000", Generation::G4);
        (0..100).for_each(|number| receiver.glucose(number, 118, 4));
        self.wired("dexcom_receiver", "every_s = 30", receiver)
    }

    /// Sensors of air, place and people, which push many times a second or once.
    fn sensors(&mut self) -> anyhow::Result<()> {
        let pushed = |mut air: Air| air.pushes.pop().unwrap_or_default();
        self.wired("nmea", "", Paced::new(SECOND, sentences))?;
        let tenths = |count| u16::try_from(wave(count)).unwrap_or_default();
        let fine = move |count| pushed(Air::sds011(&[(tenths(count), 100)]));
        self.wired("sds011", "", Paced::new(SECOND, fine))?;
        let words = move |count| pushed(Air::plantower(&[tenths(count), 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0], 1));
        self.wired("plantower_pms", "", Paced::new(SECOND, words))?;
        self.wired("mhz19", "every_s = 5", Air::mhz19(700, 21))?;
        let vitals = |spo2: u8| Vitals { spo2, pulse: 65, finger: true };
        let mut nonin = Nonin::new(2, vitals(NONIN));
        self.wired("nonin_oem3", "", Paced::new(SECOND / 75, move |_| nonin.idle()))?;
        let mut contec = Contec::new(false, vitals(CONTEC));
        self.wired("contec_cms50", "protocol = \"old\"", Paced::new(SECOND / 60, move |_| contec.idle()))
    }

    /// What comes from programs, files and the network.
    fn programs(&mut self, folder: &Path, broker: u16) -> anyhow::Result<()> {
        let series = |columns: &[&str], prefix: &str| {
            let one = |column: &&str| format!("{{ column = \"{column}\", name = \"{prefix}.{column}\" }}");
            format!("series = [{}]", columns.iter().map(one).collect::<Vec<_>>().join(", "))
        };
        let five = ["a", "b", "c", "d", "e"];
        let script = "while :; do echo a=1 b=2 c=3 d=4 e=5.5; sleep 1; done";
        let environment = "environment = { PATH = \"/usr/bin:/bin\" }\nformat = \"key_value\"";
        let command =
            format!("command = [\"/bin/sh\", \"-c\", \"{script}\"]\n{environment}\n{}", series(&five, "program"));
        self.source("exec", &command);
        self.source("system", "every_s = 10");
        let path = folder.join("readings.sock");
        self.source("socket", &format!("path = {path:?}\n{}", series(&five, "app")));
        let inbox = folder.join("inbox");
        std::fs::create_dir_all(&inbox)?;
        let csv =
            "format = \"csv\"\nevery_s = 5\nsettle_s = 0\nafter = \"remove\"\ntime = { column = \"t\", unit = \"s\" }";
        self.source("folder", &format!("path = {inbox:?}\n{csv}\n{}", series(&["v"], "logger")));
        let topics = "[[source.topics]]\nfilter = \"zigbee2mqtt/+\"\nseries = [{ pointer = \"/temperature\", name = \
                      \"temperature.{1}\", unit = \"Cel\" }]";
        self.source("mqtt", &format!("host = \"127.0.0.1\"\nport = {broker}\n{topics}"));
        let site = Site::start(None)?;
        site.store().now_ms = now_us() / 1_000; // the agent looks back for some days, by its own clock
        let plain = "allow_http = true\nallow_private_addresses = true\nevery_s = 10\ncollections = [\"entries\"]";
        self.source("nightscout", &format!("url = \"http://127.0.0.1:{}\"\n{plain}", site.port));
        self.speak(Publisher { port: broker, stream: None });
        self.speak(Program { path, stream: None });
        self.speak(Logger(inbox));
        self.speak(Uploader { site });
        Ok(())
    }

    /// Has it speak once a second. What it cannot say yet, as long as the agent is not there, is not said.
    fn speak(&mut self, mut speaker: impl Speaker + 'static) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            let (began, mut count) = (Instant::now(), 0_u32);
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                let _ = speaker.speak(count);
                std::thread::sleep((began + SECOND * count).saturating_duration_since(Instant::now()));
            }
        }));
    }
}

impl Drop for Mix {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}
