//! The session against a gateway of a few lines, over a network that does what networks do, in invented time.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proto::message::{HELLO_EPOCHS_MAX, HELLO_RANGES_MAX, Held, Hello, Receipt, Refusal, Refused, Settled, Settlement};
use proto::{BodyHash, BootId, Epoch, Lane, Nonce, Range, Ranges};
use tributary_agent::buffer::{Contents, EpochSpan};
use tributary_agent::uplink::Pace;
use tributary_agent::uplink::session::{Command, Event, Session};

const PACE: Pace = Pace {
    frame_bytes_max: 500,
    window_frames: 8,
    window_bytes: 2_000,
    deadline_min: Duration::from_secs(10),
    deadline_max: Duration::from_secs(600),
    reconnect_min: Duration::from_secs(1),
    reconnect_max: Duration::from_secs(300),
    hello_every: Duration::from_secs(900),
    keep_alive: Duration::from_secs(30),
    publishes_per_s_max: 0,
    bytes_per_s_max: 0,
};
/// Bytes of every batch here.
const BATCH_BYTES: u64 = 100;

/// Gaps that this world's buffer puts into one notice.
const NOTICE_GAPS: usize = 3;

/// What travels to the gateway.
#[derive(Debug)]
enum Up {
    Hello(Hello),
    Frame(Epoch, Range),
    Gaps(Vec<(Epoch, Range)>),
}

/// A device and a gateway with a network between them.
struct World {
    session: Session,
    now: Instant,
    connected: bool,
    buffer: Buffer,
    /// Copies of the buffer, as someone might have made them.
    copies: Vec<Buffer>,
    epochs_ever: u64,
    starts: u64,
    under_way: VecDeque<Up>,
    answers: VecDeque<Receipt>,
    stored: BTreeMap<[u8; 8], Ranges>,
    gaps: BTreeMap<[u8; 8], Ranges>,
    /// What the gateway found missing, without a word from the device.
    unexplained: Vec<(Epoch, u64)>,
    /// What the device said that nobody can explain.
    owned_up: Ranges,
    /// Numbers of the first epoch that the gateway refuses, and why.
    refuses: Vec<(u64, Refusal)>,
    /// The connection dies of a frame with this number of the first epoch.
    dies_of: Option<u64>,
    /// The gateway makes nothing of a frame with this number of the first epoch.
    cannot_read: Option<u64>,
    published: Vec<(Lane, Range)>,
    published_at: Vec<Instant>,
    last_nonce: Option<Nonce>,
    alarms: usize,
    hang_ups: usize,
}

/// What a buffer would hold.
#[derive(Clone, Debug, Default)]
struct Buffer {
    held: Ranges,
    epochs: Vec<EpochSpan>,
    marked: Ranges,
    gaps: Ranges,
    aside: Ranges,
    next_row: u64,
}

impl Buffer {
    fn contents(&self) -> Contents {
        Contents {
            held: self.held.clone(),
            settled: self.marked.clone(),
            gaps: self.gaps.clone(),
            aside: self.aside.clone(),
            epochs: self.epochs.clone(),
        }
    }

    fn span(&self, row: u64) -> EpochSpan {
        *self.epochs.iter().rfind(|span| span.base < row).unwrap()
    }

    /// Its gaps of `within` as numbers, cut where epochs end.
    fn gaps(&self, within: Range) -> Vec<(Epoch, Range)> {
        let mut found = Vec::new();
        for span in &self.epochs {
            let later = self.epochs.iter().map(|later| later.base).find(|base| *base > span.base);
            let rows = Range::new(span.base + 1, later.unwrap_or(u64::MAX)).unwrap();
            let Some(within) = rows.intersect(within) else { continue };
            let numbers = |rows: Range| Range { first: rows.first - span.base, last: rows.last - span.base };
            found.extend(self.gaps.within(within).map(|rows| (span.epoch, numbers(rows))));
        }
        found
    }
}

fn span(index: u64, base: u64) -> EpochSpan {
    let mut epoch = [0; 8];
    epoch[..2].copy_from_slice(&u16::try_from(index).unwrap().to_le_bytes());
    EpochSpan { epoch: Epoch(epoch), base, boot: BootId([1; 8]) }
}

impl World {
    /// A device that holds rows 1 to `backlog` of an earlier epoch.
    fn new(backlog: u64) -> Self {
        let held: Ranges = Range::new(1, backlog).into_iter().collect();
        let epochs = if backlog > 0 { vec![span(1, 0)] } else { vec![] };
        Self::with(Buffer { held, epochs, next_row: backlog + 1, ..Buffer::default() }, PACE)
    }

