//! Somebody who can write the database changes what is in it.

use rusqlite::Connection;
use tributary_gateway::audit::chain::{Hash, Head, Link};
use tributary_gateway::audit::checkpoint::Checkpoints;
use tributary_gateway::audit::verify::Fault;
use tributary_gateway::store::audit::{Ask, Found};

use crate::trail::{Bed, NOW, Random, entry, now, seed, told};

/// Entries of the trail, and the one that the last checkpoint has seen.
const ENTRIES: i64 = 30;
const SEEN: i64 = 24;
const CASES: u64 = 10_000;

/// A whole trail, of which checkpoints have seen some entries.
fn written() -> Bed {
    let bed = Bed::new();
    let mut trail = bed.trail();
    let mut checkpoints = Checkpoints::open(&bed.checkpoints()).unwrap();
    for number in 1..=ENTRIES {
        let head = trail.append(&[entry(number)]).unwrap();
        if number % 8 == 0 {
            assert_eq!(head.sequence, number);
            checkpoints.add(head, now()).unwrap();
        }
    }
    assert_eq!(bed.verify().unwrap().checkpoints, 3);
    bed
}

/// Somebody's own connection, without what keeps mistakes away.
fn intruder(bed: &Bed) -> Connection {
    let db = Connection::open(bed.database()).unwrap();
    db.execute_batch(
        "pragma synchronous = off; pragma ignore_check_constraints = on;
         drop trigger audit_is_not_changed; drop trigger audit_is_not_cut;
         create temp table original as select * from audit",
    )
    .unwrap();
    db
}

