//! The parsers of what sources read from outside, for who feeds them hostile bytes. No part of the agent calls this.

use std::sync::LazyLock;

use proto::{Instant, Kind};

use super::fields::{Key, Mapping, SeriesSettings};
use super::format::LineFormat;
use super::lines::Framer;
use super::pattern::Pattern;
use super::record::{Parser, TimeField};
use super::times::TimeSettings;

/// As sources have it by default.
const LINE_BYTES_MAX: usize = 4_096;

static CSV: LazyLock<Vec<Parser>> = LazyLock::new(|| parsers(Lines::Csv));
static JSON: LazyLock<Vec<Parser>> = LazyLock::new(|| parsers(Lines::Json));
static KEY_VALUE: LazyLock<Vec<Parser>> = LazyLock::new(|| parsers(Lines::KeyValue));
static PATTERN: LazyLock<Vec<Parser>> = LazyLock::new(|| parsers(Lines::Pattern));

/// How the bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// Rows of fields, as in files and on serial wires.
    Csv,
    /// An object a line.
    Json,
    /// `name=value` pairs.
    KeyValue,
    /// Named parts of a pattern.
    Pattern,
}

/// Reads `bytes` in `pieces`, as a wire or a file gives them. Answers how many readings there were.
///
/// # Panics
/// When a byte is not accounted for, or a line gives more readings than it has series.
#[must_use]
pub fn read(lines: Lines, bytes: &[u8], pieces: usize) -> usize {
    let parsers = match lines {
        Lines::Csv => &*CSV,
        Lines::Json => &*JSON,
        Lines::KeyValue => &*KEY_VALUE,
        Lines::Pattern => &*PATTERN,
    };
    let (mut framer, mut taken, mut readings) = (Framer::new(LINE_BYTES_MAX), 0, 0);
    for piece in bytes.chunks(pieces.max(1)) {
        framer.push(piece);
        while let Some(line) = framer.next() {
            taken += line.taken;
            readings += parsers.iter().map(|parser| readings_of(parser, &line.bytes)).sum::<usize>();
        }
    }
    if let Some(line) = framer.rest() {
        taken += line.taken;
        readings += parsers.iter().map(|parser| readings_of(parser, &line.bytes)).sum::<usize>();
    }
    assert_eq!(taken, bytes.len() as u64, "every byte is of one line");
    readings
}

/// Reads `bytes` as a file's cursor, as the buffer may give it back damaged.
///
/// # Panics
/// When a cursor that was read is not written and read again to the same.
pub fn cursor(bytes: &[u8]) {
    super::file::fuzz_cursor(bytes);
}

/// Takes `bytes` for what a glucose meter of that model says, in `pieces`. Answers how many readings there were.
///
/// # Panics
/// When the model is not known, or more comes out than bytes can say.
#[cfg(feature = "glucose")]
#[must_use]
pub fn meter(model: &str, bytes: &[u8], pieces: usize) -> usize {
    device(&format!("type = \"glucose_meter\"\nmodel = \"{model}\"\ntime_zone = \"Europe/Berlin\""), bytes, pieces)
}

/// Takes `bytes` for what a device says, in `pieces`; `toml` is what is configured for it, but for its port. Answers how
/// many readings there were.
///
/// # Panics
/// When it is no device, or more comes out than bytes can say.
#[must_use]
pub fn device(toml: &str, bytes: &[u8], pieces: usize) -> usize {
    use super::device::{Now, Out};

    let port = if toml.contains("port = ") { "" } else { "port = \"/x\"\n" };
    let settings: super::Settings = toml::from_str(&format!("{port}{toml}")).expect("known settings");
    let device = settings.device().expect("a device");
    let mut codec = device.codec(None).expect("no cursor is no bad one");
    let mut now = Now { boot: Instant(0), wall: None };
    let (mut out, mut written) = (Out::default(), 0);
    codec.opened(now, &mut out);
    for piece in bytes.chunks(pieces.max(1)) {
        codec.heard(piece, now, &mut out);
        // As the shell has it: what is to be sent is sent, and a deadline comes when the device is silent.
        written += out.take_write().len();
        if piece.first().is_some_and(|byte| byte.is_multiple_of(16))
            && let Some(at) = out.take_deadline()
        {
            now.boot = at;
            codec.due(now, &mut out);
        }
    }
    codec.lost(now, &mut out);
    let readings = out.readings();
    assert!(readings <= bytes.len(), "a reading takes a byte at least");
    assert!(written <= 64 * (bytes.len() + 1), "a question for a byte at most");
    readings
}

/// Takes `bytes` for a page of a Dexcom receiver, for each of its records, and for what was taken of one. Answers how many
/// readings and records there were.
///
/// # Panics
/// When what was taken is not written and read again to the same.
#[cfg(feature = "glucose")]
#[must_use]
pub fn dexcom_page(bytes: &[u8]) -> usize {
    super::dexcom_receiver::fuzz_page(bytes)
}

/// Reads `bytes` as what was taken of the meters on an energy meter's bus.
///
/// # Panics
/// When what was read is not written and read again to the same.
#[cfg(feature = "energy")]
pub fn dsmr_cursor(bytes: &[u8]) {
    super::dsmr::fuzz_cursor(bytes);
}

/// Reads `bytes` as what was taken of meters.
///
/// # Panics
/// When what was read is not written and read again to the same.
#[cfg(feature = "glucose")]
pub fn meter_cursor(bytes: &[u8]) {
    super::glucose::fuzz_cursor(bytes);
}

