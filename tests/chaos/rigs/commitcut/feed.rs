//! Frames for the gateway's real pipeline, and what it answers, with the tape's length when it was heard.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use gateway::ingest::pipeline::{Recorder, judge_all};
use gateway::ingest::totals::Totals;
use gateway::ingest::{Arrival, ConnectionId, Event, Link, Ticket};
use gateway::store::sqlite::Store;
use proto::frame::{Header, Sealed};
use proto::message::{Held, Hello, Notice};
use proto::{Body, Channel, Epoch, Frame, Lane, Nonce, Range, Value};
use tokio::sync::mpsc;
use vfs::{Dice, Tape, Watch};

use super::ears::{Ears, Heard};
use crate::rigs::offers::{CLOCK, Offers};

const DEVICES: [&str; 2] = ["meter-1", "meter-2"];
/// Frames of a run, of both devices, over all starts of the gateway.
const FRAMES: usize = 24;
/// Starts of the gateway in a run.
const STARTS: usize = 2;
/// How long an answer may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);
/// As many as the gateway's own channel takes.
const EVENTS_MAX: usize = 256;

/// Which batch: device, epoch, number.
pub(crate) type Identity = (&'static str, [u8; 8], u64);

/// What a batch must become.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Truth {
    /// Times and the bits of values, ascending.
    Readings(Vec<(i64, u64)>),
    /// Bytes that cannot be read, kept aside.
    Aside(Vec<u8>),
}

