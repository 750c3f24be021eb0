//! What is sealed is read back to the bit, and any bytes at all give a value or an error.

#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "a test may fail")]

mod common;

use common::{any_body, same_bits};
use proptest::prelude::*;
use tributary_proto::enrol::{Enrol, Enrolled};
use tributary_proto::frame::{BODY_BYTES_MAX, Header, Sealed};
use tributary_proto::message::{Notice, Receipt, Status};
use tributary_proto::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_body_is_read_back_to_the_bit(body in any_body()) {
        let bytes = body.encode().unwrap();
        let back = Body::decode(&bytes).unwrap();
        prop_assert!(same_bits(&body, &back), "{body:?}\n{back:?}");
        prop_assert_eq!(back.encode().unwrap(), bytes, "encoding is a function of the readings");
    }

    #[test]
    fn a_body_that_was_tampered_with_gives_a_body_or_an_error(body in any_body(), place: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = body.encode().unwrap();
        let at = place.index(bytes.len());
        bytes[at] = byte;
        let _ = Body::decode(&bytes);
        let _ = Body::decode(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for version in [None, Some(VERSION)] {
            if let (Some(version), Some(first)) = (version, bytes.first_mut()) {
                *first = version;
            }
            let _ = Body::decode(&bytes);
            let _ = Frame::decode(&bytes);
            let _ = Notice::decode(&bytes);
            let _ = Receipt::decode(&bytes);
            let _ = Enrol::decode(&bytes);
            let _ = Enrolled::decode(&bytes);
            let _ = Status::decode(&bytes);
        }
    }

    #[test]
    fn a_frame_is_read_back_and_its_numbers_are_consecutive(bodies in prop::collection::vec(any_body(), 1..4), first in 1_u64..1_000_000) {
        let frame = Frame {
            header: Header { epoch: Epoch([7; 8]), first, lane: Lane::Backfill, clock: Clock::default() },
            bodies: bodies.iter().map(|body| Sealed::new(body.encode().unwrap())).collect(),
        };
        let bytes = frame.encode();
        prop_assert_eq!(&Frame::decode(&bytes).unwrap(), &frame);
        prop_assert_eq!(frame.numbers(), Range::new(first, first + bodies.len() as u64 - 1));
        for cut in 0..bytes.len() {
            prop_assert!(Frame::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

fn number_column(readings: usize) -> Column {
    let series = Series { name: "n".parse().unwrap(), unit: "1".parse().unwrap(), kind: Kind::Gauge };
    let reading = |index| Reading::new(Instant(index as i64), Value::Number(0.0));
    Column { series, basis: Basis::Source, readings: (0..readings).map(reading).collect() }
}

#[test]
fn one_reading_too_many_is_refused_at_both_ends() {
    let full = Body { boot: BootId::default(), columns: vec![number_column(BODY_READINGS_MAX)] };
    let mut bytes = full.encode().unwrap();
    assert_eq!(Body::decode(&bytes).unwrap().readings(), BODY_READINGS_MAX);
    assert!(bytes.len() < 64, "a steady series costs almost nothing: {} bytes", bytes.len());
    let over = Body { boot: BootId::default(), columns: vec![number_column(BODY_READINGS_MAX + 1)] };
    assert!(over.encode().is_err());
    // 65 536 as a varint is 80 80 04; make it 65 537.
    let place = bytes.windows(3).position(|three| three == [0x80, 0x80, 0x04]).unwrap();
    bytes[place] = 0x81;
    assert!(matches!(Body::decode(&bytes), Err(DecodeError::TooMany { what: "readings", .. })));
}

#[test]
fn versions_and_keys_that_are_not_known_are_named() {
    let bytes = Body::default().encode().unwrap();
    let mut newer = bytes.clone();
    newer[0] = 9;
    assert_eq!(Body::decode(&newer), Err(DecodeError::Version(9)));
    let mut locked = bytes;
    locked[1] = 3;
    assert_eq!(Body::decode(&locked), Err(DecodeError::Key(3)));
    assert_eq!(Frame::decode(&[]), Err(DecodeError::Empty));
    assert!(matches!(Frame::decode(&vec![1; FRAME_BYTES_MAX + 1]), Err(DecodeError::TooMany { .. })));
}

#[test]
fn the_largest_body_fits_a_frame_with_its_header() {
    let header = Header { epoch: Epoch([255; 8]), first: i64::MAX as u64, lane: Lane::Live, clock: Clock::default() };
    let mut header = header;
    header.clock.offset_us = i64::MIN;
    let frame = Frame { header, bodies: vec![Sealed::new(vec![0; BODY_BYTES_MAX])] };
    let bytes = frame.encode();
    assert!(bytes.len() <= FRAME_BYTES_MAX, "{}", bytes.len());
    assert_eq!(Frame::decode(&bytes).unwrap(), frame);
}
