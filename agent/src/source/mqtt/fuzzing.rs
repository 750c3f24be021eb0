//! The parsers here, for who feeds them hostile bytes: see `super::super::fuzzing`.

use std::sync::LazyLock;

use proto::Instant;

use super::recent::Recent;
use super::session::Session;
use super::{Content, Settings};
use crate::source::device::Now;
use crate::source::mqtt::batch::Batch;
use crate::source::{INTAKE_SAMPLES_MAX, SourceName};

const NOW: Now = Now { boot: Instant(1_000_000), wall: Some(Instant(1_772_366_400_000_000)) };

const JSON: &str = r#"
host = "localhost"
message_bytes_max = 4096
time_zone = "Europe/Berlin"
[[topics]]
filter = "a/+"
series = [{ pointer = "", name = "v.{1}" }]
[[topics]]
filter = "b/+/c"
time = { pointer = "/at" }
series = [
    { pointer = "/t/0/v", name = "t.{1}", min = -50, max = 80 },
    { pointer = "/s", name = "s.{1}", kind = "state" },
    { pointer = "/text", name = "text.{1}", kind = "text", required = true },
    { pointer = "/e", name = "e.{1}", kind = "event" },
]
"#;

const SPARKPLUG: &str = r#"
host = "localhost"
format = "sparkplug_b"
[[topics]]
filter = "g/+"
alive = "alive.{1}"
[[topics]]
filter = "g/+/+"
series = [
    { metric = "Inputs/Temperature", name = "t.{1}.{2}" },
    { metric = "Running", name = "r.{1}.{2}", kind = "state" },
    { metric = "Name", name = "n.{1}.{2}", kind = "text" },
]
"#;

static OF_JSON: LazyLock<Settings> = LazyLock::new(|| settings(JSON));
static OF_SPARKPLUG: LazyLock<Settings> = LazyLock::new(|| settings(SPARKPLUG));

fn settings(toml: &str) -> Settings {
    let settings: Settings = toml::from_str(toml).expect("settings that are read");
    settings.validate().expect("settings that fit together");
    settings
}

/// Takes `bytes` for what a broker says once it has welcomed us, in `pieces`. Answers how many readings there were.
pub(in crate::source) fn broker(bytes: &[u8], pieces: usize) -> usize {
    let (content, filters) = OF_JSON.content().expect("settings that were checked");
    let manner = OF_JSON.manner("s", filters).expect("no files");
    let mut session = Session::new(SourceName::from("s"), manner, content, None);
    session.opened(NOW);
    session.heard(&[0x20, 2, 0, 0, 0x90, 4, 0, 1, 1, 1], NOW).expect("a welcome");
    let mut readings = 0;
    for piece in bytes.chunks(pieces.max(1)) {
        let mut goes_on = session.heard(piece, NOW).is_ok();
        while let Some((batch, cursor)) = session.take_batch() {
            readings += checked(&batch);
            assert!(Recent::decode(&cursor).is_some(), "a cursor that was written is read");
            session.stored(NOW);
            goes_on = goes_on && session.read_on(NOW).is_ok();
        }
        assert!(session.take_write().len() <= 64 + 8 * (bytes.len() + 1), "an acknowledgement for a message at most");
        if !goes_on {
            break;
        }
    }
    readings
}

/// Takes `bytes` for a topic, a newline and a payload. Answers how many readings there were.
pub(in crate::source) fn message(bytes: &[u8]) -> usize {
    let (Content::Topics(mut topics), _) = OF_JSON.content().expect("settings that were checked") else {
        unreachable!("they are of JSON")
    };
    let (topic, payload) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    let mut batch = Batch::default();
    topics.take(&String::from_utf8_lossy(topic), payload.get(1..).unwrap_or_default(), NOW.boot, &mut batch);
    assert!(checked(&batch) <= topics.readings_max());
    checked(&batch)
}

/// Takes `bytes` for a payload of Sparkplug B: as each kind of message, born before and not. Answers how many readings
/// there were.
pub(in crate::source) fn sparkplug(bytes: &[u8]) -> usize {
    let (Content::Sparkplug(mut sparkplug), _) = OF_SPARKPLUG.content().expect("settings that were checked") else {
        unreachable!("they are of Sparkplug B")
    };
    let mut readings = 0;
    for topic in ["DDATA/n/d", "NBIRTH/n", "DBIRTH/n/d", "DDATA/n/d", "NDATA/n", "DDEATH/n/d", "NDEATH/n"] {
        let mut batch = Batch::default();
        let asked = sparkplug.take(&format!("spBv1.0/g/{topic}"), bytes, NOW, &mut batch);
        assert!(asked.is_none() || !batch.rejects.is_empty(), "nobody is asked without a reason");
        assert!(batch.live.len() + batch.past.len() <= sparkplug.readings_max());
        readings += checked(&batch);
    }
    readings
}

/// A cursor that can be read is written and read again to the same.
pub(in crate::source) fn cursor(bytes: &[u8]) {
    if let Some(recent) = Recent::decode(bytes) {
        assert_eq!(recent.encode(), bytes);
    }
}

/// How many readings there are, within what is handed over at once.
fn checked(batch: &Batch) -> usize {
    let readings = batch.live.len() + batch.past.len();
    assert!(batch.live.len() <= INTAKE_SAMPLES_MAX && batch.past.len() <= INTAKE_SAMPLES_MAX);
    assert!(batch.rejects.len() <= 65 && batch.acks.len() <= 64);
    readings
}
