use proto::EVENT_BYTES_MAX;

use super::*;
use crate::source::nightscout::reader::write;
use crate::source::nightscout::values::{PART_BYTES_MAX, PARTS_MAX};
use crate::source::testing::{assert_golden, intake, told};

fn told_of(collection: Collection, raw: &str) -> Vec<String> {
    let record = Record::read(collection, raw);
    let mut intake = intake();
    write(&record, record.change(), record.modified.unwrap_or(0), &mut intake);
    let lines = intake.samples.iter().map(|sample| {
        let origin = sample.reading.origin.as_ref();
        let origin = origin.map(|origin| format!("{:?} {} of {}", origin.change, origin.revision, origin.id));
        format!("{} {}", told(sample), origin.unwrap_or_default())
    });
    let mut lines: Vec<String> = lines.collect();
    lines.extend(record.made.as_ref().err().map(|reason| format!("rejected: {reason}")));
    lines
}

#[test]
fn every_kind_of_record_becomes_what_the_page_says() {
    let mut lines = Vec::new();
    for line in include_str!("testdata/records.ndjson").lines() {
        let (word, raw) = line.split_once(' ').unwrap();
        let collection = Collection::ALL.into_iter().find(|collection| collection.word() == word).unwrap();
        lines.push(line.to_owned());
        lines.extend(told_of(collection, raw).into_iter().map(|line| format!("    {line}")));
    }
    assert_golden("nightscout/testdata/records.expected", &lines);
}

#[test]
fn no_reason_repeats_what_a_record_says() {
    for raw in [
        r#"{"type":"sgv","sgv":"hidden","date":1772366400000}"#,
        r#"{"type":"sgv","sgv":7.25,"date":1772366400000}"#,
        r#"{"type":"mbg","mbg":"hidden","date":1772366400000}"#,
        r#"{"type":"sgv","sgv":118,"date":"hidden"}"#,
        r#"{"hidden""#,
        r#""hidden""#,
    ] {
        let reason = Record::read(Collection::Entries, raw).made.unwrap_err();
        assert!(!reason.contains("hidden") && !reason.contains("7.25"), "{reason}");
    }
}

#[test]
fn an_event_that_is_too_long_goes_in_parts_that_make_it_whole_again() {
    let name = "\\\"é€".repeat(2_500); // parts may end in the middle of no character
    let raw = format!(r#"{{"_id":"p","startDate":"2026-01-01T00:00:00Z","note":"{name}"}}"#);
    let record = Record::read(Collection::Profile, &raw);
    let values = record.made.unwrap().values;
    assert!(values.len() >= 3);
    let mut whole = String::new();
    for (index, (_, value)) in values.iter().enumerate() {
        let Value::Json(json) = value else { panic!("an event") };
        assert!(json.len() <= EVENT_BYTES_MAX);
        let part: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            (part["part"].as_u64(), part["parts"].as_u64()),
            (Some(index as u64 + 1), Some(values.len() as u64))
        );
        whole.push_str(part["json"].as_str().unwrap());
    }
    assert_eq!(whole, raw);
    // At the bound it is one; too many parts are refused.
    let of_length =
        |length: usize| format!(r#"{{"startDate":"2026-01-01T00:00:00Z","x":"{}"}}"#, "y".repeat(length - 43));
    let count = |raw: &str| Record::read(Collection::Profile, raw).made.map(|made| made.values.len());
    assert_eq!(of_length(8_192).len(), 8_192);
    assert_eq!((count(&of_length(8_192)), count(&of_length(8_193))), (Ok(1), Ok(3)));
    assert!(count(&of_length(PARTS_MAX * PART_BYTES_MAX + 1)).unwrap_err().contains("longer"));
}

#[test]
fn an_edit_takes_back_what_the_record_does_not_say_any_more() {
    let raw = r#"{"_id":"a","type":"sgv","sgv":118,"date":1772366400000,"srvCreated":1772366400000,"srvModified":1772366400001}"#;
    assert_eq!(
        told_of(Collection::Entries, raw),
        [
            "source 1772366400000000 glucose.direction [1] state Absent Retract 1772366400001 of a",
            "source 1772366400000000 glucose [mg/dL] gauge 118 Replace 1772366400001 of a",
        ]
    );
}
