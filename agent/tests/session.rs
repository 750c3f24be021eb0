//! The session against a gateway of a few lines, over a network that does what networks do, in invented time.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proto::message::{Hello, Receipt, Refusal, Refused, Settled, Settlement};
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
};
/// Bytes of every batch here.
const BATCH_BYTES: u64 = 100;

/// What travels to the gateway.
#[derive(Debug)]
enum Up {
    Hello(Hello),
    Frame(Epoch, Range),
}

/// A device and a gateway with a network between them.
struct World {
    session: Session,
    now: Instant,
    connected: bool,
    held: Ranges,
    epochs: Vec<EpochSpan>,
    marked: Ranges,
    under_way: VecDeque<Up>,
    answers: VecDeque<Receipt>,
    stored: BTreeMap<[u8; 8], Ranges>,
    /// Numbers of the first epoch that the gateway refuses, and why.
    refuses: Vec<(u64, Refusal)>,
    published: Vec<(Lane, Range)>,
    last_nonce: Option<Nonce>,
    alarms: usize,
}

fn span(index: u8, base: u64) -> EpochSpan {
    EpochSpan { epoch: Epoch([index; 8]), base, boot: BootId([1; 8]) }
}

impl World {
    /// A device that holds rows 1 to `backlog` of an earlier epoch.
    fn new(backlog: u64) -> Self {
        let held: Ranges = Range::new(1, backlog).into_iter().collect();
        let epochs = if backlog > 0 { vec![span(1, 0)] } else { vec![] };
        let contents = Contents { held: held.clone(), epochs: epochs.clone(), ..Contents::default() };
        let now = Instant::now();
        Self {
            session: Session::new(PACE, &contents, 7, now),
            now,
            connected: false,
            held,
            epochs,
            marked: Ranges::new(),
            under_way: VecDeque::new(),
            answers: VecDeque::new(),
            stored: BTreeMap::new(),
            refuses: Vec::new(),
            published: Vec::new(),
            last_nonce: None,
            alarms: 0,
        }
    }

    fn tell(&mut self, event: Event) {
        self.session.handle(event, self.now);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(command) = self.session.next_command() {
            match command {
                Command::Dial => assert!(!self.connected, "dialled while connected"),
                Command::HangUp => self.cut(),
                Command::Hello(hello) => {
                    assert_ne!(self.last_nonce, Some(hello.nonce), "each hello has a nonce of its own");
                    self.last_nonce = Some(hello.nonce);
                    self.under_way.push_back(Up::Hello(hello));
                }
                Command::Publish { within, lane, bytes_max } => self.publish(within, lane, bytes_max),
                Command::Mark(rows) => self.marked.extend(rows.iter()),
                Command::Unmark(rows) => rows.iter().for_each(|rows| self.marked.remove(rows)),
                Command::Alarm { .. } => self.alarms += 1,
            }
        }
    }

