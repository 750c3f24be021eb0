//! Hostile and clumsy clients.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use proto::Channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tributary_gateway::ingest::Event;

use crate::rig::{PATIENCE, Raw, Rig, connect, packet, publish, subscribe, topic};

#[tokio::test]
async fn a_packet_that_is_too_large_is_refused_by_its_header_alone() {
    let mut rig = Rig::start().await;
    let (mut five, _link) = rig.connect("meter-5", 5).await;
    five.send(&[0x32, 0x80, 0x90, 0x08]).await; // a PUBLISH of 132 KiB, of which nothing follows
    assert_eq!(five.packet().await, (0xE0, vec![0x95]));
    rig.closed().await;
    let (mut three, _link) = rig.connect("meter-3", 4).await;
    three.send(&[0x82, 0x80, 0x41]).await; // a SUBSCRIBE of 8 KiB and a little
    assert!(three.is_closed().await);
    rig.closed().await;
    let mut before = rig.tls("meter-3").await;
    before.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    assert!(before.is_closed().await);
    assert_eq!(rig.counters.oversized.get(), 3);
    let (mut whole, _link) = rig.connect("meter-7", 5).await;
    let frame = vec![7; proto::FRAME_BYTES_MAX];
    whole.send(&publish(5, &topic("meter-7", Channel::Batch), Some(1), 0, &frame)).await;
    assert_eq!(rig.arrived().await.payload, frame);
    rig.stop().await;
}

#[tokio::test]
async fn a_client_in_the_middle_of_sending_hears_why_it_is_closed_and_is_not_reset() {
    let mut rig = Rig::start_with(64, |settings| settings.farewell_deadline = Duration::from_secs(2)).await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    meter.send(&[0x32, 0x80, 0x92, 0xF4, 0x01]).await; // a PUBLISH of 4 MB
    for _ in 0..4 {
        meter.send(&[0; 1_000_000]).await;
        tokio::time::sleep(Duration::from_millis(10)).await; // the time a reset would take to arrive
    }
    assert_eq!(meter.packet().await, (0xE0, vec![0x95]));
    rig.closed().await;
    drop(meter);
    rig.stop().await;
}

#[tokio::test]
async fn a_listener_sees_to_it_that_its_connections_find_file_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(300), maximum }).unwrap();
    let rig = Rig::start_with(64, |settings| settings.connections_max = 500).await;
    let current = getrlimit(Resource::Nofile).current;
    assert_eq!(current, maximum.map_or(Some(1_268), |maximum| Some(maximum.min(1_268))));
    rig.stop().await;
}

#[tokio::test]
async fn stalled_handshakes_keep_nobody_out() {
    let rig = Rig::start_with(64, |settings| settings.handshakes_max = 2).await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(&[22, 3, 1]).await.unwrap(); // the beginning of a ClientHello
        stalled.push(socket);
    }
    let since = Instant::now();
    let mut meter = rig.tls("meter-7").await;
    meter.send(&connect(4, "meter-7", 60, None)).await;
    assert_eq!(meter.packet().await, (0x20, vec![0, 0]));
    assert!(since.elapsed() < Duration::from_secs(2));
    let read = tokio::time::timeout(PATIENCE, stalled[0].read(&mut [0; 64])).await.expect("pushed out");
    assert!(matches!(read, Ok(0) | Err(_)));
    rig.stop().await;
}

