//! Publishes, verdicts, and messages to devices.

use std::time::Duration;

use bytes::Bytes;
use proto::Channel;
use tributary_gateway::ingest::listener::Settings;
use tributary_gateway::ingest::{RefusalCode, Verdict};

use crate::rig::{Raw, Rig, device, publish, subscribe, topic};

#[tokio::test]
async fn a_publish_is_acknowledged_once_it_is_settled_and_not_before() {
    for version in [4, 5] {
        let mut rig = Rig::start().await;
        let (mut meter, link) = rig.connect("meter-7", version).await;
        meter.send(&publish(version, &topic("meter-7", Channel::Batch), Some(7), 0, b"frame")).await;
        let arrival = rig.arrived().await;
        assert_eq!((arrival.device, arrival.connection), (device("meter-7"), link.connection));
        assert_eq!((arrival.channel, arrival.packet_id), (Channel::Batch, Some(7)));
        assert_eq!(arrival.payload, b"frame"[..]);
        assert!(meter.is_quiet().await);
        arrival.ticket.settle(Verdict::Settled);
        assert_eq!(meter.packet().await, (0x40, vec![0, 7]));
        rig.stop().await;
    }
}

#[tokio::test]
async fn acknowledgements_keep_the_order_of_the_publishes() {
    let mut rig = Rig::start().await;
    let (mut meter, _link) = rig.connect("meter-7", 4).await;
    let ids = [5, 3, 9, 1];
    for id in ids {
        meter.send(&publish(4, &topic("meter-7", Channel::Batch), Some(id), 0, b"")).await;
    }
    let mut tickets = Vec::new();
    for _ in ids {
        tickets.push(rig.arrived().await.ticket);
    }
    let first = tickets.remove(0);
    for ticket in tickets.into_iter().rev() {
        ticket.settle(Verdict::Settled);
    }
    assert!(meter.is_quiet().await);
    first.settle(Verdict::Settled);
    for id in ids {
        assert_eq!(meter.packet().await, (0x40, id.to_be_bytes().to_vec()));
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_refusal_has_a_reason_code_and_ends_the_connection_where_there_are_none() {
    let mut rig = Rig::start().await;
    let (mut five, _link) = rig.connect("meter-5", 5).await;
    five.send(&publish(5, &topic("meter-5", Channel::Batch), Some(1), 0, b"")).await;
    rig.arrived().await.ticket.settle(Verdict::Refused(RefusalCode::QuotaExceeded));
    assert_eq!(five.packet().await, (0x40, vec![0, 1, 0x97]));
    let (mut three, _link) = rig.connect("meter-3", 4).await;
    three.send(&publish(4, &topic("meter-3", Channel::Batch), Some(1), 0, b"")).await;
    rig.arrived().await.ticket.settle(Verdict::Refused(RefusalCode::QuotaExceeded));
    assert!(three.is_closed().await);
    rig.closed().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_dropped_ticket_closes_the_connection_without_an_acknowledgement() {
    let mut rig = Rig::start().await;
    let (mut meter, _link) = rig.connect("meter-7", 4).await;
    meter.send(&publish(4, &topic("meter-7", Channel::Batch), Some(1), 0, b"")).await;
    drop(rig.arrived().await.ticket);
    assert!(meter.is_closed().await);
    rig.closed().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_resend_of_what_is_in_flight_is_taken_in_once_and_another_message_under_its_id_not_at_all() {
    let mut rig = Rig::start().await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    let batch = topic("meter-7", Channel::Batch);
    meter.send(&publish(5, &batch, Some(1), 0, b"a")).await;
    meter.send(&publish(5, &batch, Some(1), 0b1000, b"a")).await;
    meter.send(&publish(5, &batch, Some(2), 0, b"b")).await;
    let (first, second) = (rig.arrived().await, rig.arrived().await);
    assert_eq!((first.packet_id, second.packet_id), (Some(1), Some(2)));
    first.ticket.settle(Verdict::Settled);
    assert_eq!(meter.packet().await, (0x40, vec![0, 1]));
    meter.send(&publish(5, &batch, Some(2), 0, b"c")).await;
    assert_eq!(meter.packet().await, (0xE0, vec![0x82]));
    rig.closed().await;
    rig.stop().await;
}

#[tokio::test]
async fn reading_stops_while_verdicts_or_room_are_missing_and_nothing_is_lost() {
    // Room for two events beside those that have been taken, two publishes in flight, and a keep alive of a second.
    let mut rig = Rig::start_with(1, |settings| settings.receive_max = 2).await;
    let mut meter = rig.tls("meter-7").await;
    meter.send(&crate::rig::connect(4, "meter-7", 1, None)).await;
    meter.packet().await;
    let _link = rig.opened().await;
    let batch = topic("meter-7", Channel::Batch);
    let all: Vec<u8> = (1..=20).flat_map(|id| publish(4, &batch, Some(id), 0, &[0; 2_000])).collect();
    meter.send(&all).await;
    let (one, two) = (rig.arrived().await, rig.arrived().await);
    let more = tokio::time::timeout(Duration::from_millis(1_800), rig.events.recv()).await;
    assert!(more.is_err(), "neither a third publish nor an end for want of a keep alive");
    one.ticket.settle(Verdict::Settled);
    two.ticket.settle(Verdict::Settled);
    for id in 3..=20 {
        let arrival = rig.arrived().await;
        assert_eq!(arrival.packet_id, Some(id));
        arrival.ticket.settle(Verdict::Settled);
    }
    for id in 1..=20u16 {
        assert_eq!(meter.packet().await, (0x40, id.to_be_bytes().to_vec()));
    }
    rig.stop().await;
}

/// A device on a pipeline that has room for one event; `count` publishes of 2000 bytes at `qos`, for which nobody makes
/// room, lie before it.
async fn crowded(adjust: impl FnOnce(&mut Settings), count: u16, qos: u8) -> (Rig, Raw) {
    let mut rig = Rig::start_with(1, adjust).await;
    let (mut meter, _link) = rig.connect("meter-7", 4).await;
    let batch = topic("meter-7", Channel::Batch);
    for id in 1..=count {
        meter.send(&publish(4, &batch, (qos > 0).then_some(id), 0, &[0; 2_000])).await;
    }
    (rig, meter)
}

const PING: [u8; 2] = [0xC0, 0];
const PONG: (u8, Vec<u8>) = (0xD0, vec![]);

#[tokio::test]
async fn pings_are_answered_while_the_pipeline_takes_nothing_and_acknowledgements_keep_their_order() {
    let (mut rig, mut meter) = crowded(|_| {}, 60, 1).await;
    for _ in 0..3 {
        meter.send(&PING).await;
        assert_eq!(meter.packet().await, PONG);
    }
    for id in 1..=60 {
        let arrival = rig.arrived().await;
        assert_eq!(arrival.packet_id, Some(id));
        arrival.ticket.settle(Verdict::Settled);
        assert_eq!(meter.packet().await, (0x40, id.to_be_bytes().to_vec()));
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_connections_hold_together_is_bounded_and_whoever_finds_no_share_is_read_once_there_is_room() {
    // The first finds room in the pipeline, the second has the one share, and the third is the one more that each may hold.
    let (mut rig, mut first) = crowded(|settings| settings.held_bytes_max = 4_000, 4, 1).await;
    first.send(&PING).await;
    assert!(first.is_quiet().await, "the fourth is not read, and nothing behind it");
    for id in 1..=4 {
        let arrival = rig.arrived().await;
        assert_eq!(arrival.packet_id, Some(id));
        arrival.ticket.settle(Verdict::Settled);
    }
    let mut heard = Vec::new();
    for _ in 0..5 {
        heard.push(first.packet().await.0);
    }
    heard.sort_unstable();
    assert_eq!(heard, [0x40, 0x40, 0x40, 0x40, 0xD0]);
    // All shares were given back.
    let batch = topic("meter-7", Channel::Batch);
    for id in 5..=6 {
        first.send(&publish(4, &batch, Some(id), 0, &[0; 2_000])).await;
    }
    first.send(&PING).await;
    assert_eq!(first.packet().await, PONG);
    rig.stop().await;
}

#[tokio::test]
async fn a_goodbye_behind_what_waits_for_the_pipeline_takes_nothing_with_it() {
    for says_so in [true, false] {
        let (mut rig, mut meter) = crowded(|_| {}, 10, 0).await;
        if says_so {
            meter.send(&[0xE0, 0]).await;
        } else {
            meter.send(&PING).await;
            assert_eq!(meter.packet().await, PONG, "all is read");
        }
        drop(meter);
        for _ in 0..10 {
            rig.arrived().await;
        }
        rig.closed().await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_device_hears_its_own_topics_once_it_has_subscribed() {
    for version in [4, 5] {
        let mut rig = Rig::start().await;
        let (mut meter, link) = rig.connect("meter-7", version).await;
        let (receipt, batch) = (topic("meter-7", Channel::Receipt), topic("meter-7", Channel::Batch));
        assert!(link.send(Channel::Receipt, Bytes::from_static(b"too early")));
        let foreign = topic("meter-8", Channel::Receipt);
        meter.send(&subscribe(version, 1, &[&receipt, &foreign, "trib/1/meter-7/#", &batch])).await;
        let (first, body) = meter.packet().await;
        let refused = if version == 5 { 0x87 } else { 0x80 };
        assert_eq!((first, &body[body.len() - 4..]), (0x90, &[0, refused, refused, refused][..]));
        let large = Bytes::from(vec![7; 20_000]);
        assert!(link.send(Channel::Command, Bytes::from_static(b"not subscribed")));
        assert!(link.send(Channel::Receipt, large.clone()));
        let (first, body) = meter.packet().await;
        assert_eq!(first, 0x30);
        assert!(body.ends_with(&large) && body[2..].starts_with(receipt.as_bytes()));
        let mut unsubscribe = subscribe(version, 2, &[&receipt]);
        unsubscribe.pop(); // no options there
        unsubscribe[0] = 0xA2;
        unsubscribe[1] -= 1;
        meter.send(&unsubscribe).await;
        assert_eq!(meter.packet().await.0, 0xB0);
        assert!(link.send(Channel::Receipt, Bytes::from_static(b"too late")));
        assert!(meter.is_quiet().await);
        assert_eq!(rig.counters.messages_skipped.get(), 3);
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_device_that_reads_late_gets_every_message_to_its_last_byte() {
    let mut rig = Rig::start().await;
    let (mut meter, link) = rig.connect("meter-7", 4).await;
    meter.send(&subscribe(4, 1, &[&topic("meter-7", Channel::Receipt)])).await;
    meter.packet().await;
    let large = Bytes::from(vec![7; 120_000]);
    let (mut sent, mut refused) = (0, 0);
    while refused < 50 && sent < 1_000 {
        if link.send(Channel::Receipt, large.clone()) {
            (sent, refused) = (sent + 1, 0);
        } else {
            refused += 1; // until the sockets' buffers, ours and the link are full
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert!(sent < 1_000, "what waits for a device is bounded");
    for _ in 0..sent {
        assert!(meter.packet().await.1.ends_with(&large));
    }
    rig.stop().await;
}
