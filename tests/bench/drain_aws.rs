//! The backlog under the limits of AWS IoT Core, in invented time: the agent's real session, and a broker that does what
//! AWS says it does with what is too much (AWS IoT Core endpoints and quotas, "message broker and protocol limits").

use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use agent::buffer::{Contents, EpochSpan};
use agent::uplink::Pace;
use agent::uplink::session::{Command, Event, Session};
use anyhow::Context;
use proto::frame::{FRAME_BATCHES_MAX, FRAME_READINGS_MAX, HEADER_BYTES_MAX, Sealed};
use proto::message::{Receipt, Settled, Settlement};
use proto::{Lane, Range, Ranges};

use crate::Bench;
use crate::data::{BOOT, EPOCH, HOUSEHOLD_SERIES, Household, START_US};
use crate::rounds::{float, quantile};
use crate::table::{IN_MEMORY, Limit, Measure, Table};

/// Twenty series, 1 Hz, 1 s linger: a million readings.
const BATCHES: usize = 50_000;
/// Batches whose real size is measured; the others repeat them.
const SEALED: usize = 500;
/// Publishes a second on one connection, both ways together; what is more is thrown away, and nobody is told.
const PUBLISHES_PER_S: f64 = 100.0;
/// Bytes a second on one connection; what is more waits.
const BYTES_PER_S: f64 = 512.0 * 1024.0;
/// Publishes without their PUBACK on one connection; one more is thrown away.
const UNACKED_MAX: usize = 100;
/// There and back, in milliseconds: drawn anew for each message.
const RTT_MS: (u64, u64) = (50, 100);
/// From a frame's arrival to its commit.
const COMMIT: Duration = Duration::from_millis(20);
/// When to give up.
const DEADLINE: Duration = Duration::from_secs(4 * 3_600);

/// Takes the measures of this group.
///
/// # Errors
/// When the backlog never arrives.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let batches = bench.size(BATCHES);
    let sizes = sizes()?;
    let mut world = World::new(&sizes, batches);
    world.drain()?;
    let minutes = world.now.as_secs_f64() / 60.0;
    let frames = world.frames[0] + world.frames[1];
    let measure = Measure::new("backlog_drain_aws", minutes, "min")
        .limit(Limit::AtMost(15.0))
        .note(format!(
            "{} readings in {batches} batches, simulated: 100 publishes/s, 512 KiB/s; {IN_MEMORY}",
            batches * HOUSEHOLD_SERIES
        ))
        .note(format!(
            "{frames} frames, {:.0} bytes each, {} live ({:.1} %); {} publishes thrown away by the limits",
            world.bytes / float(frames),
            world.frames[0],
            100.0 * float(world.frames[0]) / float(frames),
            world.thrown_away
        ));
    table.add(&measure);
    anyhow::ensure!(!world.lags.is_empty(), "no live batch arrived while the backlog was on its way");
    let [p50, p95, most] = [0.5, 0.95, 1.0].map(|share| quantile(world.lags.clone(), share));
    let measure = Measure::new("backlog_drain_aws.live_p95", p95, "s").limit(Limit::AtMost(2.0)).note(format!(
        "{} live batches meanwhile, from sealed to committed; p50 {p50:.2} s, most {most:.2} s; {IN_MEMORY}",
        world.lags.len()
    ));
    table.add(&measure);
    Ok(())
}

/// The bytes that batches take in a frame, as they are really sealed.
fn sizes() -> anyhow::Result<Vec<usize>> {
    let household = Household::new();
    let size = |second| Ok(Sealed::new(household.body(START_US, second, 1).encode()?).frame_bytes());
    (0..SEALED).map(size).collect()
}

/// What the agent may do there. The session's own limits keep a publish from being thrown away.
fn pace() -> Pace {
    Pace { publishes_per_s_max: 100, bytes_per_s_max: 512 * 1024, ..Pace::default() }
}

/// What is due.
enum What {
    Sealed,
    Arrives { rows: Range, lane: Lane },
    Asks(proto::Nonce),
    Receipt(Receipt),
}

/// When it is due, and the place in `World::due`; the earliest first.
type Due = std::cmp::Reverse<(Duration, u64)>;