/// Changes something, and says what, and which entry is the first that is wrong: none where that may be one or the other.
fn tamper(db: &Connection, random: &mut Random) -> (String, Option<i64>) {
    let one = random.within(1, ENTRIES);
    let other = (one + random.within(1, ENTRIES - 1) - 1) % ENTRIES + 1;
    let byte = random.within(0, 31);
    let edit = |set: String| (format!("update audit set {set} where sequence = {one}"), Some(one));
    let flipped = |column: &str| {
        let sql = format!("select {column} from audit where sequence = ?");
        let mut bytes: Vec<u8> = db.query_row(&sql, [one], |row| row.get(0)).unwrap();
        bytes[usize::try_from(byte).unwrap()] ^= 1;
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let (sql, wrong) = match random.below(16) {
        0 => edit(format!("time_us = time_us + {}", random.within(1, 1_000_000))),
        1 => edit("actor = actor || ' '".to_owned()),
        2 => edit("actor = 'device nobody'".to_owned()),
        3 => edit("event = upper(event)".to_owned()),
        4 => edit("subject = case when subject is null then '' else null end".to_owned()),
        5 => edit("subject = coalesce(subject, '') || '0'".to_owned()),
        6 => edit("detail = '{}'".to_owned()),
        7 => edit("detail = replace(detail, 'because', 'becaus3')".to_owned()),
        8 => edit(format!("tenant = {}", random.within(2, 9))),
        9 => edit(format!("previous = x'{}'", flipped("previous"))),
        10 => edit(format!("hash = x'{}'", flipped("hash"))),
        11 => edit("hash = substr(hash, 2)".to_owned()),
        12 => (format!("delete from audit where sequence = {one}"), (one < ENTRIES).then_some(one)),
        13 => {
            let sql = format!(
                "update audit set sequence = -1 where sequence = {one};
                 update audit set sequence = {one} where sequence = {other};
                 update audit set sequence = {other} where sequence = -1"
            );
            (sql, Some(one.min(other)))
        }
        14 => {
            // Older than the last checkpoint.
            let left = random.within(0, SEEN - 1);
            (format!("delete from audit where sequence > {left}"), Some(left + 1))
        }
        _ => return made_anew(db, random.within(1, SEEN)),
    };
    db.execute_batch(&format!("begin; {sql}; commit")).unwrap();
    (sql, wrong)
}

/// Changes an entry, and makes it and all behind it hang together again: the whole chain from there on.
fn made_anew(db: &Connection, from: i64) -> (String, Option<i64>) {
    let before: Option<[u8; 32]> =
        db.query_row("select hash from audit where sequence = ?", [from - 1], |row| row.get(0)).ok();
    let mut head = Head { sequence: from - 1, hash: Hash(before.unwrap_or_default()) };
    db.execute_batch("begin").unwrap();
    for number in from..=ENTRIES {
        let link = Link::after(head, 1, &entry(number + i64::from(number == from)));
        let sql = "update audit set time_us = ?2, actor = ?3, event = ?4, subject = ?5, detail = ?6, previous = ?7,
                   hash = ?8 where sequence = ?1";
        let Link { sequence, time_us, actor, event, subject, detail, previous, hash, .. } = &link;
        let changed = db.execute(sql, (sequence, time_us, actor, event, subject, detail, previous.0, hash.0)).unwrap();
        assert_eq!(changed, 1);
        head = link.head();
    }
    db.execute_batch("commit").unwrap();
    // The checkpoint after it is the one that knows.
    (format!("made anew from {from}"), Some((from + 7) / 8 * 8))
}

#[test]
fn ten_thousand_edits_removals_swaps_and_cuts_are_all_found_and_named() {
    let (bed, mut random) = (written(), Random(seed()));
    let db = intruder(&bed);
    let mut trail = bed.trail();
    for case in 0..CASES {
        let (what, wrong) = tamper(&db, &mut random);
        let is_last_gone = what == format!("delete from audit where sequence = {ENTRIES}");
        let found = told(&mut *trail, &bed.checkpoints());
        if is_last_gone {
            // No checkpoint has seen it: that it was there, nobody knows.
            assert_eq!(found.unwrap().entries, ENTRIES - 1, "{case}: {what}");
        } else {
            let fault = found.expect_err(&format!("{case}: {what}"));
            assert_eq!(Some(sequence(&fault)), wrong, "{case}: {what}: {fault}");
        }
        db.execute_batch("begin; delete from audit; insert into audit select * from original; commit").unwrap();
    }
    assert_eq!(bed.verify().unwrap().entries, ENTRIES);
}

fn sequence(fault: &Fault) -> i64 {
    match *fault {
        Fault::Removed { sequence, .. }
        | Fault::BeforeFirst { sequence }
        | Fault::Edited { sequence }
        | Fault::Moved { sequence }
        | Fault::MadeAnew { sequence, .. }
        | Fault::CutOff { sequence, .. } => sequence,
        Fault::TrimmedUnseen { through } => through,
    }
}

#[test]
fn each_way_of_tampering_is_told_in_words_of_its_own() {
    let bed = written();
    let db = intruder(&bed);
    let ways = [
        ("update audit set detail = '{}' where sequence = 9", "entry 9 was edited"),
        ("delete from audit where sequence between 4 and 6", "entry 4 was removed: entry 7 follows 3"),
        ("delete from audit where sequence < 3", "entry 1 was removed: entry 3 follows 0"),
        ("delete from audit where sequence > 20", "entry 21 was cut off, and all after it: line 3 of"),
        ("delete from audit", "entry 1 was cut off"),
        (
            "insert into audit select 0, tenant, time_us, actor, event, subject, detail, previous, hash from original
             where sequence = 1",
            "entry 0 was put before the first one",
        ),
        ("update audit set hash = zeroblob(31) where sequence = 5", "entry 5 was edited"),
    ];
    for (sql, words) in ways {
        db.execute_batch(sql).unwrap();
        let told = bed.verify().unwrap_err().to_string();
        assert!(told.starts_with(words), "{sql}: {told}");
        db.execute_batch("begin; delete from audit; insert into audit select * from original; commit").unwrap();
    }
    made_anew(&db, 10);
    let told = bed.verify().unwrap_err().to_string();
    assert!(told.starts_with("entry 16 was made anew, or one before it: line 2 of"), "{told}");
}

#[test]
fn whole_entries_that_changed_places_together_with_their_links_are_found() {
    let bed = written();
    let db = intruder(&bed);
    // An entry that is whole in itself, behind none of this chain.
    let stray = Link::after(Head { sequence: 11, hash: Hash([9; 32]) }, 1, &entry(12));
    db.execute(
        "update audit set previous = ?2, hash = ?3 where sequence = ?1",
        (stray.sequence, stray.previous.0, stray.hash.0),
    )
    .unwrap();
    assert_eq!(bed.verify(), Err(Fault::Moved { sequence: 12 }));
}

#[test]
fn the_database_itself_lets_nobody_change_or_remove_an_entry_by_mistake() {
    let bed = written();
    let db = Connection::open(bed.database()).unwrap();
    for sql in ["update audit set detail = '{}'", "delete from audit where sequence = 30", "delete from audit"] {
        let error = db.execute_batch(sql).unwrap_err().to_string();
        assert!(error.contains("the audit trail is not"), "{sql}: {error}");
    }
    assert_eq!(bed.verify().unwrap().entries, ENTRIES);
}

#[test]
fn what_was_written_is_read_in_its_order_from_either_end_and_by_device() {
    let bed = written();
    let mut trail = bed.trail();
    let mut numbers = |after, subject: Option<&str>, entries_max| -> Vec<i64> {
        let subject = subject.map(|device| device.parse().unwrap());
        let found = trail.page(&Ask { after, subject, entries_max }).unwrap();
        found.iter().map(Found::sequence).collect()
    };
    assert_eq!(numbers(None, None, 3), [28, 29, 30]);
    assert_eq!(numbers(Some(4), None, 3), [5, 6, 7]);
    assert_eq!(numbers(None, Some("meter-1"), 2), [22, 29]);
    assert_eq!(numbers(Some(1), Some("meter-1"), 9), [8, 22, 29], "1 is not behind itself, and 15 is about none");
    let found = trail.page(&Ask { after: Some(7), subject: None, entries_max: 1 }).unwrap();
    let [Found::Link(link)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((link.time_us, link.event.as_str()), (NOW + 8, "denied_subscribe"));
    assert_eq!((link.actor.as_str(), link.subject.as_deref()), ("operator", Some("meter-1")));
    assert_eq!(link.detail, r#"{"number":8,"why":"because"}"#);
}
