//! The pipeline above a real store that fails for a while, or for good; and what it makes of hellos.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test that fails says so")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Moment};

use proto::frame::{Header, Sealed};
use proto::message::{Held, Hello, Notice, Receipt, Settlement};
use proto::{Channel, DeviceId, Epoch, Frame, Lane, Nonce, Range};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tributary_gateway::ingest::heart::Heart;
use tributary_gateway::ingest::pipeline::{Barrier, Recorder, judge_all};
use tributary_gateway::ingest::totals::Totals;
use tributary_gateway::ingest::{Arrival, ConnectionId, Event, Link, Messages, Ticket, Verdict};
use tributary_gateway::store::Ledger;
use tributary_gateway::store::sqlite::{Store, Writer};
use tributary_gateway::store::view::Ledger as Seen;
use tributary_gateway::store::{Item, Outcome, SettledRanges};
use tributary_gateway::store::{Reader, StoreError};

#[path = "../support/batches.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod batches;
mod cut;
mod heart;
use batches::{EPOCH, NOW, batch, meter, now, open, synced};

/// Whatever is waited for comes well within this, or never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A real store whose disk can be made to fail: each commit then ends as one does whose fsync failed.
struct Failing {
    writer: Writer,
    fails: Arc<AtomicBool>,
    /// A commit then does not come back.
    hangs: Arc<AtomicBool>,
    tries: Arc<AtomicU64>,
}

impl Ledger for Failing {
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        while self.hangs.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.fails.load(Ordering::SeqCst) {
            let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
            return Err(StoreError::from(rusqlite::Error::SqliteFailure(failed, None)));
        }
        self.writer.record(items)
    }

    fn settled(&mut self, device: &DeviceId, epoch: Epoch) -> Result<SettledRanges, StoreError> {
        self.writer.settled(device, epoch)
    }

    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, range: Range) -> Result<SettledRanges, StoreError> {
        self.writer.settled_around(device, epoch, range)
    }
}

struct Rig {
    events: mpsc::Sender<Event>,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    tries: Arc<AtomicU64>,
    heart: Heart,
    hopeless: CancellationToken,
    recorder: std::thread::JoinHandle<()>,
    judge: tokio::task::JoinHandle<()>,
    reader: Reader,
    _folder: TempDir,
}

impl Rig {
    fn start() -> Self {
        Self::start_in(TempDir::new().unwrap())
    }

    fn start_in(folder: TempDir) -> Self {
        Self::start_behind(folder, Barrier::default())
    }

    fn start_behind(folder: TempDir, barrier: Barrier) -> Self {
        let Store { writer, reader } = open(&folder);
        let (fails, hangs, tries) = (Arc::default(), Arc::default(), Arc::default());
        let hopeless = CancellationToken::new();
        let (failing, hanging) = (Arc::clone(&fails), Arc::clone(&hangs));
        let ledger = Failing { writer, fails: failing, hangs: hanging, tries: Arc::clone(&tries) };
        let totals: &'static Totals = Box::leak(Box::new(Totals::zero()));
        let (recorder, thread) = Recorder::spawn_until(ledger, now, totals, None, barrier, hopeless.clone()).unwrap();
        let (events, arriving) = mpsc::channel(64);
        let heart = recorder.heart(&events, totals);
        let judge = tokio::spawn(judge_all(arriving, recorder, None, now));
        Self { events, fails, hangs, tries, heart, hopeless, recorder: thread, judge, reader, _folder: folder }
    }

    async fn connect(&self, connection: u64) -> Messages {
        let (link, receipts) = Link::new(meter(), ConnectionId(connection));
        self.events.send(Event::Opened(link)).await.unwrap();
        receipts
    }

    async fn publish(&self, connection: u64, channel: Channel, payload: Vec<u8>) -> oneshot::Receiver<Verdict> {
        let (ticket, verdict) = Ticket::new();
        let (device, connection) = (meter(), ConnectionId(connection));
        let (packet_id, resent, payload) = (Some(1), false, payload.into());
        let arrival = Arrival { device, connection, claim: None, channel, packet_id, resent, payload, ticket };
        self.events.send(Event::Arrived(arrival)).await.unwrap();
        verdict
    }

    async fn hello(&self, connection: u64, nonce: u8, held: Held) -> oneshot::Receiver<Verdict> {
        let hello = Hello { nonce: Nonce([nonce; 8]), versions: (1, 1), epochs: vec![held] };
        self.publish(connection, Channel::Hello, Notice::Hello(hello).encode()).await
    }

