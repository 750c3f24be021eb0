use std::io::Write;
use std::path::Path;
use std::time::Duration;

use proto::{Instant, Lane, Value};

use super::*;
use crate::source::Intake;
use crate::source::testing::{NOON, Running, all_of, assert_golden, configured, intake, told_all};
use crate::source::{Configured, Settings as Any};

fn cgm(path: &Path, more: &str) -> Configured {
    configured(&format!(
        r#"name = "cgm"
        type = "file"
        path = "{}"
        time_zone = "America/New_York"
        time = {{ column = "datetime", format = "%Y-%m-%d %H:%M:%S" }}
        {more}
        [[series]]
        column = "glucose"
        name = "glucose"
        unit = "mg/dL"
        min = 20
        max = 600
        states = {{ "Low" = "low(39)", "High" = "high(401)" }}
        [[series]]
        column = "isig"
        name = "glucose.current"
        unit = "nA"
        [[series]]
        column = "note"
        name = "note"
        kind = "text""#,
        path.display()
    ))
}

fn recorded(name: &str) -> std::path::PathBuf {
    Path::new("src/source/file/testdata").join(name)
}

fn settings(configured: &Configured) -> Settings {
    match &configured.settings {
        Any::File(settings) => settings.clone(),
        _ => unreachable!("these tests are about files"),
    }
}

