//! One file per kind of message and version. A newer reader takes every older file; the files never change.

#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "a test may fail")]
//!
//! `GOLDEN=write cargo test -p tributary-proto --test golden` writes files that do not exist yet, and only those.

use std::fs;
use std::path::PathBuf;

use tributary_proto::enrol::{Certificate, Enrol, EnrolRefusal, Enrolled, Issued, Outcome};
use tributary_proto::frame::{Header, Sealed};
use tributary_proto::message::*;
use tributary_proto::*;

fn series(name: &str, unit: &str, kind: Kind) -> Series {
    Series { name: name.parse().unwrap(), unit: unit.parse().unwrap(), kind }
}

fn column(series: Series, basis: Basis, values: impl IntoIterator<Item = Value>) -> Column {
    let step = |(index, value): (i64, Value)| Reading::new(Instant(1_269_424_260_000_000 + 300_000_000 * index), value);
    Column { series, basis, readings: (0..).zip(values).map(step).collect() }
}

/// Every kind, every shape, every extra.
fn body() -> Body {
    let numbers = |values: &[f64]| values.iter().map(|value| Value::Number(*value)).collect::<Vec<_>>();
    let mut glucose = numbers(&[258.0, 260.0, 258.0, 254.0]);
    glucose.extend([State::Low(39), State::High(401), State::WarmingUp, State::SensorError(9)].map(Value::State));
    let mut glucose = column(series("glucose", "mg/dL", Kind::Gauge), Basis::Source, glucose);
    for reading in &mut glucose.readings {
        reading.utc_offset_minutes = Some(-240);
    }
    glucose.readings[2].local_text = Some("2010-03-24 10:01:00".into());
    glucose.readings[3].time = glucose.readings[2].time;
    let odd = [-0.0, f64::from_bits(0x7ff8_0000_0000_002a), f64::NEG_INFINITY, 5e-324, 0.1 + 0.2, 21.5];
    let bolus = |id: &str, revision, change| Some(Box::new(Origin { id: id.into(), revision, change }));
    let mut events = column(
        series("treatment", "1", Kind::Event),
        Basis::Source,
        [Value::Json(r#"{"insulin":1.5}"#.into()), Value::Json(r#"{"insulin":2}"#.into()), Value::Absent],
    );
    events.readings[0].origin = bolus("5f1c", 0, Change::Add);
    events.readings[1].origin = bolus("5f1c", 1, Change::Replace);
    events.readings[2].origin = bolus("5f1c", 2, Change::Retract);
    Body {
        boot: BootId([1, 2, 3, 4, 5, 6, 7, 8]),
        columns: vec![
            glucose,
            column(series("temperature", "Cel", Kind::Gauge), Basis::Boot, numbers(&odd)),
            column(series("energy.active", "W.h", Kind::Counter), Basis::Boot, numbers(&[100.0, 101.0, 102.0])),
            column(series("rain", "mm", Kind::Delta), Basis::Boot, numbers(&[0.2, 0.0, 1.4])),
            column(series("door", "1", Kind::State), Basis::Boot, [true, false, true].map(Value::Bool)),
            column(series("note", "1", Kind::Text), Basis::Boot, ["on", "off", "on"].map(|t| Value::Text(t.into()))),
            events,
        ],
    }
}

fn clock() -> Clock {
    Clock { boot: BootId([1, 2, 3, 4, 5, 6, 7, 8]), offset_us: 1_269_424_000_000_000, quality: Quality::Synced }
}

fn frame() -> Frame {
    let header = Header { epoch: Epoch([0xa5; 8]), first: 41, lane: Lane::Backfill, clock: clock() };
    let empty = Body { boot: clock().boot, columns: Vec::new() };
    Frame { header, bodies: [body(), empty].map(|body| Sealed::new(body.encode().unwrap())).into() }
}

fn hello() -> Notice {
    let ranges = vec![Range { first: 3, last: 9 }, Range { first: 12, last: 12 }];
    let epochs = vec![Held { epoch: Epoch([0xa5; 8]), ranges, next: 14 }];
    Notice::Hello(Hello { nonce: Nonce([9; 8]), versions: (1, 1), epochs })
}

fn part() -> Notice {
    let epochs = vec![Held { epoch: Epoch([0x5a; 8]), ranges: vec![Range::one(1)], next: 3 }];
    Notice::HelloPart(Hello { nonce: Nonce([8; 8]), versions: (1, 1), epochs })
}

fn gaps() -> Notice {
    let gap = |reason| Gap {
        epoch: Some(Epoch([0xa5; 8])),
        range: Range::new(10, 11),
        source: Some("meter".into()),
        from: Some(Instant(5)),
        until: Some(Instant(6)),
        boot: Some(BootId([1; 8])),
        count: Some(20),
        reason,
    };
    use GapReason::*;
    let mut gaps: Vec<Gap> = [Evicted, DiskFull, Damaged, Overrun, Dropped, Unexplained].map(gap).into();
    gaps.push(Gap {
        epoch: None,
        range: None,
        source: None,
        from: None,
        until: None,
        boot: None,
        count: None,
        reason: Overrun,
    });
    Notice::Gaps(gaps)
}

fn receipt() -> Receipt {
    let settled = |first, last, state| Settled { range: Range { first, last }, state };
    let refused = |number, reason| Refused { number, hash: BodyHash([number as u8; 16]), reason };
    Receipt {
        nonce: Some(Nonce([9; 8])),
        gateway_time: Instant(1_790_000_000_000_000),
        epoch: Epoch([0xa5; 8]),
        ranges: vec![
            settled(1, 8, Settlement::Stored),
            settled(9, 9, Settlement::Quarantined),
            settled(10, 11, Settlement::Gap),
        ],
        continued: true,
        refused: vec![
            refused(12, Refusal::Conflict),
            refused(13, Refusal::QuarantineFull),
            refused(14, Refusal::TooLarge),
        ],
        signature: Some(Signature([1; 32], [2; 32])),
    }
}

fn status() -> Status {
    Status { presence: Presence::Online, at: Some(Instant(1)), agent: "0.1.0".into() }
}

fn enrol() -> Enrol {
    Enrol { nonce: Nonce([7; 8]), device: "cgm-1".parse().unwrap(), request: vec![0x30, 0x03, 0x02, 0x01, 0x00] }
}

fn outcomes() -> [(&'static str, Outcome); 4] {
    let certificates = |bytes: &[u8]| bytes.iter().map(|byte| Certificate(vec![0x30, *byte])).collect();
    let issued = Issued { chain: certificates(&[1, 2]), anchors: certificates(&[3]), receipt_key: Some([4; 32]) };
    [
        ("issued.bin", Outcome::Issued(issued)),
        ("waiting.bin", Outcome::Waiting(60)),
        ("refused.bin", Outcome::Refused(EnrolRefusal::NotAllowed)),
        ("later.bin", Outcome::Later(5)),
    ]
}

/// The golden bytes of `name`; with `GOLDEN=write`, written once if they are not there.
fn golden(name: &str, now: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|word| word == "write") && !path.exists() {
        fs::write(&path, now).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_message_of_version_1_is_read_and_written_as_ever() {
    let bytes = golden("body.bin", &body().encode().unwrap());
    let read = Body::decode(&bytes).unwrap();
    let pairs = read.columns.iter().zip(body().columns);
    for (read, meant) in pairs {
        assert!(read.readings.iter().zip(&meant.readings).all(|(a, b)| a.same_bits(b)), "{read:?}\n{meant:?}");
        assert_eq!((&read.series, read.basis), (&meant.series, meant.basis));
    }
    assert_eq!(read.encode().unwrap(), bytes);

    let bytes = golden("frame.bin", &frame().encode());
    assert_eq!(Frame::decode(&bytes).unwrap(), frame());
    assert!(frame().bodies.iter().all(Sealed::is_intact));

    let clocks = Notice::Clocks(vec![clock(), Clock::default()]);
    let notices = [("hello.bin", hello()), ("gaps.bin", gaps()), ("clocks.bin", clocks), ("hello_part.bin", part())];
    for (name, notice) in notices {
        let bytes = golden(name, &notice.encode());
        assert_eq!(Notice::decode(&bytes).unwrap(), notice);
        assert_eq!(notice.encode(), bytes);
    }

    let bytes = golden("receipt.bin", &receipt().encode());
    assert_eq!(Receipt::decode(&bytes).unwrap(), receipt());
    assert_eq!(receipt().encode(), bytes);

    let bytes = golden("status.bin", &status().encode());
    assert_eq!(Status::decode(&bytes).unwrap(), status());

    let bytes = golden("enrol.bin", &enrol().encode());
    assert_eq!(Enrol::decode(&bytes).unwrap(), enrol());
    assert_eq!(enrol().encode(), bytes);
    for (name, outcome) in outcomes() {
        let enrolled = Enrolled { nonce: Nonce([7; 8]), outcome };
        let bytes = golden(name, &enrolled.encode());
        assert_eq!(Enrolled::decode(&bytes).unwrap(), enrolled);
        assert_eq!(enrolled.encode(), bytes);
    }
}
