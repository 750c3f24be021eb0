use std::io::Write;
use std::path::Path;

use proto::{Instant, Lane, Value};

use super::*;
use crate::source::testing::{NOON, Running, assert_golden, configured, told_all};
use crate::source::{Configured, Intake, Settings as Any};

mod unended;

fn csv(folder: &Path, more: &str) -> Configured {
    configured(&format!(
        "name = \"inbox\"\ntype = \"folder\"\nformat = \"csv\"\npath = {folder:?}\nevery_s = 1\nsettle_s = 0\n{more}\n\
         time = {{ column = \"t\", unit = \"s\" }}\nseries = [{{ column = \"v\", name = \"v\" }}]"
    ))
}

fn export(folder: &Path, format: &str, more: &str) -> Configured {
    configured(&format!(
        "name = \"inbox\"\ntype = \"folder\"\nformat = \"{format}\"\npath = {folder:?}\nevery_s = 1\nsettle_s = 0\n\
         time_zone = \"America/New_York\"\n{more}"
    ))
}

fn rows(values: impl IntoIterator<Item = i32>) -> String {
    let rows: Vec<String> = values.into_iter().map(|value| format!("{value},{value}\n")).collect();
    format!("t,v\n{}", rows.concat())
}

/// Everything that is handed over until nothing more comes for some looks.
async fn all_of(source: &Configured, cursor: Option<Vec<u8>>) -> Vec<Intake> {
    let mut running = Running::start(source, cursor, &SourceClock::invented(NOON), 64);
    let intakes = settled(&mut running).await;
    running.stop().await;
    intakes
}

async fn settled(running: &mut Running) -> Vec<Intake> {
    let mut intakes = Vec::new();
    while let Ok(Some(mut intake)) =
        tokio::time::timeout(std::time::Duration::from_secs(15), running.intakes.recv()).await
    {
        std::mem::take(&mut intake.confirm).tell(Ok(()));
        assert!(intake.samples.len() <= crate::source::INTAKE_SAMPLES_MAX && intake.cursor.is_some());
        intakes.push(intake);
    }
    intakes
}

fn numbers(intakes: &[Intake]) -> Vec<f64> {
    let samples = intakes.iter().flat_map(|intake| &intake.samples);
    samples
        .filter_map(|sample| if let Value::Number(number) = sample.reading.value { Some(number) } else { None })
        .collect()
}

fn rejects(intakes: &[Intake]) -> Vec<String> {
    let rejects = intakes.iter().flat_map(|intake| &intake.rejects);
    rejects.map(|reject| format!("{}: {}", reject.place, reject.reason)).collect()
}

fn last_cursor(intakes: &[Intake]) -> Option<Vec<u8>> {
    intakes.last().and_then(|intake| intake.cursor.clone())
}

#[test]
fn the_samples_are_valid_and_show_every_default() {
    #[derive(serde::Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let sample: Sample = toml::from_str(include_str!("sample.toml")).unwrap();
    sample.source.iter().for_each(|source| source.validate().unwrap());
    let Any::Folder(full) = &sample.source[0].settings else { unreachable!() };
    let Any::Folder(bare) = csv(&full.path, "").settings else { unreachable!() };
    let [ending, zone] = [full.ending.clone(), full.time_zone.clone()];
    let defaults = Settings {
        every_s: every_s(),
        settle_s: settle_s(),
        time: full.time.clone(),
        series: full.series.clone(),
        ending,
        time_zone: zone,
        ..bare
    };
    assert_eq!(&defaults, full);
}

