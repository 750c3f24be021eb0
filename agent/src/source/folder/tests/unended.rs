//! Files whose last line has no end.

use super::*;
use proto::Change;
use std::time::Duration;

fn append(path: &Path, text: &str) {
    std::fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// What comes within so many seconds.
async fn within(running: &mut Running, seconds: u64) -> Vec<Intake> {
    let (mut intakes, end) = (Vec::new(), tokio::time::Instant::now() + Duration::from_secs(seconds));
    while let Ok(Some(mut intake)) = tokio::time::timeout_at(end, running.intakes.recv()).await {
        std::mem::take(&mut intake.confirm).tell(Ok(()));
        intakes.push(intake);
    }
    intakes
}

/// Values, and the ids that are withdrawn.
fn told(intakes: &[Intake]) -> Vec<String> {
    let line = |sample: &crate::source::Sample| match (&sample.reading.value, &sample.reading.origin) {
        (Value::Absent, Some(origin)) if origin.change == Change::Retract => format!("withdraws {}", origin.id),
        (Value::Number(number), Some(origin)) => format!("{number} as {}", origin.id),
        (Value::Number(number), None) => number.to_string(),
        other => panic!("{other:?}"),
    };
    intakes.iter().flat_map(|intake| &intake.samples).map(line).collect()
}

fn name_of(line: &str) -> &str {
    line.split_once(" as ").unwrap().1
}

#[tokio::test(start_paused = true)]
async fn half_a_number_at_the_end_of_a_file_is_no_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "t,v\n1,5\n2,1").unwrap();
    let mut running = Running::start(&csv(folder.path(), ""), None, &SourceClock::invented(NOON), 64);
    assert_eq!(told(&within(&mut running, 55).await), ["5"], "the last line may go on");
    append(&path, "18\n");
    assert_eq!(told(&within(&mut running, 55).await), ["118"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_last_line_is_taken_after_a_long_while_and_its_newline_adds_nothing() {
    for newline in ["\n", "\r\n"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "t,v\n1,5\n2,118").unwrap();
        let source = csv(folder.path(), "");
        let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 64);
        let all = within(&mut running, 300).await;
        assert_eq!(told(&all)[0], "5");
        assert!(told(&all)[1].starts_with("118 as ") && told(&all).len() == 2, "{:?}", told(&all));
        append(&path, newline);
        let end = within(&mut running, 300).await;
        running.stop().await;
        assert_eq!(told(&end), [] as [String; 0]);
        // Neither after a restart from either cursor, and the line count goes on where it was.
        append(&path, "3,x\n");
        for cursor in [last_cursor(&all), last_cursor(&end)] {
            let more = all_of(&source, cursor).await;
            assert_eq!(told(&more), [] as [String; 0]);
            assert!(rejects(&more)[0].contains("line 4"), "{:?}", rejects(&more));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_of_a_line_that_goes_on_is_withdrawn_and_the_whole_line_taken_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    std::fs::write(&path, "t,v\n1,5\n2,1").unwrap();
    let source = csv(folder.path(), "");
    let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 64);
    let first = within(&mut running, 300).await;
    running.stop().await;
    let taken = told(&first);
    assert!(taken[1].starts_with("1 as "), "{taken:?}");
    // A restart that finds it as it was takes nothing again, however long it looks.
    let mut running = Running::start(&source, last_cursor(&first), &SourceClock::invented(NOON), 64);
    let still = within(&mut running, 300).await;
    assert_eq!(told(&still), [] as [String; 0]);
    append(&path, "1");
    let longer = told(&within(&mut running, 300).await);
    assert_eq!(longer[0], format!("withdraws {}", name_of(&taken[1])));
    assert!(longer[1].starts_with("11 as ") && name_of(&longer[1]) != name_of(&taken[1]), "{longer:?}");
    append(&path, "8\n3,7\n");
    let whole = told(&within(&mut running, 300).await);
    assert_eq!(whole, [format!("withdraws {}", name_of(&longer[1])), "118".into(), "7".into()]);
    running.stop().await;
    // All at once from the first cursor.
    assert_eq!(told(&all_of(&source, last_cursor(&first)).await)[0], format!("withdraws {}", name_of(&taken[1])));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_taken_away_only_with_its_last_line_and_a_header_without_an_end_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let source = csv(folder.path(), "after = \"remove\"");
    let mut running = Running::start(&source, None, &SourceClock::invented(NOON), 64);
    std::fs::write(&path, "t,v").unwrap();
    assert_eq!(within(&mut running, 40).await.len(), 0, "no more than a part of a header");
    append(&path, "alue,v\n1,2,3\n2,3,4");
    assert_eq!(told(&within(&mut running, 50).await), ["3"]);
    assert!(path.exists(), "its last line was not taken");
    assert_eq!(within(&mut running, 60).await.iter().map(|intake| intake.samples.len()).sum::<usize>(), 1);
    assert!(!path.exists());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_of_an_export_that_was_cut_is_withdrawn_and_one_that_only_gets_its_newline_is_not() {
    let text = std::fs::read_to_string("src/source/folder/testdata/clarity.csv").unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let row = lines.iter().find(|line| line.contains(",EGV,") && !line.contains("Low")).unwrap();
    let place = row.find("iPhone").unwrap();
    let value = place + row[place..].find(',').unwrap() + 1;
    for (cut, withdrawn) in [(value + 1, 1), (row.len(), 0)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, format!("{}\n{}", lines[0], &row[..cut])).unwrap();
        let mut running = Running::start(&export(folder.path(), "clarity", ""), None, &SourceClock::invented(NOON), 64);
        assert_eq!(numbers(&within(&mut running, 50).await), [] as [f64; 0]);
        let taken = told(&within(&mut running, 100).await);
        assert_eq!(taken.len(), 1, "{taken:?}");
        append(&path, &format!("{}\n", &row[cut..]));
        let more = told(&within(&mut running, 100).await);
        assert_eq!(more.len(), 2 * withdrawn, "{more:?}");
        assert!(withdrawn == 0 || more[0] == format!("withdraws {}", name_of(&taken[0])), "{more:?}");
        running.stop().await;
    }
}