    fn with(buffer: Buffer, pace: Pace) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(pace, &buffer.contents(), 7, now),
            now,
            connected: false,
            epochs_ever: buffer.epochs.len() as u64,
            starts: 7,
            buffer,
            copies: Vec::new(),
            under_way: VecDeque::new(),
            answers: VecDeque::new(),
            stored: BTreeMap::new(),
            gaps: BTreeMap::new(),
            unexplained: Vec::new(),
            owned_up: Ranges::new(),
            refuses: Vec::new(),
            dies_of: None,
            cannot_read: None,
            published: Vec::new(),
            published_at: Vec::new(),
            last_nonce: None,
            alarms: 0,
            hang_ups: 0,
        }
    }

    /// The agent starts anew, over `buffer`.
    fn restart(&mut self, buffer: Buffer) {
        self.cut();
        self.starts += 1;
        self.session = Session::new(PACE, &buffer.contents(), self.starts, self.now);
        self.buffer = buffer;
        self.obey();
    }

    fn tell(&mut self, event: Event) {
        self.session.handle(event, self.now);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(command) = self.session.next_command() {
            match command {
                Command::Dial => assert!(!self.connected, "dialled while connected"),
                Command::HangUp => {
                    self.hang_ups += 1;
                    self.cut();
                }
                Command::Hello(hello) => {
                    assert_eq!(hello.epochs.len(), self.buffer.epochs.len(), "a hello is whole, or says it is a part");
                    self.say_hello(hello);
                }
                Command::HelloPart(hello) => self.say_hello(hello),
                Command::Gaps(within) => self.tell_gaps(within),
                Command::Unexplained { epoch, numbers } => {
                    assert!(self.connected);
                    self.owned_up.extend(numbers.iter());
                    self.under_way.push_back(Up::Gaps(numbers.iter().map(|numbers| (epoch, numbers)).collect()));
                }
                Command::Publish { within, lane, bytes_max } => self.publish(within, lane, bytes_max),
                Command::Mark(rows) => {
                    for rows in rows.iter() {
                        self.buffer.gaps.remove(rows);
                        let held: Vec<Range> = self.buffer.held.within(rows).collect();
                        self.buffer.marked.extend(held);
                    }
                }
                Command::Unmark(rows) => rows.iter().for_each(|rows| self.buffer.marked.remove(rows)),
                Command::SetAside { rows, .. } => self.buffer.aside.insert(rows),
                Command::Alarm { .. } => self.alarms += 1,
            }
        }
    }

    fn say_hello(&mut self, hello: Hello) {
        assert!(self.connected && hello.epochs.len() <= HELLO_EPOCHS_MAX);
        assert_ne!(self.last_nonce, Some(hello.nonce), "each hello has a nonce of its own");
        self.last_nonce = Some(hello.nonce);
        self.under_way.push_back(Up::Hello(hello));
    }

    fn tell_gaps(&mut self, within: Range) {
        let mut gaps = self.buffer.gaps(within);
        let rows = if gaps.len() > NOTICE_GAPS {
            gaps.truncate(NOTICE_GAPS);
            let (epoch, numbers) = gaps[NOTICE_GAPS - 1];
            Range::new(within.first, self.session.row_of(epoch, numbers.last).unwrap()).unwrap()
        } else {
            within
        };
        let sent = !gaps.is_empty();
        if sent && self.connected {
            self.under_way.push_back(Up::Gaps(gaps));
        }
        self.session.handle(Event::Told { rows, sent }, self.now);
    }

    fn publish(&mut self, within: Range, lane: Lane, bytes_max: usize) {
        let count = (bytes_max as u64 / BATCH_BYTES).max(1);
        let held = &self.buffer.held;
        let Some(held) =
            (if lane == Lane::Live { held.within(within).next_back() } else { held.within(within).next() })
        else {
            return self.session.handle(Event::NotThere(within), self.now);
        };
        let rows = match lane {
            Lane::Live => Range { first: held.first.max((held.last + 1).saturating_sub(count)), last: held.last },
            Lane::Backfill => Range { first: held.first, last: held.last.min(held.first + count - 1) },
        };
        assert!(rows.first >= within.first && rows.last <= within.last);
        assert!(self.buffer.aside.within(rows).next().is_none(), "what is set aside is not sent");
        let span = self.buffer.span(rows.first);
        assert_eq!(self.buffer.span(rows.last), span, "a frame is of one epoch");
        self.published.push((lane, rows));
        self.published_at.push(self.now);
        let numbers = Range { first: rows.first - span.base, last: rows.last - span.base };
        if self.connected {
            self.under_way.push_back(Up::Frame(span.epoch, numbers));
        }
        let bytes = usize::try_from(rows.count() * BATCH_BYTES).unwrap();
        self.session.handle(Event::Published { rows, bytes, lane }, self.now);
    }

    fn connect(&mut self) {
        if !self.connected {
            // Wait out the backoff, so that the session has dialled.
            self.now = self.now.max(self.session.deadline());
            self.session.handle_deadline(self.now);
            self.obey();
            self.connected = true;
            self.tell(Event::Connected);
        }
    }

    /// The connection ends, and with it all that was under way.
    fn cut(&mut self) {
        self.connected = false;
        self.under_way.clear();
        self.answers.clear();
    }

    /// Takes the next `count` rows, of a new epoch if there is none yet or it is to be.
    fn next_rows(&mut self, count: u64, new_epoch: bool) -> (Range, Option<EpochSpan>) {
        let first = self.buffer.next_row;
        let began = (new_epoch || self.buffer.epochs.is_empty()).then(|| {
            self.epochs_ever += 1;
            span(self.epochs_ever, first - 1)
        });
        self.buffer.epochs.extend(began);
        self.buffer.next_row = first + count;
        (Range::new(first, first + count - 1).unwrap(), began)
    }

    fn seal(&mut self, count: u64, lane: Lane, new_epoch: bool) {
        let (rows, began) = self.next_rows(count, new_epoch);
        self.buffer.held.insert(rows);
        self.tell(Event::Accepted { rows, lane, began });
    }

    /// The buffer lets go of `rows`; what no receipt covered becomes a gap.
    fn evict(&mut self, rows: &Ranges) {
        let gaps: Ranges =
            rows.iter().flat_map(|rows| self.buffer.marked.missing_in(rows).as_slice().to_vec()).collect();
        for rows in rows.iter() {
            self.buffer.held.remove(rows);
            self.buffer.marked.remove(rows);
        }
        self.buffer.gaps.extend(gaps.iter());
        self.session.handle(Event::Evicted(rows.clone()), self.now);
        self.session.handle(Event::Gaps { rows: gaps, began: None }, self.now);
        self.obey();
    }

    /// The gateway takes one message in.
    fn arrive(&mut self) {
        match self.under_way.pop_front() {
            None => {}
            Some(Up::Frame(epoch, numbers)) => self.take_frame(epoch, numbers),
            Some(Up::Gaps(gaps)) => {
                for (epoch, numbers) in gaps {
                    let stored = self.stored.entry(epoch.0).or_default();
                    let gone = stored.missing_in(numbers);
                    self.gaps.entry(epoch.0).or_default().extend(gone.iter());
                    self.answer(epoch, None, vec![]);
                }
            }
            Some(Up::Hello(hello)) => {
                for held in hello.epochs {
                    assert!(held.ranges.len() <= HELLO_RANGES_MAX);
                    self.look_for_holes(&held);
                    self.answer(held.epoch, Some(hello.nonce), vec![]);
                }
            }
        }
    }

    fn take_frame(&mut self, epoch: Epoch, numbers: Range) {
        let is_of = |number: u64| epoch == span(1, 0).epoch && numbers.contains(number);
        if self.dies_of.is_some_and(is_of) {
            self.cut();
            return self.tell(Event::Lost);
        }
        if self.cannot_read.is_some_and(is_of) {
            return self.tell(Event::Heard); // a PUBACK and nothing else
        }
        let refused: Vec<Refused> = self
            .refuses
            .iter()
            .filter(|(number, _)| is_of(*number))
            .map(|(number, reason)| Refused { number: *number, hash: BodyHash([0; 16]), reason: *reason })
            .collect();
        // As the real one: the number of a conflict is settled, by the other body.
        let stored = self.stored.entry(epoch.0).or_default();
        stored.insert(numbers);
        for refused in refused.iter().filter(|refused| refused.reason == Refusal::QuarantineFull) {
            stored.remove(Range::one(refused.number));
        }
        // What came is no gap, whoever said so.
        self.gaps.entry(epoch.0).or_default().remove(numbers);
        self.answer(epoch, None, refused);
    }

    /// What is below the next number and neither settled nor held is missing, and nobody said why.
    fn look_for_holes(&mut self, held: &Held) {
        let Some(all) = Range::new(1, held.next - 1) else { return };
        let known = [&self.stored, &self.gaps].map(|of| of.get(&held.epoch.0).cloned().unwrap_or_default());
        let known: Ranges = known.iter().flat_map(Ranges::iter).chain(held.ranges.iter().copied()).collect();
        for missing in known.missing_in(all).iter() {
            self.unexplained.extend((missing.first..=missing.last).map(|number| (held.epoch, number)));
            self.gaps.entry(held.epoch.0).or_default().insert(missing);
        }
    }

    fn answer(&mut self, epoch: Epoch, nonce: Option<Nonce>, refused: Vec<Refused>) {
        let of = |settled: &BTreeMap<[u8; 8], Ranges>, state| -> Vec<Settled> {
            let ranges = settled.get(&epoch.0).into_iter().flat_map(Ranges::iter);
            ranges.map(|range| Settled { range, state }).collect()
        };
        let mut ranges = of(&self.stored, Settlement::Stored);
        ranges.extend(of(&self.gaps, Settlement::Gap));
        ranges.sort_by_key(|settled| settled.range.first);
        // In pieces, as a gateway with many ranges would.
        let pieces: Vec<&[Settled]> =
            if ranges.is_empty() { vec![&[]] } else { ranges.chunks(2 + ranges.len() / 3).collect() };
        for (index, piece) in pieces.iter().enumerate() {
            self.answers.push_back(Receipt {
                nonce,
                gateway_time: proto::Instant(0),
                epoch,
                ranges: piece.to_vec(),
                continued: index + 1 < pieces.len(),
                refused: refused.clone(),
                signature: None,
            });
        }
    }

    fn receive(&mut self) {
        if let Some(receipt) = self.answers.pop_front() {
            self.tell(Event::Receipt(receipt));
        }
    }

    /// From here on the network works.
    fn settle_down(&mut self) {
        for _ in 0..10_000 {
            self.connect();
            while !self.under_way.is_empty() || !self.answers.is_empty() {
                self.arrive();
                self.receive();
            }
            if self.session.unsettled() == 0 && self.buffer.gaps.is_empty() {
                return;
            }
            self.now = self.now.max(self.session.deadline());
            self.session.handle_deadline(self.now);
            self.obey();
        }
        panic!("not settled: {} left, {:?}", self.session.unsettled(), self.session);
    }

    /// Rows that the gateway has, as the device counts them.
    fn stored_rows(&self) -> Ranges {
        self.rows_of(&self.stored)
    }

    fn rows_of(&self, settled: &BTreeMap<[u8; 8], Ranges>) -> Ranges {
        let rows = |(index, span): (usize, &EpochSpan)| {
            // An older copy of a buffer gives rows to another epoch that had been this one's.
            let last = self.buffer.epochs.get(index + 1).map_or(u64::MAX, |later| later.base);
            let base = span.base;
            let settled = settled.get(&span.epoch.0).into_iter().flat_map(Ranges::iter);
            settled
                .filter_map(move |range| Range::new(range.first + base, last.min(range.last + base)))
                .collect::<Vec<_>>()
        };
        self.buffer.epochs.iter().enumerate().flat_map(rows).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Cut,
    Arrive,
    Receive,
    LoseMessage,
    LoseReceipt,
    RepeatReceipt,
    Hear,
    Wait(u64),
    Seal(u64, bool, bool),
    Evict(u64, bool),
    Lose,
    Restart,
    Copy,
    RestoreBuffer,
    RestoreGateway,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Connect),
        1 => Just(Step::Cut),
        6 => Just(Step::Arrive),
        6 => Just(Step::Receive),
        1 => Just(Step::LoseReceipt),
        1 => Just(Step::RepeatReceipt),
        1 => Just(Step::Hear),
        2 => (0_u64..2_000).prop_map(Step::Wait),
        4 => (1_u64..8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(n, live, new)| Step::Seal(n, live, new)),
        1 => (1_u64..9, any::<bool>()).prop_map(|(n, scattered)| Step::Evict(n, scattered)),
        1 => Just(Step::Lose),
        1 => Just(Step::Restart),
    ]
}

