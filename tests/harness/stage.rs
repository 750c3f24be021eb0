//! The demo's stage: a gateway, an agent with a backlog and a live replay of real glucose readings, and an agent with
//! a made-up meter on a serial line.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::judge::{self, Verdict};
use crate::offered::{self, Key, Row};
use crate::pty::Port;
use crate::{Agent, Gateway, Pki, binary, data};

/// The device with glucose readings.
pub const CGM: &str = "cgm-1";
/// The device with the meter.
pub const METER: &str = "meter-1";
/// Before this instant (2020-01-01) a glucose reading is of the backlog, after it of the replay.
const REPLAY_FROM_US: i64 = 1_577_836_800_000_000;
/// What the replay replays.
const DAY_US: i64 = 86_400_000_000;

/// Everything that runs.
pub struct Stage {
    /// The gateway.
    pub gateway: Gateway,
    /// The agent with glucose readings.
    pub cgm: Agent,
    /// The agent with the meter.
    pub meter: Agent,
    rows: Vec<Row>,
    speed: i64,
    feed: Feed,
}

impl Stage {
    /// Sets the stage in `folder` and starts all. `speed` is how much faster than life the last day is replayed.
    ///
    /// # Panics
    /// When something does not start.
    #[must_use]
    pub fn set(folder: &Path, speed: i64) -> Self {
        let text = data("cgm.csv.gz");
        let csv = folder.join("cgm.csv");
        std::fs::write(&csv, &text).expect("unpack the glucose readings");
        let pki = Pki::create(&folder.join("pki"));
        let gateway = Gateway::start(&folder.join("gateway"), pki.server(), SUBJECTS);
        let mut cgm = Agent::new(
            &folder.join(CGM),
            CGM,
            Some(gateway.mqtt_port),
            &pki.device(CGM),
            &glucose_sources(&csv, speed),
        );
        let port = Port::open(&folder.join("meter-port")).expect("open a pseudo-terminal");
        let sources = meter_source(&port.path);
        let mut meter = Agent::new(&folder.join(METER), METER, Some(gateway.mqtt_port), &pki.device(METER), &sources);
        cgm.start();
        meter.start();
        Self { gateway, cgm, meter, rows: offered::cgm_rows(&text), speed, feed: Feed::start(port) }
    }

    /// How many readings the backlog has.
    #[must_use]
    pub fn backlog_len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the gateway has stored as many readings of the backlog's time as there are. The replay's, which come meanwhile,
    /// are not among them.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        let stored = judge::stored_before(&self.gateway.database(), CGM, REPLAY_FROM_US);
        stored.is_ok_and(|stored| stored >= self.rows.len())
    }

    /// How many readings the replay has: those of the file's last day.
    #[must_use]
    pub fn replay_len(&self) -> usize {
        self.last_day().count()
    }

    fn last_day(&self) -> impl Iterator<Item = &Row> {
        let last = self.rows.iter().map(|row| row.time_us).max().unwrap_or(0);
        self.rows.iter().filter(move |row| row.time_us >= last - DAY_US)
    }

    /// How many readings of `device` the API shows.
    #[must_use]
    pub fn readings(&self, device: &str) -> u64 {
        let answer = self.gateway.get("/api/v1/devices").unwrap_or_default();
        let devices = answer["devices"].as_array().cloned().unwrap_or_default();
        devices.iter().find(|each| each["id"] == device).and_then(|each| each["readings"].as_u64()).unwrap_or(0)
    }

    /// Stops the meter; what it sent until now is all that it will have sent.
    pub fn stop_meter(&mut self) {
        self.feed.stop();
    }

    /// How many readings the meter has sent.
    #[must_use]
    pub fn meter_sent(&self) -> usize {
        offered::meter_rows(&self.feed.lines()).len()
    }

    /// Holds the database against the file and the meter's lines.
    ///
    /// # Panics
    /// When the database cannot be read.
    #[must_use]
    pub fn judge(&self) -> Findings {
        let database = self.gateway.database();
        let glucose = judge::stored(&database, CGM).expect("read the gateway's database");
        let (backlog, replay): (Vec<Key>, Vec<Key>) = glucose.into_iter().partition(|key| key.time_us < REPLAY_FROM_US);
        let wanted = offered::keys("glucose", self.rows.iter().map(|row| (row.time_us, row.value)));
        let meter = judge::stored(&database, METER).expect("read the gateway's database");
        let mut sent: Vec<Key> = Vec::new();
        let rows = offered::meter_rows(&self.feed.lines());
        for series in ["power.active", "energy.active"] {
            let of = rows.iter().filter(|row| row.0 == series).map(|row| (row.1, row.2));
            sent.extend(offered::keys(series, of));
        }
        Findings {
            backlog: judge::compare(&wanted, &backlog),
            replay: judge::compare(&self.replayed(&replay), &replay),
            meter: judge::compare(&sent, &meter),
        }
    }

    /// What the replay must have given if it gave as many readings as are stored: the last day's rows in their order,
    /// the first one when it began, each other one its share of time later.
    fn replayed(&self, stored: &[Key]) -> Vec<Key> {
        let Some(start) = stored.iter().map(|key| key.time_us).min() else { return Vec::new() };
        let first = self.last_day().next().map_or(0, |row| row.time_us);
        let due = |row: &Row| start + (row.time_us - first) / self.speed;
        offered::keys("glucose", self.last_day().take(stored.len()).map(|row| (due(row), row.value)))
    }
}