/// A device, AWS, and a gateway behind it.
struct World<'a> {
    sizes: &'a [usize],
    session: Session,
    start: Instant,
    now: Duration,
    random: u64,
    due: BinaryHeap<Due>,
    what: BTreeMap<u64, What>,
    sequence: u64,
    backlog: Range,
    held: Ranges,
    stored: Ranges,
    sealed_at: BTreeMap<u64, Duration>,
    /// What may be published before the limit of a second is reached, as of when.
    tokens: (f64, Duration),
    /// When the bytes that are on their way have passed.
    busy_until: Duration,
    /// When each PUBACK comes that is still out.
    unacked: Vec<Duration>,
    frames: [usize; 2],
    bytes: f64,
    thrown_away: usize,
    lags: Vec<f64>,
}

impl<'a> World<'a> {
    fn new(sizes: &'a [usize], batches: usize) -> Self {
        let backlog = Range { first: 1, last: batches as u64 };
        let held: Ranges = [backlog].into_iter().collect();
        let epochs = vec![EpochSpan { epoch: EPOCH, base: 0, boot: BOOT }];
        let contents = Contents { held: held.clone(), epochs, ..Contents::default() };
        let start = Instant::now();
        Self {
            sizes,
            session: Session::new(pace(), &contents, 1, start),
            start,
            now: Duration::ZERO,
            random: 1,
            due: BinaryHeap::new(),
            what: BTreeMap::new(),
            sequence: 0,
            backlog,
            held,
            stored: Ranges::new(),
            sealed_at: BTreeMap::new(),
            tokens: (PUBLISHES_PER_S, Duration::ZERO),
            busy_until: Duration::ZERO,
            unacked: Vec::new(),
            frames: [0, 0],
            bytes: 0.0,
            thrown_away: 0,
            lags: Vec::new(),
        }
    }

    /// Until the gateway has all that was there at the beginning.
    fn drain(&mut self) -> anyhow::Result<()> {
        self.session.handle_deadline(self.start);
        self.obey()?;
        self.tell(Event::Connected)?;
        self.plan(Duration::from_secs(1), What::Sealed);
        while !self.stored.missing_in(self.backlog).is_empty() {
            anyhow::ensure!(self.now < DEADLINE, "{} batches are left", self.stored.missing_in(self.backlog).count());
            let wake = self.session.deadline().saturating_duration_since(self.start);
            match self.due.peek() {
                Some(std::cmp::Reverse((when, _))) if *when <= wake => {
                    let Some(std::cmp::Reverse((when, place))) = self.due.pop() else { continue };
                    self.now = self.now.max(when);
                    if let Some(what) = self.what.remove(&place) {
                        self.happen(what)?;
                    }
                }
                _ => {
                    self.now = self.now.max(wake);
                    self.session.handle_deadline(self.start + self.now);
                    self.obey()?;
                }
            }
        }
        Ok(())
    }

    fn happen(&mut self, what: What) -> anyhow::Result<()> {
        match what {
            What::Sealed => {
                let rows = Range::one(self.held.last().context("a backlog")? + 1);
                self.held.insert(rows);
                self.sealed_at.insert(rows.first, self.now);
                self.plan(Duration::from_secs(1), What::Sealed);
                self.tell(Event::Accepted { rows, lane: Lane::Live, began: None })
            }
            What::Arrives { rows, lane } => {
                self.stored.insert(rows);
                let news = self.sealed_at.extract_if(rows.first..=rows.last, |_, _| true);
                self.lags.extend(news.map(|(_, sealed_at)| self.now.saturating_sub(sealed_at).as_secs_f64()));
                self.frames[usize::from(lane == Lane::Backfill)] += 1;
                self.answer(None, rows);
                Ok(())
            }
            What::Asks(nonce) => {
                self.answer(Some(nonce), Range { first: 1, last: u64::MAX });
                Ok(())
            }
            What::Receipt(receipt) => self.tell(Event::Receipt(receipt)),
        }
    }

    /// The gateway says what it has around `rows`, if AWS lets it through.
    fn answer(&mut self, nonce: Option<proto::Nonce>, rows: Range) {
        let ranges = self.stored.iter().filter(|range| range.intersect(rows).is_some());
        let ranges = ranges.map(|range| Settled { range, state: Settlement::Stored }).collect();
        let gateway_time = proto::Instant(START_US);
        let receipt = Receipt {
            nonce,
            gateway_time,
            epoch: EPOCH,
            ranges,
            continued: false,
            refused: Vec::new(),
            signature: None,
        };
        if self.is_let_through() {
            let way = self.way();
            self.plan(way, What::Receipt(receipt));
        }
    }