    fn publish(&mut self, within: Range, lane: Lane, bytes_max: usize) {
        let count = (bytes_max as u64 / BATCH_BYTES).max(1);
        let Some(held) =
            (if lane == Lane::Live { self.held.within(within).next_back() } else { self.held.within(within).next() })
        else {
            return self.session.handle(Event::NotThere(within), self.now);
        };
        let rows = match lane {
            Lane::Live => Range { first: held.first.max((held.last + 1).saturating_sub(count)), last: held.last },
            Lane::Backfill => Range { first: held.first, last: held.last.min(held.first + count - 1) },
        };
        assert!(rows.first >= within.first && rows.last <= within.last);
        let span = *self.epochs.iter().rfind(|span| span.base < rows.first).unwrap();
        let next_base = self.epochs.iter().map(|other| other.base).filter(|base| *base > span.base).min();
        assert!(next_base.is_none_or(|base| rows.last <= base), "a frame is of one epoch");
        self.published.push((lane, rows));
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

    fn seal(&mut self, count: u64, lane: Lane, new_epoch: bool) {
        let first = self.held.last().unwrap_or(0).max(self.epochs.last().map_or(0, |span| span.base)) + 1;
        let began = (new_epoch || self.epochs.is_empty())
            .then(|| span(u8::try_from(self.epochs.len()).unwrap() + 1, first - 1));
        self.epochs.extend(began);
        let rows = Range::new(first, first + count - 1).unwrap();
        self.held.insert(rows);
        self.tell(Event::Accepted { rows, lane, began });
    }

    /// The gateway takes one message in.
    fn arrive(&mut self) {
        match self.under_way.pop_front() {
            None => {}
            Some(Up::Frame(epoch, numbers)) => {
                let of_it = |(number, _): &&(u64, Refusal)| epoch.0[0] == 1 && numbers.contains(*number);
                let refused: Vec<Refused> = self
                    .refuses
                    .iter()
                    .filter(of_it)
                    .map(|(number, reason)| Refused { number: *number, hash: BodyHash([0; 16]), reason: *reason })
                    .collect();
                // As the real one: the number of a conflict is settled, by the other body.
                let stored = self.stored.entry(epoch.0).or_default();
                stored.insert(numbers);
                for refused in refused.iter().filter(|refused| refused.reason == Refusal::QuarantineFull) {
                    stored.remove(Range::one(refused.number));
                }
                self.answer(epoch, None, refused);
            }
            Some(Up::Hello(hello)) => {
                for held in hello.epochs {
                    self.answer(held.epoch, Some(hello.nonce), vec![]);
                }
            }
        }
    }

    fn answer(&mut self, epoch: Epoch, nonce: Option<Nonce>, refused: Vec<Refused>) {
        let ranges = self.stored.get(&epoch.0).cloned().unwrap_or_default();
        let ranges: Vec<Settled> = ranges.iter().map(|range| Settled { range, state: Settlement::Stored }).collect();
        // In pieces, as a gateway with many ranges would.
        let pieces: Vec<&[Settled]> = if ranges.is_empty() { vec![&[]] } else { ranges.chunks(2).collect() };
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
            if self.session.unsettled() == 0 {
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
        let rows = |span: &EpochSpan| {
            let base = span.base;
            self.stored.get(&span.epoch.0).into_iter().flat_map(move |stored| {
                stored.iter().map(move |range| Range { first: range.first + base, last: range.last + base })
            })
        };
        self.epochs.iter().flat_map(rows).collect()
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
    Wait(u64),
    Seal(u64, bool, bool),
    Evict,
    RestoreGateway,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Connect),
        1 => Just(Step::Cut),
        6 => Just(Step::Arrive),
        6 => Just(Step::Receive),
        1 => Just(Step::LoseMessage),
        1 => Just(Step::LoseReceipt),
        1 => Just(Step::RepeatReceipt),
        2 => (0_u64..2_000).prop_map(Step::Wait),
        4 => (1_u64..8, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(n, live, new)| Step::Seal(n, live, new)),
        1 => Just(Step::Evict),
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
        Step::Evict => {
            let newest = world.held.last();
            let oldest = world.held.iter().next();
            if let Some(oldest) = oldest.filter(|oldest| Some(oldest.last) != newest) {
                let gone = Range { first: oldest.first, last: oldest.last.min(oldest.first + 2) };
                world.held.remove(gone);
                world.marked.remove(gone);
                world.tell(Event::Evicted([gone].into_iter().collect()));
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_happens_all_that_is_held_gets_stored_once_the_network_works(
        backlog in 0_u64..60,
        steps in prop::collection::vec(any_step(), 0..120),
    ) {
        let mut world = World::new(backlog);
        world.obey();
        for step in &steps {
            perform(&mut world, step);
        }
        // One more connection, so that a restored gateway is asked.
        perform(&mut world, &Step::Cut);
        world.settle_down();
        let stored = world.stored_rows();
        for held in world.held.iter() {
            prop_assert!(stored.missing_in(held).is_empty(), "held {held:?}, stored {stored:?}");
            prop_assert!(world.marked.missing_in(held).is_empty(), "held {held:?}, marked {:?}", world.marked);
        }
    }
}

#[test]
fn nothing_is_sent_before_the_gateway_has_said_what_it_has_and_then_only_what_it_lacks() {
    let mut world = World::new(20);
    world.stored.insert([1; 8], [Range::new(1, 7).unwrap(), Range::new(11, 18).unwrap()].into_iter().collect());
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
    let bytes: u64 = world.published.iter().map(|(_, rows)| rows.count() * BATCH_BYTES).sum();
    assert!((1_000..=2_000).contains(&bytes), "{bytes}");
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
    assert!(!world.marked.contains(17), "it stays in the buffer as unsettled");
    assert_eq!(world.marked.missing_in(Range::new(1, 50).unwrap()).as_slice(), [Range::one(17)], "and only it");
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
