//! What the watchdog is fed on.

use super::*;

/// Whether all came round, within a time that is plenty.
async fn beats(rig: &Rig) -> bool {
    timeout(Duration::from_secs(2), rig.heart.beat()).await.is_ok()
}

#[tokio::test]
async fn an_idle_pipeline_beats_and_one_whose_commit_hangs_does_not() {
    let rig = Rig::start();
    assert!(beats(&rig).await, "nothing is to be done");
    let _receipts = rig.connect(1).await;
    let settled = rig.publish(1, Channel::Batch, frame(1)).await;
    assert_eq!(verdict(settled).await, Some(Verdict::Settled));
    assert!(beats(&rig).await);
    assert_eq!(rig.heart.words(), "readings recorded since the start: 1");

    rig.hangs.store(true, Ordering::SeqCst);
    let settled = rig.publish(1, Channel::Batch, frame(2)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!beats(&rig).await, "a commit hangs");
    rig.hangs.store(false, Ordering::SeqCst);
    assert_eq!(verdict(settled).await, Some(Verdict::Settled));
    assert!(beats(&rig).await);
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_no_reason_to_start_anew() {
    let rig = Rig::start();
    let _receipts = rig.connect(1).await;
    rig.fails.store(true, Ordering::SeqCst);
    // Until nothing finds room any more: the judge waits for the recorder, and the doors for the judge.
    for number in 1..=400 {
        let (ticket, _verdict) = Ticket::new();
        let (device, connection, channel) = (meter(), ConnectionId(1), Channel::Batch);
        let payload = frame(number).into();
        let arrival =
            Arrival { device, connection, claim: None, channel, packet_id: None, resent: false, payload, ticket };
        if timeout(Duration::from_millis(200), rig.events.send(Event::Arrived(arrival))).await.is_err() {
            break;
        }
    }
    rig.until_tried_again().await;
    assert!(beats(&rig).await && beats(&rig).await, "each try is a round");
    assert!(rig.heart.words().starts_with("the store takes nothing"), "{}", rig.heart.words());
    rig.hopeless.cancel();
    rig.fails.store(false, Ordering::SeqCst);
}

#[tokio::test]
async fn without_a_judge_there_is_no_beat() {
    let rig = Rig::start();
    assert!(beats(&rig).await);
    rig.judge.abort();
    assert!(!beats(&rig).await);
}
