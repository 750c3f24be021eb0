//! The sealer with a buffer behind it.

use super::*;
use crate::buffer::{self, Buffer};
use crate::pulse::Beat;
use crate::source::{Outlet, Sample, Stopping};
use proto::{Basis, Clock, Instant as Time, Kind, Reading, Series, Value};
use tokio::sync::oneshot;

fn sample(name: &str, value: Value) -> Sample {
    let series = Series { name: name.parse().unwrap(), unit: "1".parse().unwrap(), kind: Kind::Gauge };
    Sample { series: Arc::new(series), basis: Basis::Source, reading: Reading::new(Time(1), value) }
}

fn intake(samples: Vec<Sample>, urgent: bool, cursor: u8) -> Intake {
    let source = Arc::from("test");
    Intake {
        source,
        lane: Lane::Live,
        priority: Priority::Normal,
        urgent,
        whole: false,
        samples,
        rejects: vec![],
        counts: vec![("odd ones", 2)],
        cursor: Some(vec![cursor]),
        confirm: Confirm::default(),
    }
}

struct Rig {
    outlet: Outlet,
    accepted: mpsc::Receiver<Accepted>,
    sealer: tokio::task::JoinHandle<Result<u64, BufferError>>,
    pulse: mpsc::Sender<Pulse>,
    folder: tempfile::TempDir,
}

fn rig(settings: Settings) -> Rig {
    rig_within(settings, 64 << 20)
}

fn rig_within(settings: Settings, bytes_max: u64) -> Rig {
    let folder = tempfile::TempDir::new().unwrap();
    let place = buffer::Settings { path: folder.path().join("b.db"), bytes_max, free_bytes_min: 0 };
    let (handle, _) = Handle::spawn(Buffer::open(place, Clock::default()).unwrap()).unwrap();
    let (outlet, intake) = Outlet::new(16);
    let (sender, accepted) = mpsc::channel(16);
    let (pulse, pulses) = mpsc::channel(1);
    let sealer = run(settings, BootId([1; 8]), intake, handle, sender, pulses, CancellationToken::new());
    Rig { outlet, accepted, sealer: tokio::spawn(sealer), pulse, folder }
}

#[tokio::test]
async fn a_batch_closes_when_it_is_old_big_or_urgent_and_at_the_end() {
    let slow = Settings { linger: Duration::from_secs(600), readings_max: 3 };
    let mut rig = rig(slow);
    rig.outlet.put(intake(vec![sample("a", Value::Number(1.0))], true, 1)).await.unwrap();
    assert_eq!(rig.accepted.recv().await.unwrap().1.rows.unwrap().count(), 1, "urgent");
    let three = (0..3).map(|value| sample("a", Value::Number(f64::from(value)))).collect();
    rig.outlet.put(intake(three, false, 2)).await.unwrap();
    assert_eq!(rig.accepted.recv().await.unwrap().1.rows.unwrap().count(), 1, "big");
    rig.outlet.put(intake(vec![sample("a", Value::Number(1.0))], false, 3)).await.unwrap();
    drop(rig.outlet);
    assert_eq!(rig.sealer.await.unwrap().unwrap(), 5, "what was taken in is stored at the end");
    let access = buffer::Access::open(&rig.folder.path().join("b.db")).unwrap();
    assert_eq!(access.contents().unwrap().held.count(), 3);
}

#[tokio::test]
async fn readings_that_outgrow_a_frame_go_in_several_batches_of_one_append() {
    let mut rig = rig(Settings::default());
    let long = |letter: char| sample("text", Value::Text(letter.to_string().repeat(8_000)));
    rig.outlet.put(intake(('a'..='z').map(long).collect(), true, 1)).await.unwrap();
    let rows = rig.accepted.recv().await.unwrap().1.rows.unwrap();
    assert!(rows.count() >= 2, "{rows:?}");
    drop(rig.outlet);
    assert_eq!(rig.sealer.await.unwrap().unwrap(), 26);
}

#[tokio::test(start_paused = true)]
async fn a_lone_reading_waits_no_longer_than_the_linger() {
    let mut rig = rig(Settings { linger: Duration::from_millis(250), ..Settings::default() });
    let start = Instant::now();
    rig.outlet.put(intake(vec![sample("a", Value::Bool(true))], false, 1)).await.unwrap();
    rig.accepted.recv().await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(250));
}

