//! How connections end, and what the pipeline hears of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::Channel;
use tokio::io::AsyncWriteExt as _;
use tributary_gateway::ingest::{Event, Verdict};

use crate::rig::{PATIENCE, Raw, Rig, connect, device, publish, subscribe, topic};

const WILL: (&str, &str) = ("trib/1/meter-7/status", "gone");

async fn with_will(rig: &mut Rig, version: u8, keep_alive_s: u16) -> Raw {
    let mut meter = rig.tls("meter-7").await;
    meter.send(&connect(version, "meter-7", keep_alive_s, Some(WILL))).await;
    assert_eq!(meter.packet().await.1[..2], [0, 0]);
    let _link = rig.opened().await;
    meter
}

async fn hears_the_will(rig: &mut Rig) {
    let will = rig.arrived().await;
    assert_eq!((will.channel, will.packet_id, &will.payload[..]), (Channel::Status, None, &b"gone"[..]));
}

#[tokio::test]
async fn the_last_will_is_published_when_a_device_vanishes_and_not_when_it_says_goodbye() {
    let mut rig = Rig::start().await;
    drop(with_will(&mut rig, 4, 60).await);
    hears_the_will(&mut rig).await;
    rig.closed().await;
    with_will(&mut rig, 5, 60).await.send(&[0xE0, 1, 0x04]).await;
    hears_the_will(&mut rig).await; // disconnect with will
    rig.closed().await;
    for version in [4, 5] {
        with_will(&mut rig, version, 60).await.send(&[0xE0, 0]).await;
        rig.closed().await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_session_that_was_to_end_with_its_connection_cannot_be_prolonged() {
    let mut rig = Rig::start().await;
    let prolongs = [0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9];
    let mut meter = with_will(&mut rig, 5, 60).await;
    meter.send(&prolongs).await;
    assert_eq!(meter.packet().await, (0xE0, vec![0x82]));
    hears_the_will(&mut rig).await; // it was no goodbye
    rig.closed().await;
    // Whoever asked for a session that lasts may say how long, and is told all the same that there is none.
    let mut lasting = rig.tls("meter-7").await;
    let name = crate::rig::text("meter-7");
    let body = [&crate::rig::text("MQTT")[..], &[5, 2, 0, 60, 5, 0x11, 0, 0, 0, 9], &name].concat();
    lasting.send(&crate::rig::packet(0x10, &body)).await;
    assert_eq!(lasting.packet().await.1[..2], [0, 0]);
    let _link = rig.opened().await;
    lasting.send(&prolongs).await;
    assert!(rig.closed().await.contains("the device disconnected"));
    rig.stop().await;
}

#[tokio::test]
async fn a_last_will_elsewhere_is_not_authorized() {
    let rig = Rig::start().await;
    for topic in ["trib/1/meter-8/status", "trib/1/meter-7/batch", "trib/1/+/status", "x"] {
        for (version, answer) in [(4, vec![0, 5]), (5, vec![0, 0x87, 0])] {
            let mut meter = rig.tls("meter-7").await;
            meter.send(&connect(version, "meter-7", 60, Some((topic, "gone")))).await;
            assert_eq!(meter.packet().await, (0x20, answer), "{topic}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_second_connection_takes_over_and_the_firsts_will_comes_before_it() {
    let mut rig = Rig::start().await;
    let mut old = with_will(&mut rig, 5, 60).await;
    let mut new = rig.tls("meter-7").await;
    new.send(&connect(4, "meter-7", 60, None)).await;
    hears_the_will(&mut rig).await;
    assert!(rig.closed().await.contains("took over"));
    rig.opened().await;
    assert_eq!(old.packet().await, (0xE0, vec![0x8E]));
    assert!(old.is_closed().await);
    assert_eq!(new.packet().await, (0x20, vec![0, 0]));
    new.send(&[0xC0, 0]).await;
    assert_eq!(new.packet().await, (0xD0, vec![]));
    assert_eq!((rig.counters.takeovers.get(), rig.counters.connections_open.get()), (1, 1));
    rig.stop().await;
}

#[tokio::test]
async fn of_two_clients_with_one_certificate_the_newer_stays_and_the_other_is_told_and_told_of() {
    let mut rig = Rig::start().await;
    let (mut first, _link) = rig.connect("meter-7", 5).await;
    let mut second = rig.tls("meter-7").await;
    second.send(&connect(5, "meter-7", 60, None)).await;
    assert!(rig.closed().await.contains("took over"));
    assert_eq!(first.packet().await, (0xE0, vec![0x8E]), "session taken over");
    let _link = rig.opened().await;
    assert_eq!(second.packet().await.1[..2], [0, 0]);
    let began = Instant::now();
    for attempt in 0..10 {
        let mut again = rig.tls("meter-7").await;
        again.send(&connect(if attempt % 2 == 0 { 5 } else { 4 }, "meter-7", 60, None)).await;
        let refused = if attempt % 2 == 0 { vec![0, 0x89, 0] } else { vec![0, 3] };
        assert_eq!(again.packet().await, (0x20, refused), "the server is busy");
        if attempt == 0 {
            let alarm = rig.event().await;
            assert!(matches!(alarm, Event::Contested { device } if device == crate::rig::device("meter-7")));
            assert!(began.elapsed() < Duration::from_secs(5));
        }
    }
    second.send(&[0xC0, 0]).await;
    assert_eq!(second.packet().await, (0xD0, vec![]), "the second is still there");
    assert_eq!(rig.counters.takeovers.get(), 1);
    second.send(&[0xE0, 0]).await;
    assert!(rig.closed().await.contains("disconnected"), "and nothing else was told of");
    rig.connect("meter-7", 4).await; // the place is free
    rig.stop().await;
}

/// Comes as a second client with the device's certificate: the reason that it is given.
async fn comes_again(rig: &Rig) -> (Raw, u8) {
    let mut meter = rig.tls("meter-7").await;
    meter.send(&connect(5, "meter-7", 60, None)).await;
    let reason = meter.packet().await.1[1];
    (meter, reason)
}

#[tokio::test]
async fn of_two_quiet_clients_with_one_certificate_that_answer_when_they_are_sent_away_one_is_told_and_told_of() {
    let mut rig = Rig::start_with(64, |settings| settings.lively = Duration::ZERO).await;
    let (mut there, _link) = rig.connect("meter-7", 5).await;
    // Each in turn takes the other's place, until that is seen to be no device that moved.
    let (mut takeovers, mut attempts) = (0, 0);
    loop {
        attempts += 1;
        assert!(attempts < 20, "{takeovers} takeovers, and none was a contest");
        let (newer, reason) = comes_again(&rig).await;
        if reason == 0x89 {
            break;
        }
        assert_eq!(reason, 0);
        assert!(rig.closed().await.contains("took over"));
        rig.opened().await;
        assert_eq!(there.packet().await, (0xE0, vec![0x8E]));
        assert!(there.is_closed().await);
        there.stream.shutdown().await.unwrap();
        (there, takeovers) = (newer, takeovers + 1);
        let since = Instant::now();
        while rig.counters.takeovers_contested.get() < takeovers {
            assert!(since.elapsed() < PATIENCE, "whoever left was there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(takeovers, 3, "once or twice may be chance");
    assert!(matches!(rig.event().await, Event::Contested { device } if device == crate::rig::device("meter-7")));
    there.send(&[0xC0, 0]).await;
    assert_eq!(there.packet().await, (0xD0, vec![]), "who took the place still has it");
    rig.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_again_because_its_link_is_dead_contests_nothing() {
    let mut rig = Rig::start_with(64, |settings| settings.lively = Duration::ZERO).await;
    let (meter, _link) = rig.connect("meter-7", 5).await;
    // Nobody hears there that its place is lost: the other end of a link that is cut looks like this.
    let mut dead = meter;
    for takeovers in 1..=4 {
        let (newer, reason) = comes_again(&rig).await;
        assert_eq!(reason, 0, "takeover {takeovers}");
        assert!(rig.closed().await.contains("took over"));
        rig.opened().await;
        // Until the gateway has let go of it.
        let since = Instant::now();
        while dead.stream.get_mut().0.write_all(b"x").await.is_ok() {
            assert!(since.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        dead = newer;
    }
    assert_eq!((rig.counters.takeovers.get(), rig.counters.takeovers_contested.get()), (4, 0));
    rig.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_again_before_its_end_was_seen_contests_nothing() {
    // Nothing is read beyond one publish, so the end behind the second one is not seen.
    let mut rig = Rig::start_with(64, |settings| settings.receive_max = 1).await;
    let mut waiting = Vec::new();
    for takeover in 0..5 {
        let (mut meter, _link) = if takeover == 0 {
            rig.connect("meter-7", 4).await
        } else {
            let mut meter = rig.tls("meter-7").await;
            meter.send(&connect(4, "meter-7", 60, None)).await;
            assert!(rig.closed().await.contains("took over"));
            (meter, rig.opened().await)
        };
        for packet_id in 1..=2 {
            meter.send(&publish(4, &topic("meter-7", Channel::Batch), Some(packet_id), 0, b"")).await;
        }
        waiting.push(rig.arrived().await);
        drop(meter);
    }
    assert_eq!(rig.counters.takeovers.get(), 4);
    rig.stop().await;
}

#[tokio::test]
async fn a_silent_device_is_cut_after_one_and_a_half_keep_alives_and_a_pinging_one_is_not() {
    let mut rig = Rig::start().await;
    let mut silent = with_will(&mut rig, 5, 2).await;
    let since = Instant::now();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        silent.send(&[0xC0, 0]).await;
        assert_eq!(silent.packet().await, (0xD0, vec![]));
    }
    assert_eq!(silent.packet().await, (0xE0, vec![0x8D]));
    // After 3 s where pings did not count.
    let lived = since.elapsed();
    assert!(lived >= Duration::from_millis(5_300), "{lived:?}");
    hears_the_will(&mut rig).await;
    rig.closed().await;
    rig.stop().await;
}

#[tokio::test]
async fn whoever_names_no_keep_alive_is_held_to_ours_and_told_if_that_is_possible() {
    let mut rig = Rig::start_with(64, |settings| settings.keep_alive_s_max = 1).await;
    let mut five = rig.tls("meter-5").await;
    five.send(&connect(5, "meter-5", 0, None)).await;
    let (_, body) = five.packet().await;
    assert!(body.windows(3).any(|part| part == [0x13, 0, 1]), "server keep alive 1: {body:?}");
    rig.opened().await;
    assert_eq!(five.packet().await, (0xE0, vec![0x8D]));
    rig.stop().await;
}

#[tokio::test]
async fn whoever_does_not_take_what_is_written_is_cut() {
    let mut rig = Rig::start_with(64, |settings| settings.write_deadline = Duration::from_millis(300)).await;
    let (mut meter, link) = rig.connect("meter-7", 4).await;
    meter.send(&subscribe(4, 1, &[&topic("meter-7", Channel::Receipt)])).await;
    meter.packet().await;
    let large = Bytes::from(vec![7; 120_000]);
    let since = Instant::now();
    let reason = loop {
        link.send(Channel::Receipt, large.clone());
        match tokio::time::timeout(Duration::from_millis(1), rig.events.recv()).await {
            Ok(Some(Event::Closed { reason, .. })) => break reason,
            Ok(other) => panic!("{other:?}"),
            Err(_) => assert!(since.elapsed() < PATIENCE),
        }
    };
    assert!(reason.contains("did not take"), "{reason}");
    rig.stop().await;
}

#[tokio::test]
async fn the_hand_from_outside_closes_a_devices_connection() {
    let mut rig = Rig::start().await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    assert!(!rig.control.disconnect(&device("meter-8")));
    assert!(rig.control.disconnect(&device("meter-7")));
    assert_eq!(meter.packet().await, (0xE0, vec![0x98]));
    rig.closed().await;
    assert!(!rig.control.disconnect(&device("meter-7")));
    rig.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_verdicts_tells_everyone_and_lets_nobody_in() {
    let mut rig = Rig::start().await;
    let (mut busy, _link) = rig.connect("meter-7", 5).await;
    let (mut idle, _link) = rig.connect("meter-8", 4).await;
    let mut halfway = rig.tls("meter-9").await;
    busy.send(&publish(5, &topic("meter-7", Channel::Batch), Some(1), 0, b"")).await;
    let arrival = rig.arrived().await;
    rig.stop.cancel();
    assert!(idle.is_closed().await);
    assert!(halfway.is_closed().await);
    rig.closed().await;
    assert!(busy.is_quiet().await);
    arrival.ticket.settle(Verdict::Settled);
    assert_eq!(busy.packet().await, (0x40, vec![0, 1]));
    assert_eq!(busy.packet().await, (0xE0, vec![0x8B]));
    assert!(busy.is_closed().await);
    rig.closed().await;
    assert!(tokio::net::TcpStream::connect(rig.address).await.is_err());
    rig.stop().await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever_for_a_verdict_or_a_pipeline() {
    let mut rig = Rig::start_with(1, |settings| settings.stop_grace = Duration::from_millis(200)).await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    meter.send(&publish(5, &topic("meter-7", Channel::Batch), Some(1), 0, b"")).await;
    let arrival = rig.arrived().await;
    meter.send(&publish(5, &topic("meter-7", Channel::Batch), Some(2), 0, b"")).await;
    // The second fills the queue, which nobody empties: not even the end can be told.
    let since = Instant::now();
    rig.stop.cancel();
    tokio::time::timeout(PATIENCE, &mut rig.running).await.expect("stopped in time").unwrap();
    assert!(since.elapsed() >= Duration::from_millis(200));
    drop(arrival);
}
