//! What is said at the beginning of each connection, and what makes one end.

use std::time::Duration;

use tokio::net::TcpListener;
use tributary_gateway::ingest::Verdict;

use crate::peer::{Packet, Peer};
use crate::rig::{Rig, until};

#[tokio::test]
async fn each_connection_subscribes_anew_as_one_client_whose_session_is_kept() {
    let rig = Rig::start_with(1, |settings| settings.group = "g".into()).await;
    for session_present in [false, true, true] {
        let mut peer = Peer::greet(&rig.listener, session_present).await;
        let filters = peer.grant(1).await;
        let paths = ["batch", "senml", "hello", "status", "command/result", "config/reported", "enrol"];
        let wanted: Vec<_> = paths.iter().map(|path| (format!("$share/g/trib/1/+/{path}"), 1)).collect();
        assert_eq!(filters, wanted);
        until("the connection to stand", || rig.counters.connections_open.get() == 1).await;
        drop(peer);
        until("its end", || rig.counters.connections_open.get() == 0).await;
    }
    assert_eq!(rig.counters.sessions_lost.get(), 1);
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_client_id_stays_the_same_and_each_connection_of_several_has_one_of_its_own() {
    let rig = Rig::start_with(1, |settings| {
        settings.connections = 2;
        settings.client_id = "gw".into();
        settings.keep_alive = Duration::from_secs(7);
    })
    .await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (socket, _) = rig.listener.accept().await.unwrap();
        ids.push(Peer::over(socket).next().await);
    }
    ids.sort_by_key(|id| format!("{id:?}"));
    let connect = |client_id: &str| Packet::Connect { client_id: client_id.into(), clean: false, keep_alive_s: 7 };
    assert_eq!(ids, [connect("gw-1"), connect("gw-2")]);
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_subscription_that_is_refused_or_granted_without_acknowledgements_is_no_connection() {
    for code in [0x80, 0] {
        let rig = Rig::start().await;
        let mut peer = Peer::greet(&rig.listener, false).await;
        peer.grant(code).await;
        assert_eq!(peer.next().await, Packet::End);
        let mut again = Peer::greet(&rig.listener, false).await;
        assert_eq!((rig.counters.connections_open.get(), rig.counters.connections_lost.get()), (0, 1));
        again.grant(1).await;
        until("the connection to stand", || rig.counters.connections_open.get() == 1).await;
        assert!(rig.end().await);
    }
}

#[tokio::test]
async fn a_subscription_that_is_never_answered_is_given_up() {
    // Both together, and it has to come so far within them.
    let short = Duration::from_secs(1);
    let rig = Rig::start_with(1, |settings| (settings.network_deadline, settings.subscribe_deadline) = (short, short));
    let rig = rig.await;
    let mut peer = Peer::greet(&rig.listener, false).await;
    assert!(matches!(peer.next().await, Packet::Subscribe { .. }));
    assert_eq!(peer.next().await, Packet::End);
    assert!(rig.end().await);
}

#[tokio::test]
async fn a_broker_that_is_away_is_tried_again_until_it_is_back() {
    let rig = Rig::start().await;
    let address = rig.listener.local_addr().unwrap();
    let Rig { listener, events: _events, counters, stop, door } = rig;
    drop(listener);
    until("some tries", || counters.connections_lost.get() >= 3).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let _peer = Peer::welcome(&listener, false).await;
    until("the connection to stand", || counters.connections_open.get() == 1).await;
    stop.cancel();
    door.await.unwrap();
}

#[tokio::test]
async fn a_packet_beyond_all_bounds_ends_the_connection_and_the_next_one_goes_on() {
    let mut rig = Rig::start().await;
    let mut peer = Peer::welcome(&rig.listener, false).await;
    peer.deliver(1, false, "trib/1/meter-7/batch", &vec![0; 1024 * 1024 + 1]).await;
    assert_eq!(peer.next().await, Packet::End);
    let mut next = Peer::welcome(&rig.listener, true).await;
    next.deliver(2, false, "trib/1/meter-7/batch", b"x").await;
    rig.arrival().await.ticket.settle(Verdict::Settled);
    assert_eq!(next.next().await, Packet::PubAck(2));
    assert!(rig.end().await);
}
