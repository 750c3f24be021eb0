//! What devices are denied is in the audit trail, and writing it costs the others nothing.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use proto::{Channel, DeviceId};
use rcgen::ExtendedKeyUsagePurpose::ClientAuth;
use tempfile::TempDir;
use tributary_gateway::audit::chain::{Head, Link};
use tributary_gateway::audit::checkpoint::Checkpoints;
use tributary_gateway::audit::entry::{Actor, Detail, Entry, Event as What};
use tributary_gateway::audit::trim::{Cut, Keep};
use tributary_gateway::audit::{self, Auditor, Keeper};
use tributary_gateway::ingest::{Event, Verdict};
use tributary_gateway::store::audit::{Ask, Found, Trail};
use tributary_gateway::store::{StoreError, sqlite};

use crate::pki::Pki;
use crate::rig::{PATIENCE, Raw, Rig, connect, publish, subscribe, topic};

/// A trail in a file of its own.
pub(crate) struct Book {
    folder: TempDir,
    pub(crate) auditor: Auditor,
    keeper: Keeper,
}

impl Book {
    /// Kept by what `with` makes of the real one.
    pub(crate) fn open(with: impl FnOnce(Box<dyn Trail>) -> Box<dyn Trail>) -> Self {
        let folder = TempDir::new().unwrap();
        let store = sqlite::Store::open(&folder.path().join("gateway.db"), tributary_gateway::now).unwrap();
        let checkpoints = Checkpoints::open(&folder.path().join("gateway.audit")).unwrap();
        let trail = with(Box::new(store.writer.trail()));
        let settings = audit::Settings::default();
        let (auditor, keeper) = audit::start(trail, checkpoints, settings, tributary_gateway::now).unwrap();
        Self { folder, auditor, keeper }
    }

    /// Ends it, and shows what is in it, about whom.
    pub(crate) fn close(self) -> Vec<(String, Option<String>, String)> {
        self.keeper.stop(PATIENCE);
        let mut trail = sqlite::Trail::open(&self.folder.path().join("gateway.db")).unwrap();
        let found = trail.page(&Ask { after: Some(0), subject: None, entries_max: 20_000 }).unwrap();
        let told = |found| match found {
            Found::Link(Link { event, subject, detail, .. }) => (event, subject, detail),
            other => panic!("{other:?}"),
        };
        found.into_iter().map(told).collect()
    }
}