/// Also what no honest device, no well-kept gateway and no connection in order does.
fn any_step_or_worse() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => any_step(),
        1 => Just(Step::LoseMessage),
        1 => Just(Step::Copy),
        1 => Just(Step::RestoreBuffer),
        1 => Just(Step::RestoreGateway),
    ]
}

fn perform(world: &mut World, step: &Step) {
    match step {
        Step::Connect => world.connect(),
        Step::Cut => {
            if world.connected {
                world.cut();
                world.tell(Event::Lost);
            }
        }
        Step::Arrive => world.arrive(),
        Step::Receive => world.receive(),
        Step::LoseMessage => drop(world.under_way.pop_front()),
        Step::LoseReceipt => drop(world.answers.pop_front()),
        Step::RepeatReceipt => {
            // Only what adds may come again: a nonce's receipt belongs to its hello.
            let again = world.answers.iter().find(|receipt| receipt.nonce.is_none()).cloned();
            world.answers.extend(again);
        }
        Step::Hear => world.tell(Event::Heard),
        Step::Wait(seconds) => {
            let until = world.now + Duration::from_secs(*seconds);
            while world.session.deadline() <= until && world.connected {
                world.now = world.now.max(world.session.deadline());
                world.session.handle_deadline(world.now);
                world.obey();
            }
            world.now = until;
        }
        Step::Seal(count, live, new) => {
            world.seal(*count, if *live { Lane::Live } else { Lane::Backfill }, *new);
        }
        Step::Evict(count, scattered) => {
            // As of low priority among others, or simply the oldest. The newest stays.
            let rows = world.buffer.held.iter().flat_map(|range| range.first..=range.last);
            let rows = rows.step_by(if *scattered { 2 } else { 1 }).take(usize::try_from(*count).unwrap());
            let rows: Ranges = rows.filter(|row| row + 1 < world.buffer.next_row).map(Range::one).collect();
            world.evict(&rows);
        }
        Step::Lose => {
            let (rows, began) = world.next_rows(1, false);
            world.buffer.gaps.insert(rows);
            world.tell(Event::Gaps { rows: [rows].into_iter().collect(), began });
        }
        Step::Restart => world.restart(world.buffer.clone()),
        Step::Copy => world.copies.push(world.buffer.clone()),
        Step::RestoreBuffer => {
            if let Some(copy) = world.copies.first().cloned() {
                world.restart(copy);
                world.seal(1, Lane::Live, true); // each start has an epoch of its own
            }
        }
        Step::RestoreGateway => {
            for stored in world.stored.values_mut() {
                let last = stored.iter().next_back();
                if let Some(last) = last {
                    stored.remove(last);
                }
            }
            // A restored gateway is a restarted one.
            if world.connected {
                world.cut();
                world.tell(Event::Lost);
            }
        }
    }
}