/// A run: what was offered, what was said, what reached the disk.
pub(super) struct Feed {
    pub(super) truth: BTreeMap<Identity, Truth>,
    /// Every frame once, with whose it is.
    pub(super) frames: Vec<(&'static str, Vec<u8>)>,
    pub(super) heard: Vec<Heard>,
    pub(super) tape: Tape,
}

impl Feed {
    /// Runs the pipeline on a store in `folder`.
    pub(super) fn record(folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let ears = Arc::new(Mutex::new(Ears::default()));
        let listener = Arc::clone(&ears);
        let watch = Watch::folder_with(folder, move |mark| {
            listener.lock().unwrap_or_else(PoisonError::into_inner).listen(mark);
        })?;
        let devices = DEVICES.map(|device| Device { device, epoch: [0; 8], next: 1, sent: Vec::new() });
        let mut run = Run {
            dice: Dice::new(seed),
            offers: Offers::new(),
            devices,
            truth: BTreeMap::new(),
            frames: Vec::new(),
            ears: Arc::clone(&ears),
            watch: &watch,
        };
        for start in 0..STARTS {
            run.start(folder, start)?;
        }
        let (truth, frames) = (run.truth, run.frames);
        let mut ears = ears.lock().unwrap_or_else(PoisonError::into_inner);
        ears.listen(watch.mark());
        let heard = std::mem::take(&mut ears.heard);
        drop(ears);
        let batches = truth.len();
        anyhow::ensure!(heard.iter().any(|heard| !heard.claims.is_empty()), "nothing was said of {batches} batches");
        Ok(Self { truth, frames, heard, tape: watch.finish() })
    }
}

/// A device that publishes.
struct Device {
    device: &'static str,
    epoch: [u8; 8],
    next: u64,
    /// Frames of this epoch, to be sent again.
    sent: Vec<(Vec<u8>, Vec<Identity>)>,
}

/// A run under way.
struct Run<'w> {
    dice: Dice,
    offers: Offers,
    devices: [Device; DEVICES.len()],
    truth: BTreeMap<Identity, Truth>,
    frames: Vec<(&'static str, Vec<u8>)>,
    ears: Arc<Mutex<Ears>>,
    watch: &'w Watch,
}

impl Run<'_> {
    /// From a start of the gateway to its end.
    fn start(&mut self, folder: &Path, start: usize) -> anyhow::Result<()> {
        static TOTALS: Totals = Totals::zero();
        for (place, device) in self.devices.iter_mut().enumerate() {
            let epoch = [u8::try_from(start)? + 1, u8::try_from(place)?, 0, 0, 0, 0, 0, 1];
            (device.epoch, device.next) = (epoch, 1);
            device.sent.clear();
        }
        let Store { writer, reader: _reader } = Store::open(&folder.join("gateway.db"), super::image::now)?;
        let (recorder, thread) = Recorder::spawn(writer, super::image::now, &TOTALS)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            let (events, arriving) = mpsc::channel(EVENTS_MAX);
            let judge = tokio::spawn(judge_all(arriving, recorder, None, super::image::now));
            self.feed(&events, start as u64 * 10).await?;
            drop(events);
            judge.await?;
            anyhow::Ok(())
        })?;
        thread.join().map_err(|_| anyhow::anyhow!("the recorder panicked"))
    }

    async fn feed(&mut self, events: &mpsc::Sender<Event>, connections: u64) -> anyhow::Result<()> {
        let gone = || anyhow::anyhow!("the pipeline has ended");
        for (connection, device) in (connections..).zip(DEVICES) {
            let (link, receipts) = Link::new(device.parse()?, ConnectionId(connection));
            self.hear(|ears| ears.links.push((device, receipts)));
            events.send(Event::Opened(link)).await.map_err(|_| gone())?;
        }
        for place in 0..FRAMES / STARTS {
            let which = self.dice.place(DEVICES.len());
            let (channel, payload, identities) = match self.dice.below(100) {
                0..12 => (Channel::Hello, self.hello(which), Vec::new()),
                12..25 => self.again(which).context("nothing was sent")?,
                _ => self.frame(which)?,
            };
            let (ticket, verdict) = Ticket::new();
            self.hear(|ears| ears.verdicts.push((identities, verdict)));
            let connection = ConnectionId(connections + which as u64);
            let (device, resent, payload) = (DEVICES[which].parse()?, false, payload.into());
            let packet_id = Some(u16::try_from(place)? + 1);
            let arrival = Arrival { device, connection, claim: None, channel, packet_id, resent, payload, ticket };
            events.send(Event::Arrived(arrival)).await.map_err(|_| gone())?;
            if self.dice.chance(60) {
                self.answered().await?;
            }
        }
        self.answered().await
    }

    /// Waits until all that was sent is answered.
    async fn answered(&self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let open = self.hear(|ears| {
                let known = ears.heard.len();
                ears.listen(0);
                // Asked after listening: the recorder goes on meanwhile, and nothing may seem to be said before it was.
                let mark = self.watch.mark();
                ears.heard.iter_mut().skip(known).for_each(|heard| heard.mark = mark);
                ears.verdicts.len()
            });
            if open == 0 {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "{open} publishes were not answered in {PATIENCE:?}");
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }

    fn hear<T>(&self, act: impl FnOnce(&mut Ears) -> T) -> T {
        act(&mut self.ears.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hello(&mut self, which: usize) -> Vec<u8> {
        let device = &self.devices[which];
        let ranges = Range::new(1, device.next - 1).into_iter().collect();
        let held = Held { epoch: Epoch(device.epoch), ranges, next: device.next };
        let nonce = Nonce(self.dice.roll().to_le_bytes());
        Notice::Hello(Hello { nonce, versions: (proto::VERSION, proto::VERSION), epochs: vec![held] }).encode()
    }

    /// A frame that was sent before, or a new one.
    fn again(&mut self, which: usize) -> anyhow::Result<(Channel, Vec<u8>, Vec<Identity>)> {
        let sent = &self.devices[which].sent;
        match sent.get(self.dice.place(sent.len())).cloned() {
            Some((payload, identities)) => Ok((Channel::Batch, payload, identities)),
            None => self.frame(which),
        }
    }

    fn frame(&mut self, which: usize) -> anyhow::Result<(Channel, Vec<u8>, Vec<Identity>)> {
        let device = &mut self.devices[which];
        let first = device.next;
        let (mut bodies, mut identities) = (Vec::new(), Vec::new());
        for _ in 0..=self.dice.below(3) {
            let body = self.offers.body(&mut self.dice, 40)?;
            let mut sealed = Sealed::new(body.encode()?);
            let mut truth = Truth::Readings(readings(&body));
            if self.dice.chance(8) {
                let place = self.dice.place(sealed.body.len());
                sealed.body[place] ^= 1; // its hash no longer fits
                truth = Truth::Aside(sealed.body.clone());
            }
            let identity = (device.device, device.epoch, device.next);
            self.truth.insert(identity, truth);
            identities.push(identity);
            bodies.push(sealed);
            device.next += 1;
        }
        let header = Header { epoch: Epoch(device.epoch), first, lane: Lane::Live, clock: CLOCK };
        let payload = Frame { header, bodies }.encode();
        device.sent.push((payload.clone(), identities.clone()));
        self.frames.push((device.device, payload.clone()));
        Ok((Channel::Batch, payload, identities))
    }
}

/// What the database must hold of `body`.
pub(crate) fn readings(body: &Body) -> Vec<(i64, u64)> {
    let of = |reading: &proto::Reading| match reading.value {
        Value::Number(number) => Some((CLOCK.offset_us + reading.time.0, number.to_bits())),
        _ => None,
    };
    body.columns.iter().flat_map(|column| column.readings.iter().filter_map(of)).collect()
}