/// Needs root, for a file system that is full.
#[tokio::test]
async fn on_a_disk_that_takes_nothing_a_stop_ends_the_wait_and_what_was_not_stored_was_not_accepted() {
    let disk = tempfile::TempDir::new().unwrap();
    let mut mount = std::process::Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(disk.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: mounting a tiny tmpfs needs root");
        return;
    }
    let place = buffer::Settings { path: disk.path().join("b.db"), bytes_max: 64 << 20, free_bytes_min: 0 };
    let (handle, _) = Handle::spawn(Buffer::open(place, Clock::default()).unwrap()).unwrap();
    let ballast = std::fs::write(disk.path().join("ballast"), vec![1; 4 << 20]);
    assert!(ballast.is_err(), "it is full now");
    let (outlet, inlet) = Outlet::new(16);
    let (sender, _accepted) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let (pulse, pulses) = mpsc::channel(1);
    let sealer = tokio::spawn(run(Settings::default(), BootId([1; 8]), inlet, handle, sender, pulses, stop.clone()));
    // More than the reserve has room for.
    let long = |letter: u8| sample("text", Value::Text(char::from(letter).to_string().repeat(8_000)));
    for round in 0..12 {
        let samples = (0..40).map(|place| long(b'a' + (round + place) % 26)).collect();
        outlet.put(intake(samples, true, round)).await.unwrap();
    }
    let unstored = outlet.put_to_confirm(intake(vec![sample("text", Value::Bool(true))], true, 12)).await.unwrap();
    drop(outlet);
    // Once the reserve is given up, there is no more to be had.
    let (reserve, began) = (disk.path().join("b.db.reserve"), Instant::now());
    while std::fs::metadata(&reserve).unwrap().len() > 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "the reserve is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!sealer.is_finished(), "it waits for room");
    // It may have stored one more with that; then it waits, and says so: to start anew would make no room.
    let mut beat = None;
    while !matches!(beat, Some(Beat::Waits(_))) {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not wait, but {beat:?}");
        beat = answer_of(&pulse).await;
    }
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), sealer).await;
    let _ = std::process::Command::new("umount").arg("-l").arg(disk.path()).status();
    assert!(ended.expect("an end within seconds").unwrap().unwrap() < 480);
    assert_eq!(unstored.wait().await, Err(NotCommitted::Stopping(Stopping)));
}

/// The answer to a pulse, if one comes soon.
async fn answer_of(pulse: &mpsc::Sender<Pulse>) -> Option<Beat> {
    let (asked, answer) = oneshot::channel();
    let soon = Duration::from_millis(500);
    let asking = async {
        pulse.send(asked).await.ok()?;
        answer.await.ok()
    };
    tokio::time::timeout(soon, asking).await.ok()?
}

/// Waits until no pulse is answered any more.
async fn stands_still(pulse: &mpsc::Sender<Pulse>) {
    let began = Instant::now();
    while answer_of(pulse).await.is_some() {
        assert!(began.elapsed() < Duration::from_secs(30), "it goes on, and should not");
    }
}

#[tokio::test]
async fn there_is_a_pulse_while_nothing_is_to_be_done_and_none_while_a_commit_hangs() {
    let mut rig = rig(Settings { linger: Duration::from_millis(20), ..Settings::default() });
    rig.outlet.put_committed(intake(vec![sample("a", Value::Bool(true))], true, 1)).await.unwrap();
    assert_eq!(answer_of(&rig.pulse).await, Some(Beat::Stores(1)), "idle");

    let other = rusqlite::Connection::open(rig.folder.path().join("b.db")).unwrap();
    other.execute_batch("begin immediate").unwrap(); // nobody else can commit meanwhile
    let told = rig.outlet.put_to_confirm(intake(vec![sample("a", Value::Bool(true))], true, 2)).await.unwrap();
    stands_still(&rig.pulse).await; // the writer
    other.execute_batch("rollback").unwrap();
    assert_eq!(told.wait().await, Ok(()));
    assert_eq!(answer_of(&rig.pulse).await, Some(Beat::Stores(2)));
    rig.accepted.close();
}

#[tokio::test]
async fn there_is_no_pulse_while_who_is_told_of_batches_stands_still() {
    let mut rig = rig(Settings { linger: Duration::ZERO, ..Settings::default() });
    for cursor in 0..20 {
        rig.outlet.put(intake(vec![sample("a", Value::Bool(true))], true, cursor)).await.unwrap();
    }
    stands_still(&rig.pulse).await; // its news are full, and nothing more is taken in
    while answer_of(&rig.pulse).await.is_none() {
        rig.accepted.recv().await.unwrap();
    }
}

fn text(bytes: usize) -> Value {
    Value::Text("x".repeat(bytes))
}

