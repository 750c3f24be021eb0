//! Who is there, as far as messages tell.

use proto::message::Presence;
use proto::{Channel, DeviceId};
use tributary_gateway::ingest::{ConnectionId, Event, Verdict};

use crate::peer::Peer;
use crate::rig::{Rig, status, until};

fn topic(device: &str, channel: Channel) -> String {
    proto::Topic::new(device.parse().unwrap(), channel).to_string()
}

#[tokio::test]
async fn a_device_is_there_from_its_first_message_until_its_last_will_and_anew_when_it_connects_again() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, false).await;
    peer.deliver(1, false, &topic("meter-7", Channel::Batch), b"x").await;
    let first = rig.opened().await;
    assert_eq!(first.device.as_str(), "meter-7");
    assert_eq!(rig.settled().await.connection, first.connection);
    peer.deliver(2, false, &topic("meter-7", Channel::Senml), b"x").await;
    assert_eq!(rig.settled().await.connection, first.connection, "it is opened once");
    // It lost its connection, and has another one before its last will is out, or without one.
    peer.deliver(3, false, &topic("meter-7", Channel::Status), &status(Presence::Online)).await;
    assert_eq!(rig.closed().await, first.connection);
    let second = rig.opened().await;
    assert!(second.connection > first.connection);
    assert_eq!(rig.settled().await.connection, second.connection);
    for (id, presence) in [(4, Presence::Lost), (5, Presence::Offline)] {
        peer.deliver(id, false, &topic("meter-7", Channel::Status), &status(presence)).await;
        if presence == Presence::Offline {
            rig.opened().await; // it may be another gateway's business that it was there; that it is gone is told
        }
        rig.settled().await;
        rig.closed().await;
    }
    assert_eq!(rig.counters.devices_open.get(), 0);
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_hello_that_is_delivered_again_is_taken_for_one_of_an_earlier_connection() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    peer.deliver(1, true, &topic("meter-7", Channel::Hello), b"old").await;
    let link = rig.opened().await;
    let old = rig.settled().await;
    assert!(old.connection == ConnectionId::PAST && link.connection != ConnectionId::PAST);
    peer.deliver(2, false, &topic("meter-7", Channel::Hello), b"new").await;
    assert_eq!(rig.settled().await.connection, link.connection);
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_session_that_was_kept_keeps_devices_open_and_one_that_was_lost_closes_them_all() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, false).await;
    peer.deliver(1, false, &topic("meter-7", Channel::Batch), b"x").await;
    let first = rig.opened().await;
    rig.settled().await;
    drop(peer);
    let mut peer = Peer::welcome(&rig.listener, true).await;
    peer.deliver(1, true, &topic("meter-7", Channel::Batch), b"x").await;
    assert_eq!(rig.settled().await.device, first.device, "still open");
    drop(peer);
    let mut peer = Peer::welcome(&rig.listener, false).await;
    assert_eq!(rig.closed().await, first.connection);
    peer.deliver(1, false, &topic("meter-7", Channel::Batch), b"x").await;
    assert!(rig.opened().await.connection > first.connection);
    rig.settled().await;
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_device_that_was_first_heard_while_the_pipeline_was_full_can_be_answered_on_the_next_connection() {
    let mut rig = Rig::start_with(1, |_| {}).await;
    let mut peer = Peer::welcome(&rig.listener, true).await;
    for (id, device) in [(1, "meter-1"), (2, "meter-2")] {
        peer.deliver(id, false, &topic(device, Channel::Batch), b"first").await;
    }
    until("both", || rig.counters.messages.get() == 2).await;
    drop(peer);
    let mut peer = Peer::welcome(&rig.listener, true).await;
    for (id, device) in [(1, "meter-1"), (2, "meter-2")] {
        peer.deliver(id, true, &topic(device, Channel::Batch), b"again").await;
    }
    let mut open: Vec<DeviceId> = Vec::new();
    let mut arrived = 0;
    while arrived < 2 {
        match rig.event().await {
            Event::Opened(link) => open.push(link.device),
            Event::Arrived(arrival) => {
                assert!(open.contains(&arrival.device), "{open:?} before {}", arrival.device);
                assert_eq!(arrival.payload, "again", "what was not handed on is delivered again, and not kept as well");
                arrival.ticket.settle(Verdict::Settled);
                arrived += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(rig.end().await);
}

#[tokio::test]
async fn no_more_devices_are_known_than_there_is_room_for() {
    let mut rig = Rig::start_with(64, |settings| settings.devices_max = 3).await;
    let mut peer = Peer::welcome(&rig.listener, false).await;
    let mut open: Vec<DeviceId> = Vec::new();
    for number in 1..=20_u16 {
        peer.deliver(number, false, &topic(&format!("meter-{number}"), Channel::Batch), b"x").await;
        loop {
            match rig.event().await {
                Event::Opened(link) => open.push(link.device),
                Event::Closed { device, .. } => open.retain(|other| *other != device),
                Event::Arrived(arrival) => {
                    arrival.ticket.settle(Verdict::Settled);
                    assert!(open.contains(&arrival.device), "who sends can be answered");
                    break;
                }
                other @ (Event::Contested { .. } | Event::Barred { .. } | Event::Pulse) => panic!("{other:?}"),
            }
        }
        // The one that had to go is told of before the one that came.
        assert!(open.len() <= 3, "{open:?}");
    }
    assert_eq!(rig.counters.devices_open.get(), 3);
    assert!(rig.end().await);
}