    fn tell(&mut self, event: Event) -> anyhow::Result<()> {
        self.session.handle(event, self.start + self.now);
        self.obey()
    }

    fn obey(&mut self) -> anyhow::Result<()> {
        while let Some(command) = self.session.next_command() {
            match command {
                Command::Hello(hello) => {
                    let arrives = self.pass(100);
                    if self.is_let_through() {
                        self.plan(arrives, What::Asks(hello.nonce));
                    }
                }
                Command::Publish { within, lane, bytes_max } => self.publish(within, lane, bytes_max)?,
                Command::HangUp => anyhow::bail!("the session gave up a connection that works, after {:?}", self.now),
                _ => {} // dialled already; marks cost nothing here
            }
        }
        Ok(())
    }

    fn publish(&mut self, within: Range, lane: Lane, bytes_max: usize) -> anyhow::Result<()> {
        let Some((rows, bytes)) = self.peek(within, lane == Lane::Live, bytes_max) else {
            self.session.handle(Event::NotThere(within), self.start + self.now);
            return Ok(());
        };
        anyhow::ensure!(bytes <= proto::FRAME_BYTES_MAX, "AWS ends a connection that publishes {bytes} bytes");
        let arrives = self.pass(bytes);
        let now = self.now;
        self.unacked.retain(|acked_at| *acked_at > now);
        let fits = self.unacked.len() < UNACKED_MAX;
        if self.is_let_through() && fits {
            let back = self.way();
            self.unacked.push(now + arrives + back);
            self.plan(arrives + COMMIT, What::Arrives { rows, lane });
            self.bytes += float(bytes);
        } else {
            self.thrown_away += 1;
        }
        self.session.handle(Event::Published { rows, bytes, lane }, self.start + now);
        Ok(())
    }

    /// What `agent::buffer::Buffer::peek` would take: consecutive batches from one end, as many as fit.
    fn peek(&self, within: Range, newest_first: bool, bytes_max: usize) -> Option<(Range, usize)> {
        let run = if newest_first { self.held.within(within).next_back() } else { self.held.within(within).next() }?;
        let (mut rows, mut bytes) = (None::<Range>, HEADER_BYTES_MAX);
        for taken in 0..run.count().min(FRAME_BATCHES_MAX as u64) {
            let row = if newest_first { run.last - taken } else { run.first + taken };
            let size = self.sizes[usize::try_from(row).ok()? % self.sizes.len()];
            let readings = (usize::try_from(taken).ok()? + 1) * HOUSEHOLD_SERIES;
            if rows.is_some() && (bytes + size > bytes_max || readings > FRAME_READINGS_MAX) {
                break;
            }
            bytes += size;
            rows = Some(
                rows.map_or(Range::one(row), |rows| Range { first: rows.first.min(row), last: rows.last.max(row) }),
            );
        }
        rows.map(|rows| (rows, bytes))
    }

    /// How long until `bytes` that are sent now have arrived.
    fn pass(&mut self, bytes: usize) -> Duration {
        let took = Duration::from_secs_f64(float(bytes) / BYTES_PER_S);
        self.busy_until = self.busy_until.max(self.now) + took;
        self.busy_until.saturating_sub(self.now) + self.way()
    }

    /// Whether a publish is within the limit of a second.
    fn is_let_through(&mut self) -> bool {
        let (tokens, then) = self.tokens;
        let more = self.now.saturating_sub(then).as_secs_f64() * PUBLISHES_PER_S;
        let tokens = (tokens + more).min(PUBLISHES_PER_S);
        let passes = tokens >= 1.0;
        self.tokens = (if passes { tokens - 1.0 } else { tokens }, self.now);
        passes
    }

    /// One way, half of a round trip.
    fn way(&mut self) -> Duration {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (least, most) = RTT_MS;
        Duration::from_micros((least * 1_000 + (self.random >> 33) % ((most - least) * 1_000)) / 2)
    }

    fn plan(&mut self, after: Duration, what: What) {
        self.sequence += 1;
        self.due.push(std::cmp::Reverse((self.now + after, self.sequence)));
        self.what.insert(self.sequence, what);
    }
}