/// All that is held is stored and marked, and all that is gone is known to be gone.
fn check_settled(world: &mut World, steps: &[Step]) -> Result<(), TestCaseError> {
    // One more connection, so that a restored gateway is asked.
    perform(world, &Step::Cut);
    world.settle_down();
    let stored = world.stored_rows();
    for held in world.buffer.held.iter() {
        prop_assert!(stored.missing_in(held).is_empty(), "held {held:?}, stored {stored:?}, {steps:?}");
        prop_assert!(world.buffer.marked.missing_in(held).is_empty(), "held {held:?}, {:?}", world.buffer.marked);
    }
    prop_assert!(world.buffer.gaps.is_empty(), "gaps that nobody confirmed: {:?}", world.buffer.gaps);
    prop_assert!(world.buffer.aside.is_empty(), "nothing is wrong with any batch: {:?}", world.buffer.aside);
    let told = world.rows_of(&world.gaps);
    for held in world.buffer.held.iter() {
        prop_assert!(told.within(held).next().is_none(), "held and stored, and yet a gap: {told:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_all_that_is_held_gets_stored_once_the_network_works(
        backlog in 0_u64..60,
        steps in prop::collection::vec(any_step_or_worse(), 0..120),
    ) {
        let mut world = World::new(backlog);
        world.obey();
        for step in &steps {
            perform(&mut world, step);
        }
        check_settled(&mut world, &steps)?;
    }

    #[test]
    fn an_honest_device_leaves_nothing_unexplained(
        backlog in 0_u64..400,
        steps in prop::collection::vec(any_step(), 0..120),
    ) {
        let mut world = World::new(backlog);
        world.obey();
        for step in &steps {
            perform(&mut world, step);
            prop_assert!(world.unexplained.is_empty(), "{:?} after {step:?}", world.unexplained);
        }
        check_settled(&mut world, &steps)?;
        prop_assert!(world.unexplained.is_empty() && world.owned_up.is_empty(), "{:?}", world.unexplained);
    }
}

#[test]
fn nothing_is_sent_before_the_gateway_has_said_what_it_has_and_then_only_what_it_lacks() {
    let mut world = World::new(20);
    world
        .stored
        .insert(span(1, 0).epoch.0, [Range::new(1, 7).unwrap(), Range::new(11, 18).unwrap()].into_iter().collect());
    world.connect();
    assert!(world.published.is_empty());
    world.settle_down();
    let sent: Ranges = world.published.iter().map(|(_, rows)| *rows).collect();
    assert_eq!(sent.as_slice(), [Range::new(8, 10).unwrap(), Range::new(19, 20).unwrap()]);
    assert_eq!(world.published.iter().map(|(_, rows)| rows.count()).sum::<u64>(), 5, "each once");
}

#[test]
fn live_batches_pass_a_long_backlog_newest_first_and_the_backlog_still_moves() {
    let mut world = World::new(1_000);
    world.connect();
    for _ in 0..30 {
        world.seal(1, Lane::Live, false);
        for _ in 0..2 {
            world.arrive();
            world.receive();
        }
    }
    let live =
        world.published.iter().filter(|(lane, _)| *lane == Lane::Live).map(|(_, rows)| rows.count()).sum::<u64>();
    assert!(live >= 25, "{live} of 30 live batches left, {:?}", world.published);
    let backfill: Vec<_> = world.published.iter().filter(|(lane, _)| *lane == Lane::Backfill).collect();
    assert!(backfill.len() >= 10, "{backfill:?}");
    assert!(backfill.windows(2).all(|pair| pair[0].1.last < pair[1].1.first), "oldest first: {backfill:?}");
    world.settle_down();
}

#[test]
fn a_window_that_is_full_waits_and_a_missed_deadline_asks_instead_of_sending_again() {
    let mut world = World::new(1_000);
    world.connect();
    world.arrive();
    world.receive();
    let bytes = |world: &World| world.published.iter().map(|(_, rows)| rows.count() * BATCH_BYTES).sum::<u64>();
    assert_eq!(bytes(&world), 500, "a connection begins small");
    for _ in 0..10 {
        world.arrive();
        world.receive();
    }
    let before = bytes(&world);
    let under_way = before - world.stored_rows().count() * BATCH_BYTES;
    assert!((1_000..=2_000).contains(&under_way), "and grows: {under_way}");
    world.under_way.clear(); // the network swallows them all, silently
    let sent = world.published.len();
    let asked = world.last_nonce;
    perform(&mut world, &Step::Wait(11));
    assert_ne!(world.last_nonce, asked, "a hello went out");
    assert_eq!(world.published.len(), sent, "and nothing else");
    world.settle_down();
}

#[test]
fn a_refused_batch_is_set_aside_with_an_alarm_and_the_queue_moves_on() {
    let mut world = World::new(50);
    world.refuses = vec![(17, Refusal::Conflict)];
    world.connect();
    world.settle_down();
    assert_eq!(world.alarms, 1);
    assert!(!world.buffer.marked.contains(17), "it stays in the buffer as unsettled");
    assert_eq!(world.buffer.marked.missing_in(Range::new(1, 50).unwrap()).as_slice(), [Range::one(17)], "and only it");
}

#[test]
fn what_is_set_aside_stays_so_over_a_restart() {
    let mut world = World::new(20);
    world.refuses = vec![(17, Refusal::Conflict)];
    world.connect();
    world.settle_down();
    assert_eq!(world.buffer.aside.as_slice(), [Range::one(17)]);
    world.published.clear();
    perform(&mut world, &Step::Restart);
    world.settle_down();
    assert!(world.published.is_empty(), "{:?}", world.published);
}

#[test]
fn gaps_are_told_before_the_hello_that_lacks_them_and_until_a_receipt_confirms_them() {
    let mut world = World::new(60);
    let scattered: Ranges = (1..60).step_by(3).map(Range::one).collect();
    world.evict(&scattered);
    world.connect();
    let gaps = world.under_way.iter().take_while(|up| matches!(up, Up::Gaps(_))).count();
    assert_eq!((gaps, world.under_way.len()), (7, 8), "20 gaps, three a notice, and then hello");
    perform(&mut world, &Step::Cut); // all of it is lost
    assert_eq!(world.buffer.gaps, scattered, "nothing is confirmed");
    world.settle_down();
    assert!(world.buffer.gaps.is_empty() && world.unexplained.is_empty(), "{:?}", world.unexplained);
    // While connected: at once, without waiting for the next hello.
    let more: Ranges = [Range::one(world.buffer.next_row - 2)].into_iter().collect();
    world.buffer.marked.remove(Range::one(world.buffer.next_row - 2));
    world.evict(&more);
    assert!(matches!(world.under_way.back(), Some(Up::Gaps(_))), "{:?}", world.under_way);
}

#[test]
fn many_scattered_gaps_go_out_in_bounded_bursts_and_a_gateway_that_confirms_none_does_not_block_the_hello() {
    let scattered: Ranges = (1..400).step_by(2).map(Range::one).collect();
    let mut world = World::new(401);
    world.evict(&scattered);
    world.connect();
    assert_eq!(world.under_way.len(), 16, "then it waits for receipts");
    let mut ticks = 0;
    while !world.under_way.iter().any(|up| matches!(up, Up::Hello(_))) {
        world.under_way.clear(); // the gateway makes nothing of them
        world.tell(Event::Heard);
        world.now = world.session.deadline();
        world.session.handle_deadline(world.now);
        world.obey();
        ticks += 1;
        assert!(ticks < 50 && world.connected);
    }
    world.settle_down();
    assert!(world.buffer.gaps.is_empty());
}

#[test]
fn an_agent_with_many_epochs_says_hello_in_parts_and_a_new_epoch_is_a_part_of_its_own() {
    let epochs: Vec<EpochSpan> = (1..=150).map(|index| span(index, (index - 1) * 2)).collect();
    let held: Ranges = Range::new(1, 300).into_iter().collect();
    let mut world = World::with(Buffer { held, epochs, next_row: 301, ..Buffer::default() }, PACE);
    world.connect();
    let mut named = Vec::new();
    while let Some(Up::Hello(hello)) = world.under_way.front() {
        assert!(world.published.is_empty(), "nothing is sent before all of it is answered");
        named.push(hello.epochs.len());
        world.arrive();
        while !world.answers.is_empty() {
            world.receive();
        }
    }
    assert_eq!(named, [64, 64, 22]);
    world.settle_down();
    assert!(world.unexplained.is_empty());
    world.seal(1, Lane::Live, true);
    assert!(matches!(world.under_way.front(), Some(Up::Hello(hello)) if hello.epochs.len() == 1));
    world.settle_down();
}

#[test]
fn what_a_hello_cannot_name_and_neither_end_has_is_owned_up_to() {
    // Every second batch was settled and let go of; then the gateway forgot half of them.
    let mut world = World::new(400);
    world.connect();
    world.settle_down();
    let gone: Ranges = (2..400).step_by(2).map(Range::one).collect();
    world.evict(&gone);
    let forgotten: Vec<u64> = vec![10, 20, 398];
    for number in &forgotten {
        world.stored.get_mut(&span(1, 0).epoch.0).unwrap().remove(Range::one(*number));
    }
    perform(&mut world, &Step::Cut);
    world.settle_down();
    perform(&mut world, &Step::Wait(0));
    world.arrive();
    let mut known: Ranges = world.owned_up.clone();
    known.extend(world.unexplained.iter().map(|(_, number)| Range::one(*number)));
    assert_eq!(known, forgotten.into_iter().map(Range::one).collect());
    assert!(!world.owned_up.is_empty() && !world.unexplained.is_empty(), "the oldest by us, the newest by the gateway");
    perform(&mut world, &Step::Cut);
    world.owned_up = Ranges::new();
    world.settle_down();
    assert!(world.owned_up.is_empty(), "once is enough");
}

#[test]
fn a_batch_that_connections_die_of_is_found_and_set_aside_and_all_others_arrive() {
    let mut world = World::new(60);
    world.dies_of = Some(23);
    let mut rounds = 0;
    while !world.buffer.aside.contains(23) {
        rounds += 1;
        assert!(rounds < 3_000, "{:?}", world.session);
        world.connect();
        if rounds % 20 == 0 {
            world.seal(1, Lane::Live, false); // others have to pass for any to be blamed
        }
        world.arrive();
        world.receive();
        if rounds == 400 {
            let lacking = world.stored_rows().missing_in(Range::new(1, 60).unwrap());
            assert!(lacking.count() <= 5, "the others have long passed: {lacking:?}");
        }
    }
    world.settle_down();
    assert_eq!(world.buffer.aside.as_slice(), [Range::one(23)]);
    assert_eq!(world.stored_rows().missing_in(Range::new(1, 60).unwrap()).as_slice(), [Range::one(23)]);
}

#[test]
fn a_link_that_dies_under_every_frame_sets_nothing_aside() {
    let mut world = World::new(60);
    for _ in 0..200 {
        world.connect();
        world.arrive();
        world.receive();
        assert!(world.connected && !world.published.is_empty());
        perform(&mut world, &Step::Cut);
    }
    assert!(world.buffer.aside.is_empty());
    world.settle_down();
}

#[test]
fn a_frame_that_the_gateway_makes_nothing_of_is_not_sent_over_and_over() {
    let mut world = World::new(40);
    world.cannot_read = Some(7);
    world.connect();
    for _ in 0..10_000 {
        world.arrive();
        world.receive();
        if world.under_way.is_empty() && world.answers.is_empty() {
            world.now = world.now.max(world.session.deadline().min(world.now + Duration::from_secs(10)));
            world.tell(Event::Heard); // a PUBACK, or the answer to a ping
            world.session.handle_deadline(world.now);
            world.obey();
        }
    }
    assert_eq!(world.stored_rows().missing_in(Range::new(1, 40).unwrap()).as_slice(), [Range::one(7)]);
    let hours = world.now.duration_since(world.published_at[0]).as_secs_f64() / 3_600.0;
    let times = world.published.iter().filter(|(_, rows)| rows.contains(7)).count();
    assert!(hours > 10.0 && (times as f64) < 15.0 + hours * 4.0 * 3.0, "{times} times in {hours} hours");
    world.cannot_read = None;
    world.settle_down();
}

#[test]
fn a_link_that_is_silent_with_frames_under_way_is_hung_up_within_one_and_a_half_keep_alives() {
    let mut world = World::new(1_000);
    world.connect();
    world.arrive();
    world.receive();
    let silent_since = world.now;
    for second in 0..60 {
        world.under_way.clear(); // a cut without a word
        world.now = silent_since + Duration::from_secs(second);
        world.session.handle_deadline(world.now);
        world.obey();
        if !world.connected {
            break;
        }
        world.seal(1, Lane::Live, false);
    }
    let took = world.now - silent_since;
    assert!(!world.connected && took <= Duration::from_secs(46), "{took:?}");
    world.settle_down();
}

#[test]
fn a_gateway_that_lives_but_confirms_nothing_for_long_is_asked_and_not_hung_up_on() {
    let mut world = World::new(10);
    world.connect();
    world.arrive();
    world.receive();
    for _ in 0..600 {
        world.now += Duration::from_secs(10);
        world.tell(Event::Heard); // it answers pings
        world.session.handle_deadline(world.now);
        world.obey();
        world.under_way.retain(|up| matches!(up, Up::Hello(_)));
        world.arrive();
        while !world.answers.is_empty() {
            world.receive();
        }
    }
    assert_eq!(world.hang_ups, 0);
    assert!(world.published.len() < 60, "{}", world.published.len());
    world.settle_down();
}

#[test]
fn a_frame_that_takes_a_minute_to_leave_is_neither_dead_nor_late() {
    let mut world = World::new(10);
    world.connect();
    world.arrive();
    world.receive();
    world.tell(Event::Leaving);
    for _ in 0..80 {
        world.now += Duration::from_secs(1);
        world.session.handle_deadline(world.now);
        world.obey();
    }
    world.tell(Event::Left);
    assert!(world.connected);
    assert_eq!(world.under_way.len(), 1, "no hello was queued behind it: {:?}", world.under_way);
    world.arrive();
    world.receive();
    world.settle_down();
}

#[test]
fn under_a_rate_limit_live_and_backfill_take_turns() {
    let pace = Pace { publishes_per_s_max: 10, ..PACE };
    let held: Ranges = Range::new(1, 5_000).into_iter().collect();
    let buffer = Buffer { held, epochs: vec![span(1, 0)], next_row: 5_001, ..Buffer::default() };
    let mut world = World::with(buffer, pace);
    world.connect();
    let start = world.now;
    let mut seal_at = start;
    while world.now < start + Duration::from_secs(60) {
        world.now = world.now.max(world.session.deadline()).min(world.now + Duration::from_millis(20));
        world.session.handle_deadline(world.now);
        world.obey();
        if world.now >= seal_at {
            world.seal(1, Lane::Live, false); // more than the limit takes if each went by itself
            seal_at += Duration::from_millis(100);
        }
        while !world.under_way.is_empty() || !world.answers.is_empty() {
            world.arrive();
            world.receive();
        }
    }
    let in_second = |second: u64| {
        let from = start + Duration::from_secs(second);
        world.published_at.iter().filter(|at| **at >= from && **at < from + Duration::from_secs(1)).count()
    };
    assert!((0..60).all(|second| in_second(second) <= 10));
    let [live, backfill] =
        [Lane::Live, Lane::Backfill].map(|of| world.published.iter().filter(|(lane, _)| *lane == of).count());
    assert!(live.abs_diff(backfill) <= 3 + live / 10, "{live} live, {backfill} backfill");
    assert!(
        live + backfill > 60 * 4,
        "with as many receipts, that is nearly all that the limit allows: {live} {backfill}"
    );
}

#[test]
fn batches_that_are_refused_for_now_delay_nobody_and_are_tried_again_with_the_next_hello() {
    let mut world = World::new(500);
    world.refuses = (1..60).step_by(2).map(|number| (number, Refusal::QuarantineFull)).collect();
    world.connect();
    for _ in 0..2_000 {
        world.arrive();
        world.receive();
    }
    let lacking = |world: &World| world.stored_rows().missing_in(Range::new(1, 500).unwrap()).count();
    assert_eq!(lacking(&world), 30, "all others are there");
    assert!(world.published.len() < 400, "and nothing was sent over and over: {}", world.published.len());
    world.refuses.clear();
    perform(&mut world, &Step::Wait(901));
    world.settle_down();
    assert_eq!(lacking(&world), 0);
}

#[test]
fn a_hello_that_nobody_answers_ends_the_connection() {
    let mut world = World::new(5);
    world.connect();
    world.under_way.clear();
    world.now = world.session.deadline();
    world.session.handle_deadline(world.now);
    world.obey();
    assert!(!world.connected, "hung up");
    world.settle_down();
}
