//! What devices and gateways say to each other.

use proto::message::{Notice, Receipt, Status};
use proto::{BODY_READINGS_MAX, BODY_SERIES_MAX, Body, FRAME_BYTES_MAX, Frame, Instant, Topic};

/// 2026-09-21: what relative times count from.
const NOW: Instant = Instant(1_790_000_000_000_000);

/// Any bytes are a frame or an error; a frame that was read is written and read again to the same.
pub fn frame(bytes: &[u8]) {
    let Ok(frame) = Frame::decode(bytes) else { return };
    let carried: usize = frame.bodies.iter().map(|sealed| sealed.body.len()).sum();
    assert!(carried <= bytes.len() && bytes.len() <= FRAME_BYTES_MAX, "bodies are parts of what came");
    assert!(frame.bodies.len() <= proto::frame::FRAME_BATCHES_MAX);
    assert!(frame.numbers().is_some_and(|numbers| numbers.count() == frame.bodies.len() as u64));
    assert_eq!(Frame::decode(&frame.encode()).as_ref(), Ok(&frame));
    for sealed in &frame.bodies {
        body(&sealed.body);
    }
}

/// Any bytes are a body or an error; a body that was read is written and read again to the same bits.
pub fn body(bytes: &[u8]) {
    let Ok(body) = Body::decode(bytes) else { return };
    assert!(body.readings() <= BODY_READINGS_MAX && body.columns.len() <= BODY_SERIES_MAX);
    // Lists may be written shorter than they came, but what was read within bounds may pass one that only writers keep.
    let Ok(again) = body.encode() else { return };
    let back = Body::decode(&again).expect("what we wrote is read");
    assert_eq!((body.boot, body.columns.len()), (back.boot, back.columns.len()));
    for (left, right) in body.columns.iter().zip(&back.columns) {
        assert_eq!((&left.series, left.basis), (&right.series, right.basis));
        assert_eq!(left.readings.len(), right.readings.len());
        let same = left.readings.iter().zip(&right.readings).all(|(left, right)| left.same_bits(right));
        assert!(same, "readings of {} changed", left.series.name);
    }
}

/// The same for every message that is no frame.
pub fn message(bytes: &[u8]) {
    if let Ok(notice) = Notice::decode(bytes) {
        assert_eq!(Notice::decode(&notice.encode()), Ok(notice));
    }
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert!(receipt.ranges.len() <= proto::message::RECEIPT_RANGES_MAX);
        assert!(receipt.refused.len() <= proto::message::RECEIPT_REFUSED_MAX);
        assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
    }
    if let Ok(status) = Status::decode(bytes) {
        assert_eq!(Status::decode(&status.encode()), Ok(status));
    }
}

/// Any text is a topic or an error; a topic is printed as it was written, and names one device and nothing wild.
pub fn topic(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Topic>() {
        Ok(topic) => {
            assert_eq!(topic.to_string(), text);
            assert!(!text.contains(['+', '#', '$', '\0']), "{text} is wild");
        }
        Err(error) => assert!(error.to_string().len() < 1_024, "an error says little of what was wrong"),
    }
}

/// Any bytes are a pack or an error, and no pack has more readings than a body may have.
pub fn senml(bytes: &[u8]) {
    let Ok(pack) = proto::senml::parse(bytes, NOW) else { return };
    let readings: usize = pack.columns.iter().map(|column| column.readings.len()).sum();
    assert!(readings <= bytes.len(), "a reading takes a byte at least");
    assert!(pack.columns.iter().all(|column| column.basis == proto::Basis::Source), "times are absolute by now");
    assert!(pack.columns.iter().all(|column| !column.readings.is_empty()));
}

/// Any bytes on the wire are packets or an error, in whatever pieces they come; see `gateway::ingest::listener`.
pub fn mqtt(bytes: &[u8]) {
    let pieces = bytes.last().map_or(1, |last| usize::from(*last) + 1);
    gateway::ingest::listener::fuzzing::packets(bytes, pieces);
}
