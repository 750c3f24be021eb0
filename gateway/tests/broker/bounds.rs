//! What happens while the pipeline takes nothing, or the broker does not stop.

use std::time::Duration;

use proto::{Channel, FRAME_BYTES_MAX};
use tributary_gateway::ingest::Verdict;

use crate::peer::{Packet, Peer};
use crate::rig::{Rig, until};

const TOPIC: &str = "trib/1/meter-7/batch";

#[tokio::test]
async fn while_the_pipeline_takes_nothing_pings_go_on_and_nothing_is_acknowledged() {
    let mut rig = Rig::start_with(1, |settings| settings.keep_alive = Duration::from_secs(1)).await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    for id in 1..=600 {
        peer.deliver(id, false, TOPIC, &u16::to_be_bytes(id)).await;
    }
    for _ in 0..3 {
        assert_eq!(peer.next().await, Packet::Ping);
        peer.pong().await;
    }
    assert_eq!(rig.counters.connections_lost.get(), 0);
    for id in 1..=600_u16 {
        let arrival = rig.arrival().await;
        assert_eq!(arrival.payload, &id.to_be_bytes()[..], "in order, each once");
        arrival.ticket.settle(Verdict::Settled);
        assert_eq!(peer.next_but_pings().await, Packet::PubAck(id));
    }
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_broker_that_sends_beyond_the_window_is_hung_up_on() {
    for (messages, bytes) in [(4, usize::MAX), (1_000, 4 * FRAME_BYTES_MAX)] {
        let mut rig = Rig::start_with(64, |settings| {
            (settings.window_messages, settings.window_bytes) = (messages, bytes);
        })
        .await;
        let mut peer = Peer::welcome(&rig.listener, true).await;
        for id in 1..=4 {
            peer.deliver(id, false, TOPIC, &vec![0; FRAME_BYTES_MAX]).await;
        }
        // What is acknowledged makes room.
        let first = rig.arrival().await;
        first.ticket.settle(Verdict::Settled);
        assert_eq!(peer.next().await, Packet::PubAck(1));
        peer.deliver(5, false, TOPIC, &vec![0; FRAME_BYTES_MAX]).await;
        until("the fifth", || rig.counters.messages.get() == 5).await;
        assert_eq!(rig.counters.connections_lost.get(), 0);
        peer.deliver(6, false, TOPIC, b"one too many").await;
        if messages == 4 {
            assert_eq!(peer.next().await, Packet::End);
        } else {
            peer.deliver(7, false, TOPIC, &vec![0; FRAME_BYTES_MAX]).await;
            assert_eq!(peer.next().await, Packet::End);
        }
        Peer::welcome(&rig.listener, true).await;
        assert!(rig.end().await);
    }
}

#[tokio::test]
async fn messages_at_qos_0_that_find_no_room_are_dropped_and_counted() {
    let mut rig = Rig::start_with(1, |settings| settings.window_messages = 8).await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    for number in 0..100 {
        peer.deliver_once(TOPIC, &[number]).await;
    }
    until("all of them", || rig.counters.messages.get() == 100).await;
    let dropped = rig.counters.messages_dropped.get();
    assert!((85..=95).contains(&dropped), "{dropped}");
    for number in 0..(100 - dropped) {
        assert_eq!(rig.arrival().await.payload, &[u8::try_from(number).unwrap()][..]);
    }
    peer.deliver(1, false, TOPIC, b"x").await;
    rig.arrival().await.ticket.settle(Verdict::Settled);
    assert_eq!(peer.next().await, Packet::PubAck(1), "the connection has not suffered");
    assert!(rig.end().await);
}

#[tokio::test]
async fn what_waits_for_the_broker_is_bounded_and_what_belongs_together_goes_whole_or_not_at_all() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    peer.deliver(1, false, TOPIC, b"x").await;
    let link = rig.opened().await;
    drop(peer); // nobody takes what is sent now
    until("the end", || rig.counters.connections_open.get() == 0).await;
    let answer = |first: u8| vec![vec![first; 100_000].into(), vec![first + 1; 100_000].into()];
    let mut taken = 0;
    while link.send_all(Channel::Receipt, answer(2 * taken)) {
        taken += 1;
        assert!(taken < 100, "there must be a bound");
    }
    assert!(taken > 10, "{taken}");
    let mut peer = Peer::welcome(&rig.listener, true).await;
    for number in 0..2 * taken {
        let Packet::Publish { topic, payload, qos: 0 } = peer.next().await else { panic!() };
        assert_eq!((topic.as_str(), payload.first()), ("trib/1/meter-7/receipt", Some(&number)));
    }
    assert!(link.send_all(Channel::Receipt, answer(0)), "there is room again");
    assert!(matches!(peer.next().await, Packet::Publish { .. }));
    assert!(rig.end().await);
}

#[tokio::test]
async fn messages_to_devices_leave_no_faster_than_the_broker_takes_them_and_acknowledgements_do_not_wait() {
    let mut rig = Rig::start_with(64, |settings| settings.publishes_per_s_max = 10).await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    peer.deliver(1, false, TOPIC, b"x").await;
    let link = rig.opened().await;
    let first = rig.arrival().await;
    for number in 0..6 {
        assert!(link.send(Channel::Receipt, vec![number].into()));
    }
    let begun = std::time::Instant::now();
    assert!(matches!(peer.next().await, Packet::Publish { .. }));
    first.ticket.settle(Verdict::Settled);
    assert_eq!(peer.next().await, Packet::PubAck(1));
    for _ in 1..6 {
        assert!(matches!(peer.next().await, Packet::Publish { .. }));
    }
    assert!(begun.elapsed() >= Duration::from_millis(490), "{:?}", begun.elapsed());
    assert!(rig.end().await);
}