#[tokio::test]
async fn handshakes_and_connects_have_deadlines() {
    let rig = Rig::start_with(64, |settings| {
        settings.handshake_deadline = Duration::from_secs(2); // in which the other one's handshake has to be done too
        settings.connect_deadline = Duration::from_secs(1);
    })
    .await;
    let mut stalled = TcpStream::connect(rig.address).await.unwrap();
    let mut mute = rig.tls("meter-7").await;
    mute.send(&[0x10]).await;
    assert!(mute.is_closed().await);
    let read = tokio::time::timeout(PATIENCE, stalled.read(&mut [0; 64])).await.expect("cut in time");
    assert!(matches!(read, Ok(0) | Err(_)));
    rig.stop().await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_turned_away() {
    let mut rig = Rig::start_with(64, |settings| settings.connections_max = 1).await;
    let (_meter, _link) = rig.connect("meter-7", 4).await;
    let client = rig.pki.client(Some(rig.pki.device("meter-8")));
    assert!(Raw::connect(rig.address, client).await.is_err());
    assert_eq!(rig.counters.connections_turned_away.get(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn what_this_server_does_not_offer_is_told_by_its_own_reason_code() {
    let mut rig = Rig::start().await;
    let batch = topic("meter-7", Channel::Batch);
    let qos_2 = {
        let mut bytes = publish(5, &batch, Some(1), 0, b"");
        bytes[0] = 0x34;
        bytes
    };
    let alias = packet(0x32, &[&crate::rig::text(&batch)[..], &[0, 1, 3, 0x23, 0, 1]].concat());
    let identifier = packet(0x82, &[&[0, 1, 2, 0x0B, 1][..], &crate::rig::text("x"), &[0]].concat());
    let flags = {
        let mut bytes = subscribe(5, 1, &["x"]);
        bytes[0] = 0x80;
        bytes
    };
    let cases = [
        (qos_2, 0x9B),
        (alias, 0x94),
        (identifier, 0xA1),
        (flags, 0x81),
        (publish(5, &batch, Some(0), 0, b""), 0x82),
        (connect(5, "meter-7", 60, None), 0x82),
        (vec![0x40, 2, 0, 1], 0x82),
        (vec![0xF0, 0], 0x82),
        (vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1], 0x81),
    ];
    for (bytes, reason) in cases {
        let (mut meter, _link) = rig.connect("meter-7", 5).await;
        meter.send(&bytes).await;
        assert_eq!(meter.packet().await, (0xE0, vec![reason]), "{bytes:02x?}");
        rig.closed().await;
    }
    let (mut meter, _link) = rig.connect("meter-7", 4).await;
    meter
        .send(&{
            let mut bytes = publish(4, &batch, Some(1), 0, b"");
            bytes[0] = 0x34;
            bytes
        })
        .await;
    assert!(meter.is_closed().await);
    rig.stop().await;
}

/// Packets of the right kind, mutilated, or plain noise.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let batch = topic("meter-7", Channel::Batch);
    let good = prop_oneof![
        Just(publish(5, &batch, Some(1), 0, b"payload")),
        Just(publish(4, &batch, None, 0, b"payload")),
        Just(subscribe(5, 1, &["trib/1/meter-7/receipt", "#"])),
        Just(subscribe(4, 1, &["trib/1/meter-7/receipt"])),
        Just(vec![0xC0, 0]),
        Just(vec![0xE0, 2, 0, 0]),
        Just(connect(5, "meter-7", 60, Some(("trib/1/meter-7/status", "gone")))),
    ];
    let mutilated =
        (good, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(|(mut bytes, at, byte, cut)| {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            bytes
        });
    let part = prop_oneof![3 => mutilated, 1 => prop::collection::vec(any::<u8>(), 0..200)];
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

#[tokio::test]
async fn noise_ends_a_connection_or_not_but_never_the_listener() {
    let mut rig = Rig::start_with(10_000, |settings| settings.connect_deadline = Duration::from_millis(500)).await;
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    for round in 0..120u8 {
        let bytes = noise().new_tree(&mut runner).unwrap().current();
        let mut client = rig.tls("meter-7").await;
        if round % 3 != 0 {
            client.send(&connect(4 + round % 2, "meter-7", 60, None)).await;
        }
        // The server may close while this is being written.
        let _ = client.stream.write_all(&bytes).await;
        let _ = client.stream.shutdown().await;
        let end = tokio::time::timeout(PATIENCE, client.stream.read_to_end(&mut Vec::new())).await;
        assert!(end.is_ok(), "no end after {bytes:02x?}");
    }
    let (mut meter, _link) = connected_after_all(&mut rig).await;
    meter.send(&[0xC0, 0]).await;
    assert_eq!(meter.packet().await, (0xD0, vec![]));
    rig.stop().await;
}

/// A last connection; before it, every connection that was opened must have been closed, once.
async fn connected_after_all(rig: &mut Rig) -> (Raw, tributary_gateway::ingest::Link) {
    let mut meter = rig.tls("meter-7").await;
    meter.send(&connect(4, "meter-7", 60, None)).await;
    meter.packet().await;
    let mut open: Option<tributary_gateway::ingest::Link> = None;
    let openings = rig.counters.connections.get();
    let mut opened = 0;
    loop {
        match rig.event().await {
            Event::Opened(link) => {
                assert!(open.is_none(), "one connection of a device at a time");
                opened += 1;
                if opened == openings {
                    return (meter, link);
                }
                open = Some(link);
            }
            Event::Arrived(arrival) => {
                assert_eq!(open.as_ref().map(|link| link.connection), Some(arrival.connection));
            }
            Event::Contested { .. } => {} // this test does just that
            other @ (Event::Barred { .. } | Event::Pulse) => panic!("{other:?}"),
            Event::Closed { connection, .. } => {
                assert_eq!(open.take().map(|link| link.connection), Some(connection));
            }
        }
    }
}