    async fn until_tried_again(&self) {
        let before = self.tries.load(Ordering::SeqCst);
        let since = Moment::now();
        while self.tries.load(Ordering::SeqCst) < before + 2 {
            assert!(since.elapsed() < PATIENCE, "the store was not tried again");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn ledger(&self) -> Seen {
        self.reader.view(Moment::now() + PATIENCE, |view| view.ledger("meter-7")).unwrap().unwrap()
    }
}

fn frame(number: u64) -> Vec<u8> {
    let batch = batch(number, &[(NOW, 98.0)]);
    let header = Header { epoch: EPOCH, first: number, lane: Lane::Live, clock: synced(0) };
    Frame { header, bodies: vec![Sealed::new(batch.body.to_vec())] }.encode()
}

fn held(first: u64, last: u64) -> Held {
    Held { epoch: EPOCH, ranges: vec![Range { first, last }], next: last + 1 }
}

async fn verdict(ticket: oneshot::Receiver<Verdict>) -> Option<Verdict> {
    timeout(PATIENCE, ticket).await.expect("an end in time").ok()
}

async fn receipt(receipts: &mut Messages) -> Receipt {
    let (channel, bytes) = timeout(PATIENCE, receipts.recv()).await.expect("a receipt in time").unwrap();
    assert_eq!(channel, Channel::Receipt);
    Receipt::decode(&bytes).unwrap()
}

#[tokio::test]
async fn while_the_disk_fails_nothing_is_acknowledged_and_once_it_works_everything_is() {
    let rig = Rig::start();
    let mut receipts = rig.connect(1).await;
    rig.fails.store(true, Ordering::SeqCst);
    let mut ticket = rig.publish(1, Channel::Batch, frame(1)).await;
    rig.until_tried_again().await;
    assert!(ticket.try_recv().is_err() && receipts.try_recv().is_err(), "no PUBACK and no receipt");
    rig.fails.store(false, Ordering::SeqCst);
    assert_eq!(verdict(ticket).await, Some(Verdict::Settled));
    let settled: Vec<_> = receipt(&mut receipts).await.ranges.iter().map(|it| (it.range.last, it.state)).collect();
    assert_eq!(settled, [(1, Settlement::Stored)]);
    assert_eq!(rig.ledger().totals.stored, 1);
}

#[tokio::test]
async fn a_gateway_that_must_end_does_not_wait_for_a_disk_that_fails() {
    let rig = Rig::start();
    let mut receipts = rig.connect(1).await;
    rig.fails.store(true, Ordering::SeqCst);
    let mut tickets = Vec::new();
    for number in 1..=300 {
        // More than one commit takes: what waits behind it must go as well.
        tickets.push(rig.publish(1, Channel::Batch, frame(number % 9 + 1)).await);
    }
    rig.until_tried_again().await;
    drop(rig.events);
    rig.hopeless.cancel();
    timeout(PATIENCE, rig.judge).await.expect("the judge ends").unwrap();
    timeout(PATIENCE, tokio::task::spawn_blocking(move || rig.recorder.join()))
        .await
        .expect("it ends")
        .unwrap()
        .unwrap();
    for ticket in tickets {
        assert_eq!(verdict(ticket).await, None, "dropped without a verdict: the device keeps it");
    }
    assert!(receipts.try_recv().is_err());
}

#[tokio::test]
async fn a_gateway_that_ends_while_the_disk_works_commits_what_came_in() {
    let rig = Rig::start();
    let _receipts = rig.connect(1).await;
    rig.hopeless.cancel();
    let ticket = rig.publish(1, Channel::Batch, frame(1)).await;
    drop(rig.events);
    assert_eq!(verdict(ticket).await, Some(Verdict::Settled));
    timeout(PATIENCE, rig.judge).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_an_earlier_connection_said_it_held_is_not_believed_of_a_later_one() {
    let rig = Rig::start();
    let _old = rig.connect(1).await;
    let mut receipts = rig.connect(2).await;
    assert_eq!(verdict(rig.hello(2, 1, held(1, 5)).await).await, Some(Verdict::Settled));
    assert_eq!(receipt(&mut receipts).await.nonce, Some(Nonce([1; 8])));
    let late = Held { epoch: EPOCH, ranges: vec![], next: 3 };
    assert_eq!(verdict(rig.hello(1, 2, late).await).await, Some(Verdict::Settled));
    let frame = rig.publish(1, Channel::Batch, frame(2)).await;
    assert_eq!(verdict(frame).await, Some(Verdict::Settled));
    assert_eq!(receipt(&mut receipts).await.nonce, None, "only of the frame, which is as good as ever");
    let seen = rig.ledger();
    assert_eq!((seen.totals.waiting, seen.totals.lost, seen.alarms), (4, 0, vec![]));
}

#[tokio::test]
async fn a_hello_in_parts_is_answered_like_a_hello() {
    let rig = Rig::start();
    let mut receipts = rig.connect(1).await;
    assert_eq!(verdict(rig.hello(1, 1, held(1, 5)).await).await, Some(Verdict::Settled));
    receipt(&mut receipts).await;
    let other = Held { epoch: Epoch([9; 8]), ranges: vec![], next: 2 };
    let part = Hello { nonce: Nonce([2; 8]), versions: (1, 1), epochs: vec![other] };
    let ticket = rig.publish(1, Channel::Hello, Notice::HelloPart(part).encode()).await;
    assert_eq!(verdict(ticket).await, Some(Verdict::Settled));
    let answer = receipt(&mut receipts).await;
    assert_eq!((answer.nonce, answer.epoch), (Some(Nonce([2; 8])), Epoch([9; 8])));
    assert_eq!(answer.ranges[0].state, Settlement::Gap, "1 of the epoch it names");
    assert_eq!(rig.ledger().totals.waiting, 5, "of the one it does not name");
}

#[tokio::test]
async fn of_all_hellos_that_came_while_the_disk_failed_only_the_latest_is_answered() {
    let rig = Rig::start();
    let mut receipts = rig.connect(1).await;
    rig.fails.store(true, Ordering::SeqCst);
    let mut verdicts = vec![rig.publish(1, Channel::Batch, frame(1)).await];
    rig.until_tried_again().await; // the frame is in a commit of its own by now
    for nonce in 1..=12 {
        verdicts.push(rig.hello(1, nonce, held(1, 1)).await);
    }
    rig.until_tried_again().await; // all hellos wait for the next one by now
    rig.fails.store(false, Ordering::SeqCst);
    for acknowledged in verdicts {
        assert_eq!(verdict(acknowledged).await, Some(Verdict::Settled), "each has its acknowledgement");
    }
    assert_eq!(receipt(&mut receipts).await.nonce, None, "of the frame");
    assert_eq!(receipt(&mut receipts).await.nonce, Some(Nonce([12; 8])));
    assert!(receipts.is_empty());
    let ledger = rig.ledger();
    assert!(ledger.alarms.is_empty(), "{:?}", ledger.alarms);
}

#[tokio::test]
async fn an_answer_of_many_receipts_arrives_whole() {
    const RANGES: u64 = 100_000;
    let folder = TempDir::new().unwrap();
    let mut store = open(&folder);
    store.writer.record(&[Item::HeldPart { device: meter(), held: vec![held(1, 2)] }]).unwrap();
    drop(store);
    // Every other number is stored: as many ranges as there are numbers.
    let db = rusqlite::Connection::open(folder.path().join("gateway.db")).unwrap();
    let sql = "with recursive place (n) as (select 1 union all select n + 1 from place where n < ?1)
               insert into settled (tenant, epoch, state, first, last) select 1, 1, 0, 2 * n, 2 * n from place";
    db.execute(sql, [RANGES.cast_signed()]).unwrap();
    drop(db);
    let rig = Rig::start_in(folder);
    let mut receipts = rig.connect(1).await;
    assert_eq!(verdict(rig.hello(1, 1, held(1, 2 * RANGES)).await).await, Some(Verdict::Settled));
    let mut told = 0;
    loop {
        let receipt = receipt(&mut receipts).await;
        for settled in &receipt.ranges {
            told += 1;
            assert_eq!(settled.range, Range::one(2 * told));
        }
        if !receipt.continued {
            break;
        }
    }
    assert_eq!(told, RANGES);
}

#[tokio::test]
async fn a_pack_in_another_devices_name_is_settled_and_not_stored_and_others_go_on() {
    let rig = Rig::start();
    let _receipts = rig.connect(1).await;
    let (other, _messages) = Link::new("meter-8".parse().unwrap(), ConnectionId(2));
    rig.events.send(Event::Opened(other)).await.unwrap();
    let pack = |name: &str| format!(r#"[{{"n":"{name}","u":"W","t":1790000000,"v":7}}]"#).into_bytes();
    let misnamed = rig.publish(1, Channel::Senml, pack("meter-8/power")).await;
    assert_eq!(verdict(misnamed).await, Some(Verdict::Settled), "committed, then acknowledged");
    let own = rig.publish(1, Channel::Senml, pack("meter-7/power")).await;
    assert_eq!(verdict(own).await, Some(Verdict::Settled));
    let ledger = rig.ledger();
    let raised: Vec<_> = ledger.alarms.iter().map(|alarm| (alarm.kind.as_str(), alarm.count)).collect();
    assert_eq!(raised, [("identity_mismatch", 1)]);
    let look =
        |device: &'static str| rig.reader.view(Moment::now() + PATIENCE, move |view| view.quarantined(Some(device)));
    assert_eq!(look("meter-7").unwrap().len(), 1);
    assert!(look("meter-8").unwrap().is_empty(), "it is the sender's");
    let devices = rig.reader.view(Moment::now() + PATIENCE, |view| view.devices()).unwrap();
    let readings: Vec<_> = devices.iter().map(|device| (device.id.as_str(), device.readings)).collect();
    assert_eq!(readings, [("meter-7", 1), ("meter-8", 0)]);
}