/// Takes `bytes` for what was heard at a serial port.
///
/// # Panics
/// When what is guessed of it is no configuration.
pub fn guess(bytes: &[u8]) {
    super::device::probe::fuzz_guess(bytes, super::SourceClock::invented(Instant(0)));
}

/// Takes `bytes` for what a broker nearby says, in `pieces`. Answers how many readings there were.
///
/// # Panics
/// When a bound does not hold.
#[cfg(feature = "mqtt")]
#[must_use]
pub fn mqtt_broker(bytes: &[u8], pieces: usize) -> usize {
    super::mqtt::fuzzing::broker(bytes, pieces)
}

/// Takes `bytes` for a topic, a newline and what was published there. Answers how many readings there were.
///
/// # Panics
/// When a message gives more readings than it has series.
#[cfg(feature = "mqtt")]
#[must_use]
pub fn mqtt_message(bytes: &[u8]) -> usize {
    super::mqtt::fuzzing::message(bytes)
}

/// Takes `bytes` for a payload of Sparkplug B. Answers how many readings there were.
///
/// # Panics
/// When a bound does not hold.
#[cfg(feature = "mqtt")]
#[must_use]
pub fn sparkplug(bytes: &[u8]) -> usize {
    super::mqtt::fuzzing::sparkplug(bytes)
}

/// Reads `bytes` as what was taken last of a broker.
///
/// # Panics
/// When what was read is not written again to the same.
#[cfg(feature = "mqtt")]
pub fn mqtt_cursor(bytes: &[u8]) {
    super::mqtt::fuzzing::cursor(bytes);
}

/// Reads `bytes` as an export of Dexcom Clarity or of LibreView. Answers how many readings there were.
///
/// # Panics
/// When something is read of columns that are not known.
#[cfg(feature = "files")]
#[must_use]
pub fn export(clarity: bool, bytes: &[u8]) -> usize {
    super::folder::fuzz_export(clarity, bytes)
}

/// Reads `bytes` as what was read of a folder.
///
/// # Panics
/// When what was read is not written and read again to the same.
#[cfg(feature = "files")]
pub fn folder_cursor(bytes: &[u8]) {
    super::folder::fuzz_cursor(bytes);
}

/// Reads `bytes` as a file of `/proc` or `/sys`.
///
/// # Panics
/// When a number comes out that is none, or a share beyond the whole.
#[cfg(feature = "programs")]
pub fn system(bytes: &[u8]) {
    super::system::fuzz_read(&String::from_utf8_lossy(bytes));
}

/// Takes `bytes` for what a Nightscout site answers, whatever was asked for.
/// Takes `bytes` for what a Nightscout site answers, whatever was asked for: as HTTP, and as the text in it.
///
/// # Panics
/// When more comes out than fits an intake, or than was to be read.
#[cfg(feature = "nightscout")]
pub fn nightscout(bytes: &[u8]) {
    super::nightscout::fuzz_answer(bytes);
    super::nightscout::fuzz_http(bytes);
}

/// Reads `bytes` as what was taken of a Nightscout site.
///
/// # Panics
/// When what was read is not written and read again to the same.
#[cfg(feature = "nightscout")]
pub fn nightscout_cursor(bytes: &[u8]) {
    super::nightscout::fuzz_cursor(bytes);
}

fn readings_of(parser: &Parser, line: &[u8]) -> usize {
    let found = parser.read(line, Instant(1)).ok().flatten().map_or(0, |taken| taken.samples.len());
    assert!(found <= SERIES.len(), "a reading for each series at most");
    let _ = parser.time_of(line);
    found
}

/// What is looked for in each line, one of a kind.
const SERIES: [(&str, Kind); 4] = [("v", Kind::Gauge), ("s", Kind::State), ("t", Kind::Text), ("e", Kind::Event)];

/// With a time of their own in three ways of writing it, and without.
fn parsers(lines: Lines) -> Vec<Parser> {
    let format = match lines {
        Lines::Csv => LineFormat::Csv { separator: ',' },
        Lines::Json => LineFormat::Json,
        Lines::KeyValue => LineFormat::KeyValue { separator: ' ' },
        Lines::Pattern => LineFormat::Pattern(
            Pattern::new(r"(?<time>[^|]*)\|(?<v>[^;]*);s=(?<s>[^%]*)%(?:\S*) (?<t>.*) \[(?<e>[^\]]*)\]")
                .expect("a pattern"),
        ),
    };
    let key = |name: &str, number: usize| match lines {
        Lines::Csv => Key::Number(number),
        _ => Key::Name(name.to_owned()),
    };
    let time = |format: Option<&str>, zone| {
        let settings = TimeSettings { column: key("time", 1), format: format.map(str::to_owned), unit: None };
        TimeField::new(&settings, zone).ok()
    };
    let mapping = || {
        let series = |(index, (name, kind)): (usize, &(&str, Kind))| {
            let text = format!("column = 1\nname = \"{name}\"\nkind = \"{}\"", kind.word());
            let settings: Option<SeriesSettings> = toml::from_str(&text).ok();
            settings.map(|settings| SeriesSettings { column: key(name, index + 2), ..settings })
        };
        let series: Vec<SeriesSettings> = SERIES.iter().enumerate().filter_map(series).collect();
        assert_eq!(series.len(), SERIES.len(), "settings that are read");
        Mapping::new(&series).expect("settings that fit together")
    };
    let times = [None, time(None, Some("Europe/Berlin")), time(Some("%Y-%m-%d %H:%M:%S"), Some("America/New_York"))];
    times.into_iter().map(|time| Parser { format: format.clone(), mapping: mapping(), time, columns: None }).collect()
}