/// What the judge found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The 6½ months.
    pub backlog: Verdict,
    /// Their last day, as live.
    pub replay: Verdict,
    /// The meter.
    pub meter: Verdict,
}

/// The zone of the glucose file is not known; it is read as UTC.
const SUBJECTS: &str = "[[subject]]\nid = \"person-1\"\ndisplay_name = \"Glucose\"\nzone = \"Etc/UTC\"\ndevices = [\"cgm-1\"]\n\
    [[subject]]\nid = \"home-1\"\ndisplay_name = \"Household\"\nzone = \"Etc/UTC\"\ndevices = [\"meter-1\"]\n";

fn glucose_sources(csv: &Path, speed: i64) -> String {
    let source = |name: &str, mode: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\ntype = \"file\"\npath = {csv:?}\ntime_zone = \"Etc/UTC\"\n{mode}\
             time = {{ column = \"datetime\", format = \"%Y-%m-%d %H:%M:%S\" }}\n\
             series = [{{ column = \"glucose\", name = \"glucose\", unit = \"mg/dL\", min = 20, max = 600 }}]\n"
        )
    };
    let replay = format!("mode = \"replay\"\nspeed = {speed}\nlast = \"1 day\"\n");
    source("history", "") + &source("now", &replay)
}

fn meter_source(port: &Path) -> String {
    format!(
        "[[source]]\nname = \"meter\"\ntype = \"serial\"\nport = {port:?}\nformat = \"json\"\ntrust_first_line = true\n\
         time = {{ column = \"time\" }}\n\
         series = [{{ column = \"power.active\", name = \"power.active\", unit = \"W\" }}, \
         {{ column = \"energy.active\", name = \"energy.active\", unit = \"W.h\", kind = \"counter\" }}]\n"
    )
}

/// Lines of a made-up meter on their way to the serial line.
struct Feed {
    lines: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Port>>,
    /// Once the feed has stopped: the line stays plugged in.
    port: Option<Port>,
}

impl Feed {
    fn start(mut port: Port) -> Self {
        let mut meter = Command::new(binary("tributary-agent"))
            .args(["simulate", "meter", "--seed", "7"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the made-up meter");
        let output = BufReader::new(meter.stdout.take().expect("its output is piped"));
        let (lines, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (sent, stopped) = (lines.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // Noted first: a reading must never be stored before it is known to be offered.
                let mut noted = sent.lock().expect("nobody panics with it");
                noted.push(line.clone());
                if !port.send(&line) {
                    noted.pop(); // the wire was full, so nobody ever got it
                }
            }
            let _ = meter.kill();
            let _ = meter.wait();
            port
        });
        Self { lines, stop, thread: Some(thread), port: None }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            self.port = thread.join().ok();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
    }
}