fn cursor_of(folder: &tempfile::TempDir) -> Vec<u8> {
    let file = rusqlite::Connection::open(folder.path().join("b.db")).unwrap();
    file.query_row("select position from cursor where source = 'test'", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn who_asks_is_told_once_it_is_stored_and_not_before() {
    let mut rig = rig(Settings { linger: Duration::from_millis(20), ..Settings::default() });
    let path = rig.folder.path().join("b.db");
    let held = || buffer::Access::open(&path).unwrap().contents().unwrap().held.count();
    rig.outlet.put_committed(intake(vec![sample("a", Value::Bool(true))], false, 1)).await.unwrap();
    assert_eq!(held(), 1);

    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("begin immediate").unwrap(); // nobody else can commit meanwhile
    let two = [2, 3].map(|cursor| intake(vec![sample("a", Value::Bool(true))], false, cursor));
    let mut waiting = Vec::new();
    for intake in two {
        waiting.push(tokio::spawn(rig.outlet.put_to_confirm(intake).await.unwrap().wait()));
    }
    stands_still(&rig.pulse).await; // the writer, with both
    assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished), "nothing is stored yet");
    other.execute_batch("rollback").unwrap();
    for told in waiting {
        assert_eq!(told.await.unwrap(), Ok(()));
    }
    assert_eq!(held(), 2, "both in one batch");
    rig.accepted.close();
    drop(rig.outlet);
    assert_eq!(rig.sealer.await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn what_no_batch_takes_is_refused_whole_and_costs_nobody_else_anything() {
    let rig = rig(Settings { linger: Duration::from_millis(20), ..Settings::default() });
    let good = || sample("a", Value::Bool(true));
    let before = rig.outlet.put_to_confirm(intake(vec![good()], false, 1)).await.unwrap();
    let bad = intake(vec![good(), sample("a", text(proto::TEXT_BYTES_MAX + 1))], false, 2);
    let told = rig.outlet.put_committed(Intake { whole: true, ..bad }).await;
    assert!(matches!(&told, Err(NotCommitted::Refused(why)) if why.contains("8192")), "{told:?}");
    assert_eq!(before.wait().await, Ok(()));
    drop(rig.outlet);
    assert_eq!(rig.sealer.await.unwrap().unwrap(), 1);
    assert_eq!(cursor_of(&rig.folder), [1], "nothing of what was refused is stored");
}

#[tokio::test]
async fn who_wants_no_whole_loses_the_one_reading_that_no_batch_takes_which_is_named_and_counted() {
    let rig = rig(Settings { linger: Duration::from_millis(20), ..Settings::default() });
    let samples = vec![
        sample("a", Value::Bool(true)),
        sample("too.long", text(proto::TEXT_BYTES_MAX + 1)),
        sample("b", text(proto::TEXT_BYTES_MAX)),
    ];
    assert_eq!(rig.outlet.put_committed(intake(samples, false, 7)).await, Ok(()));
    drop(rig.outlet);
    assert_eq!(rig.sealer.await.unwrap().unwrap(), 2);
    assert_eq!(cursor_of(&rig.folder), [7]);
    let access = buffer::Access::open(&rig.folder.path().join("b.db")).unwrap();
    let rejected = access.rejected(10).unwrap();
    assert_eq!((rejected.len(), rejected[0].place.as_str()), (1, "series too.long"));
    assert!(rejected[0].reason.contains("8192"), "{}", rejected[0].reason);
    let tallies = access.tallies().unwrap();
    assert_eq!((tallies["rejects"], tallies["odd ones"]), (1, 2));
}

#[tokio::test]
async fn in_a_full_buffer_what_is_new_is_stored_and_what_is_old_leaves_with_a_gap() {
    let mut rig = rig_within(Settings::default(), 3 << 20);
    let news = tokio::spawn(async move {
        let mut evicted = 0;
        while let Some((_, appended)) = rig.accepted.recv().await {
            evicted += appended.evicted.count();
        }
        evicted
    });
    // Every text is another, as a body may be shortened some day.
    let long = |round: usize, place: usize| Value::Text(format!("{round} {place} ").repeat(1_100));
    for round in 0..160 {
        let samples = (0..4).map(|place| sample("text", long(round, place))).collect();
        assert_eq!(rig.outlet.put_committed(intake(samples, true, 1)).await, Ok(()), "round {round}");
    }
    drop(rig.outlet);
    assert_eq!(rig.sealer.await.unwrap().unwrap(), 640);
    assert!(news.await.unwrap() > 20, "the buffer was full");
}
