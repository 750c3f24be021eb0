//! Folders and sockets, served by an agent that is killed at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::rig::{Line, Rig, end, until};

/// How often the agent is killed.
const KILLS: u32 = 15;
/// So many of the kills at least must come before everything was accepted.
const CUT_MIN: u32 = KILLS / 4;

/// How often each reading was accepted.
fn counted(rig: &Rig) -> BTreeMap<Line, u32> {
    let mut found = BTreeMap::new();
    rig.accepted().into_iter().for_each(|line| *found.entry(line).or_default() += 1);
    found
}

fn rows(values: std::ops::Range<u32>) -> String {
    values.map(|value| format!("{value},{value}\n")).collect()
}

/// A Clarity export of the readings of those numbers, five minutes apart, its rows numbered from 1.
fn export(values: std::ops::Range<u32>) -> String {
    let header = "Index,Timestamp (YYYY-MM-DDThh:mm:ss),Event Type,Event Subtype,Patient Info,Device Info,Source Device ID,\
                  Glucose Value (mg/dL),Insulin Value (u),Carb Value (grams),Duration (hh:mm:ss),Glucose Rate of Change \
                  (mg/dL/min),Transmitter Time (Long Integer),Transmitter ID";
    let row = |(index, value): (usize, u32)| {
        let (day, minute) = (value / 288, value % 288 * 5);
        let at = format!("2026-{:02}-{:02}T{:02}:{:02}:07", day / 28 + 1, day % 28 + 1, minute / 60, minute % 60);
        format!("{},{at},EGV,,,,phone,{},,,,,{value},8SAMPLE\n", index + 1, 40 + value % 360)
    };
    format!("{header}\n{}", values.enumerate().map(row).collect::<String>())
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_folders_accepts_each_record_once() {
    let mut rig = Rig::new(|folder| {
        let source = |name: &str, format: &str, more: &str| {
            let path = folder.join(name);
            std::fs::create_dir(&path).unwrap();
            format!(
                "[[source]]\nname = \"{name}\"\ntype = \"folder\"\nformat = \"{format}\"\npath = {path:?}\nevery_s = 1\n\
                 settle_s = 0\n{more}\n"
            )
        };
        let rows = "time = { column = \"t\", unit = \"s\" }\nseries = [{ column = \"v\", name = ";
        source("kept", "csv", &format!("{rows}\"kept\" }}]"))
            + &source("removed", "csv", &format!("after = \"remove\"\n{rows}\"removed\" }}]"))
            + &source("clarity", "clarity", "time_zone = \"UTC\"")
    });
    let renamed = |rig: &Rig, name: &str, text: &str| {
        std::fs::write(rig.path("part"), text).unwrap();
        std::fs::rename(rig.path("part"), rig.path(name)).unwrap();
    };
    std::fs::write(rig.path("kept/a.csv"), format!("t,v\n{}", rows(0..3_000))).unwrap();
    let (mut kept, mut removed, mut cut) = (3_000, 0, 0);
    for kill in 0..KILLS {
        let agent = rig.start();
        let grown = std::fs::File::options().append(true).open(rig.path("kept/a.csv"));
        grown.unwrap().write_all(rows(kept..kept + 50).as_bytes()).unwrap();
        kept += 50;
        renamed(&rig, &format!("removed/{}.csv", kill % 2), &format!("t,v\n{}", rows(removed..removed + 700)));
        removed += 700;
        renamed(&rig, &format!("clarity/{kill:02}.csv"), &export(kill * 100..2_000 + kill * 100));
        std::thread::sleep(Duration::from_millis(20 + rig.random() % 500));
        end(agent);
        let exported = 2_000 + kill * 100;
        cut += u32::from(counted(&rig).len() < (kept + removed + exported) as usize);
        // A name is given to the next file only once the one before has gone: to write over it would be the test's own loss.
        let next = rig.path(&format!("removed/{}.csv", (kill + 1) % 2));
        if next.exists() {
            let agent = rig.start();
            until(|| !next.exists());
            end(agent);
        }
    }
    println!("{cut} of {KILLS} kills came while folders were being read");
    assert!(cut >= CUT_MIN, "{cut} of {KILLS} kills came while folders were being read, {CUT_MIN} are needed");
    let exported = 2_000 + (KILLS - 1) * 100;
    let all = kept + removed + exported;
    let agent = rig.start();
    until(|| counted(&rig).len() >= all as usize);
    std::thread::sleep(Duration::from_millis(1_500)); // one look more: nothing comes twice
    end(agent);
    let found = counted(&rig);
    for (series, count) in [("kept", kept), ("removed", removed), ("glucose", exported)] {
        let of: Vec<u32> = found.iter().filter(|((name, ..), _)| name == series).map(|(_, often)| *often).collect();
        let doubled = of.iter().filter(|often| **often > 1).count();
        assert_eq!((of.len(), doubled), (count as usize, 0), "{series}: {}", rig.log());
    }
}

#[test]
fn what_a_socket_answered_is_in_the_buffer_however_the_agent_is_killed() {
    let mut rig = Rig::new(|folder| {
        let path = folder.join("readings.sock");
        format!(
            "[[source]]\nname = \"apps\"\ntype = \"socket\"\npath = {path:?}\n\
             series = [{{ column = \"v\", name = \"v\", urgent = true }}]\n"
        )
    });
    let (mut sent, mut answered) = (0_u32, BTreeSet::new());
    for _ in 0..KILLS {
        let agent = rig.start();
        let begun = Instant::now();
        let client = loop {
            match UnixStream::connect(rig.path("readings.sock")) {
                Ok(client) => break client,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}: {}", rig.log()),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let until = Instant::now() + Duration::from_millis(10 + rig.random() % 300);
        let speaking = std::thread::spawn(move || {
            let (mut said, mut good) = (Vec::new(), Vec::new());
            let mut answers = BufReader::new(client.try_clone().unwrap()).lines();
            for number in sent.. {
                said.push(number);
                if (&client).write_all(format!("{{\"v\":{number}}}\n").as_bytes()).is_err() {
                    break;
                }
                match answers.next() {
                    Some(Ok(answer)) if answer.contains("\"ok\":true") => good.push(number),
                    _ => break,
                }
            }
            (said, good)
        });
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        end(agent);
        let (said, good) = speaking.join().unwrap();
        sent += u32::try_from(said.len()).unwrap();
        answered.extend(good);
    }
    println!("{} of {sent} records were answered", answered.len());
    assert!(answered.len() >= KILLS as usize, "{} of {sent} records were answered", answered.len());
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for (_, _, value) in rig.accepted() {
        *found.entry(value).or_default() += 1;
    }
    let lost: Vec<&u32> = answered.iter().filter(|number| !found.contains_key(&number.to_string())).collect();
    assert!(lost.is_empty(), "answered and not there: {lost:?}");
    assert!(found.values().all(|often| *often == 1), "each was sent once");
}
