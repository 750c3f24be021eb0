use std::path::Path;

use super::*;
use crate::source::testing::{NOON, configured, told_all};
use crate::source::{Intake, Priority};

fn file(name: &str, path: &Path) -> Configured {
    configured(&format!(
        r#"name = "{name}"
        type = "file"
        path = "{}"
        time = {{ column = "t" }}
        series = [{{ column = "v", name = "v" }}]"#,
        path.display()
    ))
}

fn write(path: &Path, values: &[i32]) {
    let mut text = String::from("t,v\n");
    for value in values {
        text.push_str(&format!("2026-03-01T12:00:0{value}Z,{value}\n"));
    }
    std::fs::write(path, text).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_tried_again_and_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (good, late) = (folder.path().join("good.csv"), folder.path().join("late.csv"));
    write(&good, &[1, 2]);
    let (outlet, mut intakes) = Outlet::new(8);
    let began = Instant::now();
    let sources = vec![file("late", &late), file("good", &good)];
    let clock = SourceClock::invented(NOON);
    let all = tokio::spawn(supervise(sources, HashMap::new(), outlet, clock, CancellationToken::new()));
    assert_eq!(&*intakes.recv().await.unwrap().source, "good");
    assert!(began.elapsed() < RETRY_MIN);
    sleep(Duration::from_secs(5)).await; // tries after 0, 1 and 3 s have failed
    write(&late, &[3]);
    assert_eq!(&*intakes.recv().await.unwrap().source, "late");
    assert!((6..9).contains(&began.elapsed().as_secs()), "the fourth try is after 7 s: {:?}", began.elapsed());
    assert!(intakes.recv().await.is_none(), "both have finished");
    all.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_goes_on_from_the_committed_cursor_and_then_from_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.csv");
    write(&path, &[1, 2]);
    let once = async |cursors| {
        let (outlet, mut intakes) = Outlet::new(8);
        supervise(vec![file("v", &path)], cursors, outlet, SourceClock::invented(NOON), CancellationToken::new()).await;
        let mut all: Vec<Intake> = Vec::new();
        while let Some(intake) = intakes.recv().await {
            all.push(intake);
        }
        all
    };
    let first = once(HashMap::new()).await;
    assert_eq!(told_all(&first).len(), 2);
    write(&path, &[1, 2, 3]);
    let cursors = HashMap::from([("v".to_string(), first[0].cursor.clone().unwrap())]);
    let second = once(cursors).await;
    assert_eq!(told_all(&second).len(), 1);

    let (outlet, mut intakes) = Outlet::new(8);
    let own = outlet.of_source(Priority::Normal, first[0].cursor.clone());
    assert_eq!(own.last_cursor(), first[0].cursor);
    own.clone().put(second[0].clone()).await.unwrap();
    assert_eq!(own.last_cursor(), second[0].cursor);
    assert!(intakes.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_every_source_even_one_that_waits_to_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (outlet, _intakes) = Outlet::new(8);
    let stop = CancellationToken::new();
    let meter = configured("name = \"meter\"\ntype = \"simulate\"\nwhat = \"meter\"\nspeed = 0.001");
    let sources = vec![file("gone", &folder.path().join("gone.csv")), meter];
    let all = tokio::spawn(supervise(sources, HashMap::new(), outlet, SourceClock::invented(NOON), stop.clone()));
    sleep(Duration::from_secs(90)).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(1), all).await.unwrap().unwrap();
}
