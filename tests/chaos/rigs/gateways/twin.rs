//! A device that says every frame to two gateways at once, until one of them has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Moment};

use anyhow::Context;
use harness::Cloud;
use harness::oracle::{self, Allowed, Offer, Ruling, When};
use harness::pki::Files;
use harness::speaker::{Speaker, held};
use proto::frame::{Header, Sealed};
use proto::message::Settlement;
use proto::{
    Basis, Body, BootId, Channel, Clock, Column, Epoch, Frame, Instant, Kind, Lane, Quality, Range, Ranges, Reading,
    Series, Value,
};

/// Its name.
pub(super) const DEVICE: &str = "twin-1";
const SERIES: &str = "twin";
/// Its first reading, 2026-09-21; the others follow a second apart.
const START_US: i64 = 1_790_000_000_000_000;
const CLOCK: Clock = Clock { boot: BootId([0x22; 8]), offset_us: START_US, quality: Quality::Synced };
const EPOCH: Epoch = Epoch([0x22; 8]);
/// Readings of a batch.
const READINGS: u32 = 5;
/// Between two frames.
const PACE: Duration = Duration::from_millis(4);
/// For all of it to be settled once nothing fails any more.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// The device, which speaks on a thread of its own.
pub(super) struct Twin {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<u64>>>,
    ports: Vec<u16>,
    files: Files,
}

impl Twin {
    /// Begins to speak to two of those who listen on `ports`; twice by the same connection where there is only one.
    pub(super) fn start(ports: Vec<u16>, files: Files) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, to, own) = (stop.clone(), ports.clone(), files.clone());
        let thread = std::thread::Builder::new().name("twin".into()).spawn(move || speak(&to, &own, &told))?;
        Ok(Self { stop, thread: Some(thread), ports, files })
    }

    /// Ends, says again what is not settled, and holds the database against all that was said.
    pub(super) fn judge(mut self, cloud: &Cloud) -> anyhow::Result<(u64, Ruling)> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it speaks once")?;
        let frames = thread.join().map_err(|_| anyhow::anyhow!("the speaker panicked"))??;
        let said = self.settle(frames).context("settle what was said twice")?;
        let offers: Vec<Offer> = (1..=frames).flat_map(offers).collect();
        let ledger = cloud.ledger(DEVICE)?;
        let mut ruling = oracle::judge(&offers, &ledger, None, Allowed::default());
        let unstored = said.iter().flat_map(|range| range.first..=range.last).filter(|number| {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            ledger.state_of((EPOCH.0, number)) != Some(0)
        });
        ruling.early_receipt += unstored.count() as u64;
        Ok((frames, ruling))
    }

    /// Asks what is stored and says the rest again, until all is. Answers what receipts called stored.
    fn settle(&self, frames: u64) -> anyhow::Result<Ranges> {
        let all = Range::new(1, frames).context("nothing was said")?;
        let began = Moment::now();
        loop {
            let stored = self.ask(all, frames);
            match &stored {
                Ok(stored) if stored.missing_in(all).iter().next().is_none() => return Ok(stored.clone()),
                _ => {}
            }
            anyhow::ensure!(began.elapsed() < SETTLE_DEADLINE, "not all of {frames} is stored: {stored:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn ask(&self, all: Range, frames: u64) -> anyhow::Result<Ranges> {
        let mut speaker = Speaker::connect(self.ports[0], &self.files, DEVICE)?;
        let mut said = speaker.ask(vec![held(EPOCH, [all], frames + 1)])?;
        let stored = said.remove(&EPOCH).and_then(|mut of| of.remove(&Settlement::Stored)).unwrap_or_default();
        for number in stored.missing_in(all).iter().flat_map(|range| range.first..=range.last) {
            speaker.publish(Channel::Batch, frame(number)?, true)?;
        }
        speaker.leave()?;
        Ok(stored)
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Speaks until told to stop; answers how many frames.
fn speak(ports: &[u16], files: &Files, stop: &AtomicBool) -> anyhow::Result<u64> {
    let mut links: Vec<Option<Speaker>> = ports.iter().map(|_| None).collect();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let frame = frame(number)?;
        for attempt in 0.. {
            let places = [0, 1].map(|other| (usize::try_from(number).unwrap_or(0) + attempt + other) % links.len());
            for place in places {
                let link = links[place].take().map_or_else(|| Speaker::connect(ports[place], files, DEVICE), Ok);
                links[place] = link.ok().and_then(|mut link| {
                    link.publish(Channel::Batch, frame.clone(), attempt > 0).is_ok().then_some(link)
                });
            }
            let mut has_it = false;
            for place in places {
                links[place] = links[place].take().and_then(|mut link| link.settle().is_ok().then_some(link));
                has_it |= links[place].is_some();
            }
            if has_it || stop.load(Ordering::Relaxed) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(PACE);
    }
    Ok(number)
}

/// The readings of one batch, each with a value of its own.
fn offers(number: u64) -> Vec<Offer> {
    let first = i64::try_from(number).unwrap_or(0) * i64::from(READINGS);
    let of = |place: u32| {
        let index = first + i64::from(place);
        let value = f64::from(u32::try_from(index).unwrap_or(0));
        Offer { series: SERIES, when: When::At(START_US + index * 1_000_000), value, sure: true }
    };
    (0..READINGS).map(of).collect()
}

fn frame(number: u64) -> anyhow::Result<Vec<u8>> {
    let series = Series { name: SERIES.parse()?, unit: "1".parse()?, kind: Kind::Gauge };
    let readings = offers(number).into_iter().filter_map(|offer| match offer.when {
        When::At(us) => Some(Reading::new(Instant(us), Value::Number(offer.value))),
        When::Around { .. } => None,
    });
    let columns = vec![Column { series, basis: Basis::Source, readings: readings.collect() }];
    let sealed = Sealed::new(Body { boot: CLOCK.boot, columns }.encode()?);
    let header = Header { epoch: EPOCH, first: number, lane: Lane::Live, clock: CLOCK };
    Ok(Frame { header, bodies: vec![sealed] }.encode())
}
