//! What those who are cut off have under way.

use proto::Instant;
use tributary_gateway::audit::Auditor;
use tributary_gateway::enrol::Cuts;
use tributary_gateway::enrol::cuts::{Cut, CutOff, Standing};
use tributary_gateway::ingest::RefusalCode;
use tributary_gateway::store::view::Device;

use super::*;

const OUT: Option<Verdict> = Some(Verdict::Refused(RefusalCode::NotAuthorized));

/// A pipeline, and the hand that cuts off.
fn rig() -> (Rig, Cuts) {
    let cuts = Cuts::default();
    let barrier = Barrier::new(cuts.clone(), Auditor::none());
    (Rig::start_behind(TempDir::new().unwrap(), barrier), cuts)
}

/// The registry says that the meter is cut off, and has been issued `good` since.
fn say(cuts: &Cuts, good: &[&str]) {
    let good = good.iter().map(|serial| (*serial).to_owned()).collect();
    let standing = Standing { cut: Some(Cut { since: Instant(NOW), good }), ..Standing::default() };
    cuts.set(CutOff::from([(meter(), standing)])).unwrap();
}

/// The meter, as people are shown it.
fn seen(rig: &Rig) -> Device {
    let devices = rig.reader.view(Moment::now() + PATIENCE, |view| view.devices()).unwrap();
    devices.into_iter().find(|device| device.id == "meter-7").unwrap()
}

/// Waits until people are shown that.
async fn is_connected(rig: &Rig, due: bool) {
    let since = Moment::now();
    while seen(rig).connected != due {
        assert!(since.elapsed() < PATIENCE, "it seems to be the other way");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_waits_for_a_store_that_is_away_is_not_stored_once_its_device_is_cut_off() {
    let (rig, cuts) = rig();
    let mut receipts = rig.connect(1).await;
    assert_eq!(verdict(rig.publish(1, Channel::Batch, frame(1)).await).await, Some(Verdict::Settled));
    receipt(&mut receipts).await;
    rig.fails.store(true, Ordering::SeqCst);
    // One is in the hands of who tries again and again, the others wait behind it.
    let mut waiting = vec![rig.publish(1, Channel::Batch, frame(2)).await];
    rig.until_tried_again().await;
    for number in 3..40 {
        waiting.push(rig.publish(1, Channel::Batch, frame(number)).await);
    }
    waiting.push(rig.publish(1, Channel::Senml, b"no pack".to_vec()).await);
    waiting.push(rig.hello(1, 1, held(1, 39)).await);
    say(&cuts, &[]);
    rig.fails.store(false, Ordering::SeqCst);
    for ticket in waiting {
        assert_eq!(verdict(ticket).await, OUT, "a broker is not to deliver it again");
    }
    assert!(receipts.try_recv().is_err(), "and nobody has a receipt");
    let totals = rig.ledger().totals;
    assert_eq!((totals.stored, totals.quarantined, totals.waiting, seen(&rig).quarantined), (1, 0, 0, 0));
}

#[tokio::test]
async fn of_a_connection_that_was_ended_nothing_more_is_taken_and_of_the_devices_next_one_everything() {
    let (rig, cuts) = rig();
    let _old = rig.connect(1).await;
    rig.fails.store(true, Ordering::SeqCst);
    let first = rig.publish(1, Channel::Batch, frame(1)).await;
    rig.until_tried_again().await;
    // It waits behind the first, and its connection's end behind it.
    let old = [first, rig.publish(1, Channel::Batch, frame(2)).await];
    cuts.end(ConnectionId(1));
    let ended = Event::Closed { device: meter(), connection: ConnectionId(1), reason: String::new() };
    rig.events.send(ended).await.unwrap();
    let mut receipts = rig.connect(2).await;
    let new = rig.publish(2, Channel::Batch, frame(3)).await;
    rig.fails.store(false, Ordering::SeqCst);
    for ticket in old {
        assert_eq!(verdict(ticket).await, OUT);
    }
    assert_eq!(verdict(new).await, Some(Verdict::Settled));
    receipt(&mut receipts).await;
    assert_eq!(verdict(rig.publish(2, Channel::Batch, frame(4)).await).await, Some(Verdict::Settled));
    assert_eq!(rig.ledger().totals.stored, 2);
    assert!(!cuts.is_over(&meter(), ConnectionId(1)), "nothing of it is under way any more");
}

#[tokio::test]
async fn a_device_that_a_broker_lets_in_still_is_not_there_is_not_heard_and_hears_nothing_until_it_has_a_new_certificate()
 {
    let (rig, cuts) = rig();
    let mut receipts = rig.connect(1).await;
    assert_eq!(verdict(rig.publish(1, Channel::Batch, frame(1)).await).await, Some(Verdict::Settled));
    receipt(&mut receipts).await;
    is_connected(&rig, true).await;
    say(&cuts, &[]);
    rig.events.send(Event::Barred { device: meter() }).await.unwrap();
    assert_eq!(verdict(rig.publish(1, Channel::Batch, frame(2)).await).await, OUT);
    is_connected(&rig, false).await;
    // It says that it has come again.
    let mut receipts = rig.connect(2).await;
    assert_eq!(verdict(rig.hello(2, 1, held(1, 2)).await).await, OUT);
    assert!(receipts.try_recv().is_err());
    is_connected(&rig, false).await;
    say(&cuts, &["0a"]);
    // It is there as before, and heard again without coming anew.
    assert_eq!(verdict(rig.hello(2, 3, held(1, 2)).await).await, Some(Verdict::Settled));
    assert_eq!(receipt(&mut receipts).await.nonce, Some(Nonce([3; 8])));
    is_connected(&rig, true).await;
    let mut receipts = rig.connect(3).await;
    assert_eq!(verdict(rig.hello(3, 2, held(2, 2)).await).await, Some(Verdict::Settled));
    assert_eq!(receipt(&mut receipts).await.nonce, Some(Nonce([2; 8])));
    is_connected(&rig, true).await;
}
