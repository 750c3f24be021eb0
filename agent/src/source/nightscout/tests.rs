//! The whole source against a site.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use emulators::nightscout::{Collection as Kind, Fault, Site};
use proto::{Change, Instant, Value};
use serde_json::json;
use tokio::sync::mpsc;

use super::problem::Problem;
use super::*;
use crate::source::testing::NOON;
use crate::source::{Intake, Sample};

mod change;
mod faults;
mod random;
mod secrets;
mod time;

/// The site's clock at first, which is ours too.
const NOW_MS: i64 = NOON.0 / 1_000;
const MINUTE_MS: i64 = 60_000;
const TOKEN: &str = "reader-0123456789abcdef";

/// A site, a reader, and all that it has handed over.
struct World {
    site: Site,
    folder: tempfile::TempDir,
    settings: Settings,
    reader: Reader,
    intakes: mpsc::Receiver<Intake>,
    taken: Vec<Sample>,
    rejects: Vec<String>,
    /// The last that was handed over.
    cursor: Option<Vec<u8>>,
}

/// Settings for the site at `port`, and what else stands in them.
fn settings(port: u16, more: &str) -> Settings {
    let url = format!("url = \"http://127.0.0.1:{port}\"\n");
    toml::from_str(&format!("{url}allow_http = true\nallow_private_addresses = true\n{more}")).unwrap()
}

fn reader(settings: &Settings, cursor: Option<&[u8]>) -> (Reader, mpsc::Receiver<Intake>) {
    let (outlet, intakes) = Outlet::new(4_096);
    let memory = cursor.map(|cursor| Memory::decode(cursor).unwrap()).unwrap_or_default();
    let (clock, name) = (SourceClock::new(Still), SourceName::from("site"));
    let mut reader = Reader::new(settings, memory, clock, name, outlet, CancellationToken::new()).unwrap();
    reader.sweep_always();
    (reader, intakes)
}

/// It is noon.
struct Still;

impl crate::source::clock::Now for Still {
    fn boot(&self) -> Instant {
        Instant(0)
    }

    fn wall(&self) -> Option<Instant> {
        Some(NOON)
    }
}

impl World {
    /// A site that is read with its token.
    fn with_token(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        certs::key_file::create_private(&file, TOKEN.as_bytes()).unwrap();
        let site = Site::start(None).unwrap();
        site.store().token = Some(TOKEN.into());
        Self::new(site, folder, &format!("token_file = {file:?}\n{more}"))
    }

    /// A site that anyone may read.
    fn open(more: &str) -> Self {
        Self::new(Site::start(None).unwrap(), tempfile::tempdir().unwrap(), more)
    }

    fn new(site: Site, folder: tempfile::TempDir, more: &str) -> Self {
        let settings = settings(site.port, more);
        settings.validate().unwrap();
        let (reader, intakes) = reader(&settings, None);
        Self { site, folder, settings, reader, intakes, taken: Vec::new(), rejects: Vec::new(), cursor: None }
    }

    /// Looks once; what came of it.
    async fn try_look(&mut self) -> Result<(), Problem> {
        let looked = self.reader.look().await;
        while let Ok(intake) = self.intakes.try_recv() {
            assert!(intake.samples.len() <= crate::source::INTAKE_SAMPLES_MAX);
            self.cursor = Some(intake.cursor.expect("a place to go on from"));
            self.rejects.extend(intake.rejects.iter().map(|one| format!("{}: {}", one.place, one.reason)));
            self.taken.extend(intake.samples);
        }
        match looked {
            Err(Halt::Problem(problem)) => Err(problem),
            Err(Halt::Stopping) => panic!("nobody stops it"),
            Ok(()) => Ok(()),
        }
    }

    /// Looks once, with all well; how many readings came.
    async fn look(&mut self) -> usize {
        let before = self.taken.len();
        self.try_look().await.unwrap();
        self.taken.len() - before
    }

    /// The agent was killed, and starts from its last cursor.
    fn restart(&mut self) {
        (self.reader, self.intakes) = reader(&self.settings, self.cursor.as_deref());
    }

    /// All values of a series in the order in which they came.
    fn values(&self, series: &str) -> Vec<String> {
        self.taken.iter().filter(|sample| sample.series.name.as_str() == series).map(value).collect()
    }