#[tokio::test]
async fn whoever_is_denied_a_publish_a_subscription_or_a_connection_is_in_the_trail() {
    let book = Book::open(|real| real);
    let mut rig = Rig::start_audited(64, |_| {}, book.auditor.clone()).await;
    let (mut meter, _link) = rig.connect("meter-7", 5).await;
    let foreign = topic("meter-8", Channel::Batch);
    for id in 1..=5 {
        meter.send(&publish(5, &foreign, Some(id), 0, b"its content stays out")).await;
        meter.packet().await;
    }
    meter.send(&publish(5, &topic("meter-7", Channel::Batch), Some(6), 1, b"x")).await;
    meter.packet().await;
    meter.send(&subscribe(5, 9, &["#", &topic("meter-7", Channel::Receipt)])).await;
    meter.packet().await;
    let mut stranger = rig.tls("meter-7").await;
    stranger.send(&connect(5, "meter-8", 60, None)).await;
    assert_eq!(stranger.packet().await.1[1], 0x85);
    // TLS ends one that names nobody, and one of an authority that has the name of ours, and not its key. Who shows none
    // at all is anybody.
    let nobody = rig.pki.leaf("not.a.device", 3, ClientAuth, 2100);
    for leaf in [Some(nobody), Some(Pki::new().device("meter-7")), None] {
        let client = rig.pki.client(leaf);
        if let Ok(mut raw) = Raw::connect(rig.address, client).await {
            let _ = tokio::io::AsyncReadExt::read(&mut raw.stream, &mut [0]).await;
        }
    }
    drop(meter);
    rig.closed().await;
    rig.stop().await;
    let mut told = tokio::task::spawn_blocking(|| book.close()).await.unwrap();
    let repeats = told.pop().unwrap();
    assert!(repeats.2.starts_with(r#"{"topic":"trib/1/meter-8/batch","count":4,"from_us":"#), "{repeats:?}");
    let own = |event: &str, detail: &str| (event.to_owned(), Some("meter-7".to_owned()), detail.to_owned());
    let wanted = [
        own("denied_publish", r#"{"topic":"trib/1/meter-8/batch"}"#),
        own("denied_publish", r#"{"topic":"trib/1/meter-7/batch","retain":1}"#),
        own("denied_subscribe", r##"{"filter":"#"}"##),
    ];
    assert_eq!(told[..3], wanted);
    let (event, subject, detail) = &told[3];
    assert_eq!((event.as_str(), subject.as_deref()), ("denied_connect", Some("meter-7")));
    assert!(detail.contains("its client id must be `meter-7`") && detail.contains(r#""serial":"07""#), "{detail}");
    for (place, why) in [(4, "it names no device, or not one alone"), (5, "BadSignature")] {
        let (event, subject, detail) = &told[place];
        assert_eq!((event.as_str(), subject), ("denied_connect", &None));
        assert!(detail.contains(&format!("its certificate is not accepted: {why}")), "{detail}");
    }
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(!format!("{told:?}").contains("its content"), "no payload");
}

/// A stand-in for a store that answers nothing until it is let go on.
struct Stalled {
    real: Box<dyn Trail>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Trail for Stalled {
    fn append(&mut self, entries: &[Entry]) -> Result<Head, StoreError> {
        let (is_open, opened) = &*self.gate;
        drop(opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
        self.real.append(entries)
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        self.real.head()
    }

    fn page(&mut self, ask: &Ask) -> Result<Vec<Found>, StoreError> {
        self.real.page(ask)
    }

    fn cut(&mut self, keep: Keep, now: proto::Instant) -> Result<Option<Cut>, StoreError> {
        self.real.cut(keep, now)
    }

    fn trim(&mut self, cut: &Cut, now: proto::Instant) -> Result<Head, StoreError> {
        self.real.trim(cut, now)
    }
}

/// From publish to PUBACK of one device, while another is denied without end and `beside` is done now and then: what half
/// of them take at most, and how many denials there were.
async fn usual_time(auditor: Auditor, mut beside: impl FnMut()) -> (Duration, u64) {
    const PUBLISHES: usize = 1_000;
    let mut rig = Rig::start_audited(64, |settings| settings.device_publishes_per_s_max = u32::MAX, auditor).await;
    let (mut meter, _first) = rig.connect("meter-7", 5).await;
    let (mut noisy, _second) = rig.connect("meter-8", 5).await;
    let counters = Arc::clone(&rig.counters);
    let Rig { events: mut arriving, stop, running, .. } = rig;
    let settling = tokio::spawn(async move {
        while let Some(event) = arriving.recv().await {
            if let Event::Arrived(arrival) = event {
                arrival.ticket.settle(Verdict::Settled);
            }
        }
    });
    let foreign = topic("meter-7", Channel::Batch);
    let flood = tokio::spawn(async move {
        loop {
            let some: Vec<u8> = (1..=16).flat_map(|id| publish(5, &foreign, Some(id), 0, b"x")).collect();
            noisy.send(&some).await;
            for _ in 1..=16 {
                noisy.packet().await;
            }
        }
    });
    let mut times = Vec::with_capacity(PUBLISHES);
    let own = topic("meter-7", Channel::Batch);
    for _ in 0..PUBLISHES {
        beside();
        let began = Instant::now();
        meter.send(&publish(5, &own, Some(1), 0, b"x")).await;
        assert_eq!(meter.packet().await, (0x40, vec![0, 1]));
        times.push(began.elapsed());
    }
    flood.abort();
    stop.cancel();
    let _ = flood.await;
    running.await.unwrap();
    settling.await.unwrap();
    times.sort();
    (times[PUBLISHES / 2], counters.publishes_denied.get())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_trail_does_not_move_the_time_to_a_puback_and_says_what_it_dropped() {
    let (alone, _) = usual_time(Auditor::none(), || {}).await;
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let shared = Arc::clone(&gate);
    let book = Book::open(|real| Box::new(Stalled { real, gate: shared }));
    let (auditor, subject) = (book.auditor.clone(), "meter-9".parse::<DeviceId>().unwrap());
    let decide = || (0..10).for_each(|_| auditor.note(What::Revoked, Actor::Gateway, Some(&subject), Detail::none()));
    let (stalled, denied) = usual_time(book.auditor.clone(), decide).await;
    println!("half of them within {alone:?} without a trail, within {stalled:?} with a stalled one; {denied} denials");
    // With a wait for the trail it would be as long as that stalls; there is room for what else this machine does.
    assert!(stalled <= alone * 3 + Duration::from_millis(20), "{alone:?} {stalled:?}");
    let dropped = book.auditor.totals().dropped.get();
    assert!((5_000..=6_000).contains(&dropped), "{dropped} of 10 000, of which some 4 096 have room");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let told = tokio::task::spawn_blocking(|| book.close()).await.unwrap();
    let says = format!(r#""dropped_before":{dropped}"#);
    assert_eq!(told.iter().filter(|(_, _, detail)| detail.contains(&says)).count(), 1, "one entry says {says}");
    let repeats = told.iter().filter(|(event, _, _)| event == "denied_publish");
    let count = |detail: &str| {
        let detail: serde_json::Value = serde_json::from_str(detail).unwrap();
        detail.get("count").map_or(1, |count| count.as_u64().unwrap())
    };
    assert_eq!(repeats.map(|(_, _, detail)| count(detail)).sum::<u64>(), denied, "each denial is counted once");
}
