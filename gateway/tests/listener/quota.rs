//! Devices that send more than one device may.

use std::time::{Duration, Instant};

use proto::Channel;
use tokio::sync::mpsc;
use tributary_gateway::ingest::{Event, Verdict};

use crate::audit::Book;
use crate::rig::{Raw, Rig, publish, topic};

/// Packets a second; ten times as many may come at once. So few that even a slow machine sends a burst in much less than the
/// time in which the next one is allowed.
const RATE: u32 = 50;
const BURST: u32 = 10 * RATE;

async fn rig(rate: u32) -> Rig {
    Rig::start_with(64, |settings| settings.device_publishes_per_s_max = rate).await
}

/// Settles everything that arrives from now on, each after `work`.
fn settle_all(rig: &mut Rig, work: Option<Duration>) {
    let mut events = std::mem::replace(&mut rig.events, mpsc::channel(1).1);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Arrived(arrival) = event {
                if let Some(work) = work {
                    tokio::time::sleep(work).await;
                }
                arrival.ticket.settle(Verdict::Settled);
            }
        }
    });
}

/// `count` publishes at QoS 1 with ids from 1 on, back to back.
fn many(version: u8, device: &str, count: u32) -> Vec<u8> {
    let batch = topic(device, Channel::Batch);
    (1..=count).flat_map(|id| publish(version, &batch, Some(u16::try_from(id).unwrap()), 0, b"a reading")).collect()
}

/// Sends `bytes` from a task of its own and hears `count` PUBACKs: how many said yes, and how many that the quota is
/// exceeded; and how long that took.
async fn answers(meter: Raw, bytes: Vec<u8>, count: u32) -> (u32, u32, Duration) {
    let since = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(meter.stream);
    let sending = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes).await });
    let (mut yes, mut no) = (0, 0);
    for id in 1..=count {
        let mut head = [0; 4];
        let read = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut head);
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer in time").unwrap();
        assert_eq!((head[0], u32::from(u16::from_be_bytes([head[2], head[3]]))), (0x40, id), "in their order");
        if head[1] == 2 {
            yes += 1;
        } else {
            let reason = tokio::io::AsyncReadExt::read_u8(&mut reader).await.unwrap();
            assert_eq!((head[1], reason), (3, 0x97), "quota exceeded");
            no += 1;
        }
    }
    sending.await.unwrap().unwrap();
    (yes, no, since.elapsed())
}

/// How many may be taken of a device that was quiet, in this time.
fn due(took: Duration) -> f64 {
    f64::from(BURST) + f64::from(RATE) * took.as_secs_f64() + 2.0
}

#[tokio::test]
async fn mqtt_5_is_told_that_the_quota_is_exceeded_and_then_made_to_wait() {
    let mut rig = rig(RATE).await;
    let (meter, _link) = rig.connect("meter-7", 5).await;
    settle_all(&mut rig, None);
    let sent = BURST + 3 * RATE;
    let (yes, no, took) = answers(meter, many(5, "meter-7", sent), sent).await;
    assert!(yes >= BURST && f64::from(yes) <= due(took), "{yes} were taken in {took:?}");
    assert!(no > 0 && yes + no == sent, "{no} were refused");
    assert_eq!(rig.counters.publishes_over_quota.get(), u64::from(no));
    assert_eq!(rig.counters.publishes.get(), u64::from(yes));
    assert!(rig.counters.quota_pauses.get() > 0, "refusals are bounded too");
    rig.stop().await;
}

#[tokio::test]
async fn mqtt_3_waits_and_loses_nothing() {
    let mut rig = rig(RATE).await;
    let (meter, _link) = rig.connect("meter-7", 4).await;
    settle_all(&mut rig, None);
    let sent = BURST + RATE;
    let (yes, no, took) = answers(meter, many(4, "meter-7", sent), sent).await;
    assert_eq!((yes, no), (sent, 0));
    assert!(took >= Duration::from_millis(900), "a second's worth beyond the burst takes a second: {took:?}");
    assert!(rig.counters.quota_pauses.get() > 0);
    assert_eq!(rig.counters.publishes_over_quota.get(), 0);
    rig.stop().await;
}