    /// What counts in the end of each record, as the gateway has it: the last change of the greatest revision.
    fn counting(&self) -> BTreeMap<(String, String), Vec<String>> {
        type Standing = (u64, u8);
        let mut best: BTreeMap<(String, String), (Standing, Vec<String>)> = BTreeMap::new();
        for sample in &self.taken {
            let origin = sample.reading.origin.as_ref().expect("each of these has a name");
            let change = match origin.change {
                Change::Add => 0,
                Change::Replace => 1,
                Change::Retract => 2,
            };
            let ours = (origin.revision, change);
            let place = best.entry((sample.series.name.to_string(), origin.id.clone())).or_default();
            if ours > place.0 {
                *place = (ours, Vec::new());
            }
            if ours == place.0 && origin.change != Change::Retract {
                place.1.push(format!("{} {}", sample.reading.time.0, value(sample)));
            }
        }
        best.into_iter().map(|(key, (_, values))| (key, values)).filter(|(_, values)| !values.is_empty()).collect()
    }

    /// No reading came twice.
    fn assert_once(&self) {
        let mut seen = BTreeSet::new();
        for sample in &self.taken {
            let origin = sample.reading.origin.as_ref().expect("each of these has a name");
            let key = format!("{} {origin:?} {}", sample.series.name, value(sample));
            assert!(seen.insert(key.clone()), "twice: {key}");
        }
    }
}

fn value(sample: &Sample) -> String {
    match &sample.reading.value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Json(json) => json.clone(),
        Value::State(state) => state.to_string(),
        Value::Absent => "absent".into(),
        Value::Bool(_) => panic!("no site says that"),
    }
}

/// A sensor's glucose.
fn sgv(mg_dl: u16) -> serde_json::Value {
    json!({"type": "sgv", "sgv": mg_dl, "direction": "Flat", "device": "sensor"})
}

fn note(text: &str) -> serde_json::Value {
    json!({"eventType": "Note", "notes": text})
}

#[test]
fn the_sample_is_read_and_states_the_defaults() {
    let sample = include_str!("sample.toml");
    let config: toml::Table = toml::from_str(sample).unwrap();
    let source = config["source"].as_array().unwrap()[0].clone();
    let configured: crate::source::Configured = source.clone().try_into().unwrap();
    configured.validate().unwrap();
    let crate::source::Settings::Nightscout(settings) = configured.settings else { panic!("a site") };
    let bare: Settings =
        toml::from_str("url = \"https://my-site.example\"\ntoken_file = \"/etc/tributary/nightscout.token\"").unwrap();
    assert_eq!(*settings, bare);
    // serde lists what it knows when it meets something else.
    let error = toml::from_str::<Settings>("url = \"https://a.example\"\nnothing = 1").unwrap_err().to_string();
    for setting in error.split('`').skip(1).step_by(2).filter(|word| *word != "nothing") {
        assert!(sample.contains(&format!("{setting} = ")), "{setting} is missing in sample.toml");
    }
}

#[test]
fn settings_that_cannot_be_are_named_with_what_to_do() {
    for (more, field, says) in [
        ("url = \"http://a.example\"", "url", "allow_http"),
        ("url = \"a.example\"", "url", "https://"),
        (
            "url = \"https://a.example\"\ntoken_file = \"a\"\napi_secret_file = \"b\"",
            "api_secret_file",
            "keep the token",
        ),
        ("url = \"https://a.example\"\napi = \"v3\"", "token_file", "readable"),
        ("url = \"https://a.example\"\ncollections = []", "collections", "entries"),
        ("url = \"https://a.example\"\ncollections = [\"entries\", \"entries\"]", "collections", "once"),
        ("url = \"https://a.example\"\nevery_s = 5", "every_s", "10 to 86400"),
        ("url = \"https://a.example\"\noverlap_h = 0", "overlap_h", "1 to 168"),
        ("url = \"https://a.example\"\nhistory_days = 40000", "history_days", "36500"),
        ("url = \"https://a.example\"\nanswer_s = 0", "answer_s", "1 to 600"),
        ("url = \"https://a.example\"\nconnect_s = 500", "connect_s", "1 to 120"),
        ("url = \"https://a.example\"\nanswer_bytes_max = 10", "answer_bytes_max", "65536"),
    ] {
        let error = toml::from_str::<Settings>(more).unwrap().validate().unwrap_err();
        assert!(error.field == field && error.problem.contains(says), "{more}: {error}");
    }
    assert!(toml::from_str::<Settings>("url = \"https://a.example\"\ncollections = [\"food\"]").is_err());
}
