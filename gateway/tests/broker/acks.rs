//! When a message is acknowledged, and on which connection.

use proto::{Channel, FRAME_BYTES_MAX};
use tributary_gateway::ingest::{RefusalCode, Verdict};

use crate::peer::{Packet, Peer};
use crate::rig::{Rig, until};

const TOPIC: &str = "trib/1/meter-7/batch";

#[tokio::test]
async fn acknowledgements_leave_in_the_order_of_arrival_and_never_before_the_verdict() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    let mut tickets = Vec::new();
    let mut link = None;
    for id in 1..=5 {
        peer.deliver(id, false, TOPIC, &[u8::try_from(id).unwrap()]).await;
        if id == 1 {
            link = Some(rig.opened().await);
        }
        tickets.push(rig.arrival().await.ticket);
    }
    let last = tickets.split_off(1);
    for ticket in last.into_iter().rev() {
        ticket.settle(Verdict::Settled);
    }
    // What is sent now would come after any acknowledgement.
    assert!(link.unwrap().send(Channel::Receipt, "marker".into()));
    let marker = Packet::Publish { topic: "trib/1/meter-7/receipt".into(), payload: b"marker".to_vec(), qos: 0 };
    assert_eq!(peer.next().await, marker, "nothing is acknowledged before the first");
    tickets.remove(0).settle(Verdict::Settled);
    for id in 1..=5 {
        assert_eq!(peer.next().await, Packet::PubAck(id));
    }
    assert!(rig.end().await);
    assert_eq!(peer.next().await, Packet::Disconnect);
}

#[tokio::test]
async fn an_acknowledgement_of_a_lost_connection_never_reaches_the_next_whose_ids_are_used_again() {
    let mut rig = Rig::start().await;
    let mut first = Peer::welcome(&rig.listener, true).await;
    first.deliver(1, false, TOPIC, b"old").await;
    let link = rig.opened().await;
    let old = rig.arrival().await;
    drop(first);
    let mut second = Peer::welcome(&rig.listener, true).await;
    second.deliver(1, false, TOPIC, b"new").await;
    let new = rig.arrival().await;
    assert_eq!(new.payload, "new");
    old.ticket.settle(Verdict::Settled);
    assert!(link.send(Channel::Receipt, "marker".into()));
    assert!(matches!(second.next().await, Packet::Publish { .. }), "the old verdict acknowledges nothing here");
    new.ticket.settle(Verdict::Settled);
    assert_eq!(second.next().await, Packet::PubAck(1));
    assert!(rig.end().await);
}

#[tokio::test]
async fn what_is_delivered_again_under_another_id_is_taken_in_again_and_acknowledged_under_that() {
    let mut rig = Rig::start().await;
    let mut first = Peer::welcome(&rig.listener, true).await;
    let mut arrivals = Vec::new();
    for id in [5, 6] {
        first.deliver(id, false, TOPIC, &[0]).await;
        arrivals.push(rig.arrival().await);
    }
    drop(arrivals); // not settled, whatever the reason
    assert_eq!(first.next().await, Packet::End, "without a verdict the broker must deliver it again");
    let mut second = Peer::welcome(&rig.listener, true).await;
    for (id, before) in [(1, 6), (2, 5)] {
        second.deliver(id, true, TOPIC, &[before]).await;
        let arrival = rig.arrival().await;
        assert_eq!((&arrival.payload[..], arrival.packet_id), (&[before][..], None), "ids are the broker's own");
        arrival.ticket.settle(Verdict::Settled);
        assert_eq!(second.next().await, Packet::PubAck(id));
    }
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_resend_on_the_same_connection_is_answered_by_the_first_copys_verdict() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    peer.deliver(9, false, TOPIC, b"once").await;
    peer.deliver(9, true, TOPIC, b"once").await;
    peer.deliver(10, false, TOPIC, b"next").await;
    let (once, next) = (rig.arrival().await, rig.arrival().await);
    assert_eq!((&once.payload[..], &next.payload[..]), (&b"once"[..], &b"next"[..]));
    once.ticket.settle(Verdict::Settled);
    next.ticket.settle(Verdict::Settled);
    assert_eq!([peer.next().await, peer.next().await], [Packet::PubAck(9), Packet::PubAck(10)]);
    // Another message under an id that is in use is neither.
    for _ in 0..2 {
        peer.deliver(11, false, TOPIC, b"two").await;
    }
    assert_eq!(peer.next().await, Packet::End);
    assert!(rig.end().await);
}

#[tokio::test]
async fn what_is_refused_or_nobodys_or_too_large_is_acknowledged_in_its_turn_and_counted() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    peer.deliver(1, false, TOPIC, b"first").await;
    peer.deliver(2, false, "trib/1/Not-A-Device/batch", b"whose?").await;
    peer.deliver(3, false, TOPIC, &vec![0; FRAME_BYTES_MAX + 1]).await;
    peer.deliver(4, false, TOPIC, &vec![0; FRAME_BYTES_MAX]).await;
    let (first, largest) = (rig.arrival().await, rig.arrival().await);
    assert_eq!(largest.payload.len(), FRAME_BYTES_MAX, "the largest frame passes");
    largest.ticket.settle(Verdict::Settled);
    first.ticket.settle(Verdict::Refused(RefusalCode::QuotaExceeded));
    for id in 1..=4 {
        assert_eq!(peer.next().await, Packet::PubAck(id));
    }
    assert_eq!((rig.counters.messages_strange.get(), rig.counters.messages_refused.get()), (2, 1));
    assert!(rig.end().await);
}

#[tokio::test]
async fn what_is_under_way_when_the_gateway_stops_is_still_acknowledged() {
    let mut rig = Rig::start_with(1, |_| {}).await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    for id in 1..=9 {
        peer.deliver(id, false, TOPIC, b"x").await;
    }
    let first = rig.arrival().await;
    until("the rest to be there", || rig.counters.messages.get() == 9).await;
    rig.stop.cancel();
    first.ticket.settle(Verdict::Settled);
    assert_eq!(peer.next().await, Packet::PubAck(1));
    while let Some(event) = rig.events.recv().await {
        drop(event); // unsettled: those are the broker's
    }
    assert_eq!(peer.next().await, Packet::Disconnect, "and nothing else is acknowledged");
    rig.door.await.unwrap();
}