#[tokio::test]
async fn bytes_count_as_well_and_so_does_what_is_no_publish() {
    let mut rig = Rig::start_with(64, |settings| settings.device_bytes_per_s_max = 16 * 1024).await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    settle_all(&mut rig, None);
    let frame = vec![7; proto::FRAME_BYTES_MAX];
    let batch = topic("meter-7", Channel::Batch);
    // The second of 128 KiB overdraws ten seconds' worth by six seconds'.
    for (id, is_refused) in [(1, false), (2, false), (3, true)] {
        meter.send(&publish(5, &batch, Some(id), 0, &frame)).await;
        assert_eq!(meter.packet().await.1.len() == 3, is_refused, "publish {id}");
    }
    rig.stop().await;
    let mut rig = self::rig(RATE).await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    let (since, pings) = (Instant::now(), BURST + 2 * RATE);
    meter.send(&[0xC0, 0].repeat(usize::try_from(pings).unwrap())).await;
    for _ in 0..pings {
        assert_eq!(meter.packet().await.0, 0xD0);
    }
    assert!(since.elapsed() >= Duration::from_millis(1_900), "{:?}", since.elapsed());
    assert!(rig.counters.quota_pauses.get() > 0);
    rig.stop().await;
}

#[tokio::test]
async fn who_comes_again_has_the_quota_it_had() {
    let mut rig = rig(RATE).await;
    let (meter, _link) = rig.connect("meter-7", 5).await;
    settle_all(&mut rig, None);
    let (since, sent) = (Instant::now(), BURST + RATE);
    let (before, ..) = answers(meter, many(5, "meter-7", sent), sent).await;
    let mut again = rig.tls("meter-7").await;
    again.send(&crate::rig::connect(5, "meter-7", 60, None)).await;
    assert_eq!(again.packet().await.1[..2], [0, 0], "accepted");
    let (yes, ..) = answers(again, many(5, "meter-7", 4 * RATE), 4 * RATE).await;
    let took = since.elapsed();
    assert!(f64::from(before + yes) <= due(took), "{before} and then {yes} were taken in {took:?}");
    rig.stop().await;
}

/// From a publish of `quiet-1` to its PUBACK: half of them are quicker.
async fn usual_time(quiet: &mut Raw) -> Duration {
    let (batch, mut times) = (topic("quiet-1", Channel::Batch), Vec::new());
    for id in 1..=40_u16 {
        let since = Instant::now();
        quiet.send(&publish(4, &batch, Some(id), 0, b"a reading")).await;
        assert_eq!(quiet.packet().await, (0x40, id.to_be_bytes().to_vec()));
        times.push(since.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort();
    times[20]
}

/// The pipeline takes some thousand publishes a second; a noisy device alone would have all of it.
#[tokio::test]
async fn a_noisy_device_does_not_slow_a_quiet_one() {
    let mut rig = rig(50).await;
    let (noisy, _link) = rig.connect("noisy-1", 4).await;
    let (mut quiet, _other_link) = rig.connect("quiet-1", 4).await;
    settle_all(&mut rig, Some(Duration::from_millis(1)));
    let alone = usual_time(&mut quiet).await;
    let (mut reader, mut writer) = tokio::io::split(noisy.stream);
    let noise = many(4, "noisy-1", 1_000);
    let writing =
        tokio::spawn(async move { while tokio::io::AsyncWriteExt::write_all(&mut writer, &noise).await.is_ok() {} });
    let reading = tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    let began = Instant::now();
    while rig.counters.quota_pauses.get() == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "the noisy one has used up what it may send at once");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pauses = rig.counters.quota_pauses.get();
    let beside = usual_time(&mut quiet).await;
    println!("half of them take {alone:?} without noise, {beside:?} with it");
    assert!(beside < alone * 3 + Duration::from_millis(30), "{beside:?} behind a queue of noise, {alone:?} without");
    assert!(!writing.is_finished() && rig.counters.quota_pauses.get() > pauses, "it was noisy all the time");
    writing.abort();
    reading.abort();
    rig.stop().await;
}

#[tokio::test]
async fn having_been_over_the_quota_is_in_the_audit_trail_once_with_how_often() {
    let book = Book::open(|real| real);
    let limit = |settings: &mut tributary_gateway::ingest::listener::Settings| {
        settings.device_publishes_per_s_max = RATE;
    };
    let mut rig = Rig::start_audited(64, limit, book.auditor.clone()).await;
    let (meter, _link) = rig.connect("meter-7", 5).await;
    settle_all(&mut rig, None);
    let sent = BURST + 3 * RATE;
    answers(meter, many(5, "meter-7", sent), sent).await;
    rig.stop().await;
    let told = book.close();
    let of = |(event, subject, detail): &(String, Option<String>, String)| {
        (event == "denied_publish" && subject.as_deref() == Some("meter-7")).then(|| detail.clone())
    };
    let told: Vec<String> = told.iter().filter_map(of).collect();
    assert_eq!(told.len(), 2, "the first at once, and the others together: {told:?}");
    assert!(told.iter().all(|detail| detail.contains("over its quota")) && told[1].contains("count"), "{told:?}");
}