/// A folder with a file of `rows` rows, one a minute from midnight of 2026-03-01 in New York.
fn rows(rows: usize) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let mut text = String::from("isig,datetime,glucose,note\n");
    for row in 0..rows {
        text.push_str(&format!(",2026-03-01 {:02}:{:02}:00,{},\n", row / 60 % 24, row % 60, 100 + row % 50));
    }
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn numbers(intakes: &[Intake]) -> Vec<f64> {
    let samples = intakes.iter().flat_map(|intake| &intake.samples);
    samples
        .filter_map(|sample| if let Value::Number(number) = sample.reading.value { Some(number) } else { None })
        .collect()
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(serde::Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let text = std::fs::read_to_string("src/source/file/sample.toml").unwrap();
    let sample: Sample = toml::from_str(&text).unwrap();
    for source in &sample.source {
        source.validate().unwrap();
    }
    let (full, short) = (settings(&sample.source[0]), settings(&sample.source[1]));
    assert_eq!(short.mode, Mode::Import);
    let defaults = Settings {
        format: full.format,
        mode: full.mode,
        last: full.last.clone(),
        series: full.series.clone(),
        ..short
    };
    assert_eq!(defaults, full);
}

#[tokio::test(start_paused = true)]
async fn a_recorded_csv_file_becomes_what_it_must() {
    let intakes = all_of(&cgm(&recorded("cgm.csv"), ""), None).await;
    assert!(intakes.iter().all(|intake| intake.lane == Lane::Backfill && !intake.urgent));
    assert_golden("file/testdata/cgm.expected", &told_all(&intakes));
}

#[tokio::test]
async fn a_recorded_ndjson_file_becomes_what_it_must() {
    let source = configured(&format!(
        r#"name = "meter"
        type = "file"
        path = "{}"
        time = {{ column = "time" }}
        series = [
            {{ column = "power.active", name = "power.active", unit = "W" }},
            {{ column = "energy.active", name = "energy.active", unit = "W.h", kind = "counter" }},
            {{ column = "mode", name = "mode", kind = "state" }},
            {{ column = "on", name = "on", kind = "state" }},
            {{ column = "event", name = "treatment", kind = "event" }},
        ]"#,
        recorded("meter.ndjson").display()
    ));
    assert_golden("file/testdata/meter.expected", &told_all(&all_of(&source, None).await));
}

#[tokio::test(start_paused = true)]
async fn an_import_cut_at_any_row_goes_on_with_the_next() {
    let source = cgm(&recorded("cgm.csv"), "");
    let whole = told_all(&all_of(&source, None).await);
    let (mut reader, mut cursor) = Reader::open(&settings(&source), None).unwrap();
    reader.take_rest(); // its last line has no end
    let mut before = intake();
    let mut cuts = 0;
    loop {
        let rest = all_of(&source, Some(cursor.encode())).await;
        let mut told = told_all(&[vec![before.clone()], rest].concat());
        told.sort();
        let mut wanted = whole.clone();
        wanted.sort();
        assert_eq!(told, wanted, "cut after line {}", cursor.lines);
        let Some(record) = reader.read(1).unwrap().pop() else { break };
        record.add_to(&mut before, &mut cursor);
        cuts += 1;
    }
    assert_eq!(cuts, 14);
}

#[tokio::test]
async fn a_long_import_comes_in_intakes_of_a_thousand_rows_and_resumes_behind_each() {
    let (_folder, path) = rows(1_400);
    let source = cgm(&path, "");
    let whole = all_of(&source, None).await;
    assert_eq!(whole.iter().map(|intake| intake.samples.len()).collect::<Vec<_>>(), [1_000, 400]);
    let rest = all_of(&source, whole[0].cursor.clone()).await;
    assert_eq!(told_all(&rest), told_all(&whole[1..]));
    assert!(all_of(&source, whole[1].cursor.clone()).await.is_empty());
}

#[tokio::test]
async fn a_file_that_grew_is_read_on_and_another_file_is_refused() {
    let (_folder, path) = rows(3);
    let source = cgm(&path, "");
    let cursor = all_of(&source, None).await[0].cursor.clone();
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b",2026-03-01 01:00:00,77,\n").unwrap();
    let grown = all_of(&source, cursor.clone()).await;
    assert_eq!(numbers(&grown), [77.0]);
    assert!(grown[0].rejects.is_empty());

    for (content, problem) in [("isig,datetime,glucose,note\n", "shorter"), (&"x".repeat(500), "begins otherwise")] {
        std::fs::write(&path, content).unwrap();
        let clock = SourceClock::invented(NOON);
        let error = Running::start(&source, cursor.clone(), &clock, 4).task.await.unwrap().unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("another name"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named_with_its_file() {
    let (folder, path) = rows(1);
    let error = async |path: &Path, more: &str| {
        let source = cgm(path, more);
        let running = Running::start(&source, None, &SourceClock::invented(NOON), 4);
        running.task.await.unwrap().unwrap_err().to_string()
    };
    assert!(error(&folder.path().join("gone.csv"), "").await.contains("gone.csv"));
    assert!(error(folder.path(), "format = \"csv\"").await.contains("no plain file"));
    std::fs::write(&path, [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(error(&path, "").await.contains("unpack it first"));
    std::fs::write(&path, "when,datetime,118\n").unwrap();
    let found = error(&path, "").await;
    assert!(found.contains("rows.csv line 1: no column is named `glucose`; it has when, datetime"), "{found}");
    assert!(!found.contains("118"));
    let running = Running::start(&cgm(&path, ""), Some(b"{}".to_vec()), &SourceClock::invented(NOON), 4);
    assert!(running.task.await.unwrap().unwrap_err().to_string().contains("rename the source"));
}

#[test]
fn settings_that_cannot_be_are_named() {
    let path = Path::new("a.csv");
    for (more, field) in [
        ("speed = 2.0", "source.cgm.mode"),
        ("mode = \"replay\"\nspeed = 0.0", "source.cgm.speed"),
        ("mode = \"replay\"\nlast = \"soon\"", "source.cgm.last"),
        ("line_bytes_max = 1", "source.cgm.line_bytes_max"),
        ("separator = '\"'", "source.cgm.separator"),
    ] {
        let text = toml::to_string(&cgm(path, "")).unwrap();
        let mut table: toml::Table = toml::from_str(&text).unwrap();
        table.extend(toml::from_str::<toml::Table>(more).unwrap());
        let source: Configured = table.try_into().unwrap();
        assert_eq!(source.validate().unwrap_err().field, field);
    }
    let mut source = cgm(path, "");
    let Any::File(settings) = &mut source.settings else { unreachable!() };
    settings.series[1].unit = "furlong".parse().unwrap();
    assert_eq!(source.validate().unwrap_err().field, "source.cgm.series[1].unit");
    let unknown =
        toml::from_str::<Configured>("name = \"a\"\ntype = \"file\"\npath = \"a.csv\"\nspeeed = 1").unwrap_err();
    assert!(unknown.to_string().contains("speeed"), "{unknown}");
}

const REPLAY: &str = "mode = \"replay\"\nspeed = 60.0";

#[tokio::test(start_paused = true)]
async fn a_replay_hands_rows_over_when_they_are_due_and_stamps_them_so() {
    let (_folder, path) = rows(5);
    let mut running = Running::start(&cgm(&path, REPLAY), None, &SourceClock::invented(NOON), 4);
    let began = tokio::time::Instant::now();
    for row in 0..5 {
        let intake = running.next().await;
        let [sample] = intake.samples.as_slice() else { panic!("one row at a time") };
        assert_eq!(sample.reading.time, Instant(NOON.0 + row * 1_000_000));
        assert_eq!(sample.reading.utc_offset_minutes, Some(-300));
        assert_eq!(intake.lane, Lane::Live);
        let late = began.elapsed().checked_sub(Duration::from_secs(row.unsigned_abs())).expect("not early");
        assert!(late < Duration::from_millis(100), "{late:?}");
    }
    assert_eq!(running.task.await.unwrap().unwrap(), Ended::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_was_cut_goes_on_with_the_same_times_wherever_it_was_cut() {
    let (_folder, path) = rows(6);
    let source = cgm(&path, REPLAY);
    let whole = all_of(&source, None).await;
    assert_eq!(whole.len(), 6);
    for cut in 0..6 {
        // Two minutes later all of the rest is overdue and comes at once, in order.
        let clock = SourceClock::invented(Instant(NOON.0 + 120_000_000));
        let mut running = Running::start(&source, whole[cut].cursor.clone(), &clock, 4);
        let mut rest = Vec::new();
        while let Some(intake) = running.intakes.recv().await {
            rest.push(intake);
        }
        assert!(rest.len() <= 1);
        assert_eq!(told_all(&rest), told_all(&whole[cut + 1..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_the_last_hour_leaves_out_what_came_before() {
    let (_folder, path) = rows(100);
    let source = cgm(&path, "mode = \"replay\"\nspeed = 1000.0\nlast = \"1 h\"");
    let intakes = all_of(&source, None).await;
    assert_eq!(numbers(&intakes).len(), 61, "rows 39 to 99: the row just an hour before the last one is in");
    assert_eq!(intakes[0].samples[0].reading.time, NOON);
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_the_clock_to_be_known() {
    struct Unknown(std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl crate::source::clock::Now for Unknown {
        fn boot(&self) -> Instant {
            Instant(0)
        }
        fn wall(&self) -> Option<Instant> {
            self.0.load(std::sync::atomic::Ordering::Relaxed).then_some(NOON)
        }
    }
    let known = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (_folder, path) = rows(2);
    let clock = SourceClock::new(Unknown(known.clone()));
    let mut running = Running::start(&cgm(&path, REPLAY), None, &clock, 4);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(running.intakes.try_recv().is_err());
    known.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(running.next().await.samples[0].reading.time, NOON);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_outlet_makes_an_import_wait_and_a_stop_ends_it() {
    let (_folder, path) = rows(1_400);
    let running = Running::start(&cgm(&path, ""), None, &SourceClock::invented(NOON), 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(running.intakes.len(), 1);
    running.stop.cancel();
    assert_eq!(running.task.await.unwrap().unwrap(), Ended::Stopped);
}

/// Values, and what is withdrawn.
fn said(intakes: &[Intake]) -> Vec<String> {
    let line = |sample: &crate::source::Sample| match (&sample.reading.value, &sample.reading.origin) {
        (Value::Absent, Some(origin)) => format!("{:?} {}", origin.change, origin.id),
        (Value::Number(number), Some(origin)) => format!("{number} as {}", origin.id),
        (Value::Number(number), None) => number.to_string(),
        other => panic!("{other:?}"),
    };
    intakes.iter().flat_map(|intake| &intake.samples).map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn a_last_row_without_an_end_is_waited_for_and_withdrawn_should_it_go_on_after_all() {
    let (_folder, path) = rows(1);
    let add =
        |text: &str| std::fs::File::options().append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
    add(",2026-03-01 00:01:00,11");
    let source = cgm(&path, "");
    let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 4);
    assert_eq!(numbers(&[running.next().await]), [100.0]);
    tokio::time::sleep(Duration::from_secs(40)).await;
    add("8,");
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert!(running.intakes.try_recv().is_err(), "it has grown within a minute");
    let began = tokio::time::Instant::now();
    let last = running.next().await;
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(running.task.await.unwrap().unwrap(), Ended::Finished);
    let taken = said(std::slice::from_ref(&last));
    assert!(taken[0].starts_with("118 as "), "{taken:?}");
    let id = taken[0].split_once(" as ").unwrap().1.to_owned();
    // Its newline alone adds nothing; more of the line takes the place of what was taken.
    let whole = std::fs::read_to_string(&path).unwrap();
    for (rest, expected) in [
        ("\r\n", vec![]),
        ("\n,2026-03-01 00:02:00,90,\n", vec!["90".to_owned()]),
        ("ate 12 g\n", vec![format!("Retract {id}"), "118".to_owned()]),
    ] {
        std::fs::write(&path, format!("{whole}{rest}")).unwrap();
        let more = all_of(&source, last.cursor.clone()).await;
        let found: Vec<String> = said_numbers(&more);
        assert_eq!(found, expected, "{rest:?}");
    }
}

/// The same without notes.
fn said_numbers(intakes: &[Intake]) -> Vec<String> {
    let mut intakes = intakes.to_vec();
    intakes.iter_mut().for_each(|intake| intake.samples.retain(|one| !matches!(one.reading.value, Value::Text(_))));
    said(&intakes)
}

#[tokio::test(start_paused = true)]
async fn a_header_without_an_end_is_said_and_read_once_it_has_one() {
    let (_folder, path) = rows(0);
    std::fs::write(&path, "isig,datetime,gluc").unwrap();
    let running = Running::start(&cgm(&path, ""), None, &SourceClock::invented(NOON), 4);
    let error = running.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("no end yet") && error.contains("line 1"), "{error}");
}