#[test]
fn settings_that_cannot_be_are_named_with_what_to_do() {
    for (format, more, field, advice) in [
        ("csv", "", "time", "the column"),
        ("csv", "time = { column = \"t\" }", "series", "are needed"),
        ("csv", "dates = \"day_first\"", "dates", "time.format"),
        ("clarity", "", "time_zone", "such as Europe/Berlin"),
        ("clarity", "time_zone = \"Mars\"", "time_zone", "no time zone"),
        ("libreview", "time_zone = \"UTC\"\ntime = { column = \"t\" }", "time", "leave it out"),
        ("ndjson", "ending = \".json\"", "ending", "last dot"),
        ("csv", "settle_s = 4000", "settle_s", "0 to 3600"),
        ("csv", "every_s = 0", "every_s", "1 to 86400"),
        ("csv", "last_line_s = 59", "last_line_s", "60 to 86400"),
    ] {
        let text = format!("name = \"a\"\ntype = \"folder\"\npath = \"/in\"\nformat = \"{format}\"\n{more}");
        let mut source: Configured = toml::from_str(&text).unwrap();
        if let Any::Folder(settings) = &mut source.settings
            && field == "time"
            && format == "csv"
        {
            settings.series = vec![toml::from_str("column = 1\nname = \"v\"").unwrap()];
        }
        let error = source.validate().unwrap_err();
        assert_eq!(error.field, format!("source.a.{field}"), "{error}");
        assert!(error.problem.contains(advice), "{error}");
    }
    let error =
        toml::from_str::<Configured>("name = \"a\"\ntype = \"folder\"\npath = \"/in\"\nformat = \"xls\"").unwrap_err();
    assert!(error.to_string().contains("libreview"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn each_export_becomes_what_it_must() {
    for (format, more) in [("clarity", ""), ("libreview", "")] {
        let folder = tempfile::tempdir().unwrap();
        let recorded = format!("src/source/folder/testdata/{format}.csv");
        std::fs::copy(recorded, folder.path().join("Sample Person_2026.csv")).unwrap();
        let intakes = all_of(&export(folder.path(), format, more), None).await;
        assert!(intakes.iter().all(|intake| intake.lane == Lane::Backfill && !intake.urgent));
        assert_golden(&format!("folder/testdata/{format}.expected"), &told_all(&intakes));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_records_in_another_encoding_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string("src/source/folder/testdata/clarity.csv").unwrap();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    std::fs::write(folder.path().join("Sample Person_2026.csv"), [vec![0xff, 0xfe], utf16(&text)].concat()).unwrap();
    let source = export(folder.path(), "clarity", "");
    let first = all_of(&source, None).await;
    assert_golden("folder/testdata/clarity.expected", &told_all(&first));
    // Grown, in the same encoding: what was read is known by its place.
    let more = utf16("19,2026-03-08T03:30:00,EGV,,,,iPhone G6,102,,,,,4847871,8SAMPLE\r\n");
    let grown = std::fs::File::options().append(true).open(folder.path().join("Sample Person_2026.csv"));
    grown.unwrap().write_all(&more).unwrap();
    // And once more as UTF-8 with a mark: every record of it is known.
    std::fs::write(folder.path().join("again.csv"), format!("\u{feff}{text}")).unwrap();
    let second = all_of(&source, last_cursor(&first)).await;
    assert_eq!(numbers(&second), [102.0], "{:?}", rejects(&second));
}

#[tokio::test(start_paused = true)]
async fn an_export_that_overlaps_the_one_before_adds_what_is_new_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string("src/source/folder/testdata/clarity.csv").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let part = |rows: &[&str]| format!("{}\n{}\n", lines[0], rows.join("\n"));
    std::fs::write(folder.path().join("1.csv"), part(&lines[6..9])).unwrap();
    let source = export(folder.path(), "clarity", "");
    let first = all_of(&source, None).await;
    assert_eq!(first.iter().map(|intake| intake.samples.len()).sum::<usize>(), 3);
    // Each export numbers its rows anew.
    let renumbered: Vec<String> = lines[7..12].iter().map(|row| format!("9{row}")).collect();
    let renumbered: Vec<&str> = renumbered.iter().map(String::as_str).collect();
    std::fs::write(folder.path().join("2.csv"), part(&renumbered)).unwrap();
    let second = all_of(&source, last_cursor(&first)).await;
    assert_eq!(numbers(&second), [401.0, -2.5, 112.0, 4.5]);
    assert!(all_of(&source, last_cursor(&second)).await.is_empty(), "a start with nothing new hands nothing over");
}

#[tokio::test(start_paused = true)]
async fn files_are_read_in_order_and_what_is_appended_is_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("b.csv"), rows([3, 4])).unwrap();
    std::fs::write(path("a.csv"), rows([1, 2])).unwrap();
    let mut running = Running::start(&csv(folder.path(), ""), None, &SourceClock::invented(NOON), 64);
    assert_eq!(numbers(&settled(&mut running).await), [1.0, 2.0, 3.0, 4.0]);
    std::fs::File::options().append(true).open(path("a.csv")).unwrap().write_all(b"5,5\n6,").unwrap();
    let more = settled(&mut running).await;
    assert_eq!((numbers(&more), rejects(&more).len()), (vec![5.0], 0), "an empty field is no reading");
    running.stop().await;
    let rest = all_of(&csv(folder.path(), ""), last_cursor(&more)).await;
    assert_eq!((numbers(&rest), rejects(&rest).len()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_still_written_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let source = csv(folder.path(), "");
    let Any::Folder(settings) = source.settings.clone() else { unreachable!() };
    let source = Configured { settings: Any::Folder(Settings { settle_s: 20, ..settings }), ..source };
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "t,v\n").unwrap();
    let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 64);
    let began = tokio::time::Instant::now();
    for value in 1..=3 {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        assert!(running.intakes.try_recv().is_err(), "after {value} rows");
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(format!("{value},{value}\n").as_bytes()).unwrap();
    }
    let taken = tokio::time::timeout(std::time::Duration::from_secs(40), running.intakes.recv()).await.unwrap();
    assert_eq!(numbers(&[taken.unwrap()]), [1.0, 2.0, 3.0]);
    assert!(began.elapsed() >= std::time::Duration::from_secs(50));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_cut_or_rewritten_is_refused_once_with_what_to_do_and_no_other_suffers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["cut.csv", "head.csv", "tail.csv"] {
        std::fs::write(path(name), rows(1..2_000)).unwrap();
    }
    let source = csv(folder.path(), "");
    let first = all_of(&source, None).await;
    assert_eq!(numbers(&first).len(), 3 * 1_999);
    std::fs::write(path("cut.csv"), rows(1..1_900)).unwrap();
    std::fs::write(path("head.csv"), rows(2..2_200)).unwrap();
    std::fs::write(path("tail.csv"), rows((1..1_999).chain([5_555, 2_001]))).unwrap();
    std::fs::write(path("zzz.csv"), rows([7])).unwrap();
    let second = all_of(&source, last_cursor(&first)).await;
    let found = rejects(&second);
    assert_eq!(found.len(), 3, "{found:?}");
    for (found, how) in found.iter().zip(["cut short", "rewritten", "rewritten"]) {
        assert!(found.contains(how) && found.contains("up to line 2000") && found.contains("another name"), "{found}");
    }
    assert_eq!(numbers(&second), [7.0]);
    assert!(all_of(&source, last_cursor(&second)).await.is_empty(), "it is said once");
    // Put back, and with more behind it: read on.
    std::fs::write(path("cut.csv"), rows(1..2_001)).unwrap();
    assert_eq!(numbers(&all_of(&source, last_cursor(&second)).await), [2_000.0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_read_goes_only_when_it_is_stored_and_its_name_may_come_again() {
    for (after, left) in [("move", true), ("remove", false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let source = csv(folder.path(), &format!("after = \"{after}\""));
        std::fs::write(&path, rows([1])).unwrap();
        let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 64);
        let rows_of = running.next().await;
        let mut last = running.next().await;
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        assert!(path.exists(), "not yet stored");
        std::mem::take(&mut last.confirm).tell(Ok(()));
        tokio::time::sleep(std::time::Duration::from_secs(30)).await;
        assert!(!path.exists());
        assert_eq!(folder.path().join("done/a.csv").exists(), left);
        running.stop().await;
        // The cursor is of before it was taken away: as after a power cut.
        std::fs::write(&path, rows([2])).unwrap();
        let second = all_of(&source, last.cursor.clone()).await;
        assert_eq!((numbers(&[rows_of]), numbers(&second), rejects(&second)), (vec![1.0], vec![2.0], vec![]));
        assert!(!path.exists());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_such_file_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("1.csv", b"PK\x03\x04 a spreadsheet");
    write("2.csv", b"time,118\n1,2\n");
    let found = rejects(&all_of(&csv(folder.path(), ""), None).await);
    assert!(found[0].contains("1.csv") && found[0].contains("save it as CSV"), "{found:?}");
    assert!(found[1].contains("no column is named `v`; it has time") && !found[1].contains("118"), "{found:?}");
    let found = rejects(&all_of(&export(folder.path(), "clarity", ""), None).await);
    assert!(found[1].contains("check `format`") && found[1].contains("English"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_file_comes_in_intakes_and_resumes_behind_each() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), rows(1..1_200)).unwrap();
    let source = csv(folder.path(), "live = true");
    let whole = all_of(&source, None).await;
    assert!(whole.len() >= 3 && whole.iter().all(|intake| intake.lane == Lane::Live));
    for (index, intake) in whole.iter().enumerate() {
        let rest = all_of(&source, intake.cursor.clone()).await;
        assert_eq!(numbers(&rest), numbers(&whole[index + 1..]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_not_there_is_an_error_that_names_it() {
    let running = Running::start(&csv(Path::new("/no/such/folder"), ""), None, &SourceClock::invented(Instant(0)), 4);
    let error = running.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("/no/such/folder") && error.contains("check"), "{error}");
}

/// What is known of files is bounded, and a part of a list does not say which are gone.
#[tokio::test(start_paused = true)]
async fn where_more_files_lie_than_are_known_none_is_read_twice_nor_passed_over_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: i32| folder.path().join(format!("{number:04}.csv"));
    let drop_in = |numbers: std::ops::Range<i32>| {
        numbers.for_each(|number| std::fs::write(path(number), rows([number])).unwrap());
    };
    let source = csv(folder.path(), "");
    drop_in(0..400);
    let first = all_of(&source, None).await;
    assert_eq!(numbers(&first).len(), 400);
    drop_in(400..700);
    let running = Running::start(&source, last_cursor(&first), &SourceClock::invented(NOON), 64);
    let error = running.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("more than 500 files") && error.contains("`after`"), "{error}");
    (0..250).for_each(|number| std::fs::remove_file(path(number)).unwrap());
    let second = all_of(&source, last_cursor(&first)).await;
    assert_eq!(numbers(&second), (400..700).map(f64::from).collect::<Vec<_>>());
    // Those that are moved are read however many there are.
    let moving = tempfile::tempdir().unwrap();
    (0..600).for_each(|number| std::fs::write(moving.path().join(format!("{number:04}.csv")), rows([number])).unwrap());
    let mut all = numbers(&all_of(&csv(moving.path(), "after = \"move\""), None).await);
    all.sort_by(f64::total_cmp);
    assert_eq!(all, (0..600).map(f64::from).collect::<Vec<_>>());
}
