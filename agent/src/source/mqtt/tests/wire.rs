//! Packets in pieces, and what is none.

use super::super::packet::{Packet, Reader};
use super::*;

fn all(reader: &mut Reader, bytes: &[u8], pieces: usize) -> Result<Vec<Packet>, String> {
    let mut found = Vec::new();
    for piece in bytes.chunks(pieces) {
        reader.push(piece);
        while let Some(packet) = reader.next()? {
            found.push(packet);
        }
    }
    Ok(found)
}

#[test]
fn packets_are_the_same_however_bytes_come() {
    let long = vec![b'x'; 70_000];
    let stream = [
        mqtt::welcome(true, 0),
        mqtt::subscribed(&[1, 0x80]),
        Message::new(1, "a/x", b"21.5").encode(),
        Message { id: None, retain: true, ..Message::new(0, "", b"") }.encode(),
        Message { dup: true, ..Message::new(65_535, "long", &long) }.encode(),
        mqtt::PONG.to_vec(),
        Message::new(2, "a/x", b"22").encode(),
    ]
    .concat();
    let whole = all(&mut Reader::new(1_000), &stream, stream.len()).unwrap();
    assert_eq!(whole.len(), 7);
    assert_eq!(whole[0], Packet::ConnAck { session_present: true, code: 0 });
    assert_eq!(whole[1], Packet::SubAck(vec![1, 0x80]));
    let Packet::Publish(cut) = &whole[4] else { panic!("{:?}", whole[4]) };
    assert_eq!((cut.length, cut.payload.len(), cut.id, cut.dup), (70_000, 256, Some(65_535), true));
    let Packet::Publish(last) = &whole[6] else { panic!("{:?}", whole[6]) };
    assert_eq!((last.payload.as_slice(), last.is_cut()), (b"22".as_slice(), false));
    for pieces in [1, 2, 3, 7, 255, 256, 257, 4_096] {
        assert_eq!(all(&mut Reader::new(1_000), &stream, pieces).unwrap(), whole, "{pieces}");
    }
    let roomy = all(&mut Reader::new(70_000), &stream, 4_096).unwrap();
    assert!(matches!(&roomy[4], Packet::Publish(publish) if publish.payload == long));
}

#[test]
fn what_is_no_packet_ends_the_connection() {
    for (bytes, why) in [
        (vec![0x30, 0xff, 0xff, 0xff, 0xff], "length"),
        (mqtt::packet(0x34, b"\0\x01a\0\x01"), "QoS"),
        (mqtt::packet(0x32, b"\0\x01a\0\0"), "id 0"),
        (mqtt::packet(0x30, b"\0\x05a"), "topic"),
        (mqtt::packet(0x30, b"a"), "topic"),
        (mqtt::packet(0x90, &vec![0; 2_000]), "2000"),
        (mqtt::packet(0x20, &[0]), "short"),
    ] {
        let problem = all(&mut Reader::new(1_000), &bytes, bytes.len()).unwrap_err();
        assert!(problem.contains(why), "{problem} about {why}");
    }
}
