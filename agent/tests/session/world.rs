//! A device and a gateway of a few lines, with a network between them that does what networks do, in invented time.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use proto::message::{
    HELLO_EPOCHS_MAX, HELLO_RANGES_MAX, Held, Hello, NOTICE_ITEMS_MAX, Receipt, Refusal, Refused, Settled, Settlement,
};
use proto::{BodyHash, BootId, Epoch, Lane, Nonce, Range, Ranges};
use tributary_agent::buffer::{Contents, EpochSpan};
use tributary_agent::uplink::Pace;
use tributary_agent::uplink::session::{Command, Event, Session};

pub(crate) const PACE: Pace = Pace {
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
pub(crate) const BATCH_BYTES: u64 = 100;

/// Gaps that this world's buffer puts into one notice.
pub(crate) const NOTICE_GAPS: usize = 3;

/// What travels to the gateway.
#[derive(Debug)]
pub(crate) enum Up {
    Hello(Hello),
    Frame(Epoch, Range),
    Gaps(Vec<(Epoch, Range)>),
}

/// A device and a gateway with a network between them.
pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) connected: bool,
    pub(crate) buffer: Buffer,
    /// Copies of the buffer, as someone might have made them.
    pub(crate) copies: Vec<Buffer>,
    pub(crate) epochs_ever: u64,
    pub(crate) starts: u64,
    pub(crate) under_way: VecDeque<Up>,
    pub(crate) answers: VecDeque<Receipt>,
    pub(crate) stored: BTreeMap<[u8; 8], Ranges>,
    pub(crate) gaps: BTreeMap<[u8; 8], Ranges>,
    /// What the gateway found missing, without a word from the device.
    pub(crate) unexplained: Vec<(Epoch, u64)>,
    /// The next number of each epoch, as hellos said, and how often one went back: as if the buffer had been copied.
    pub(crate) nexts: BTreeMap<[u8; 8], u64>,
    pub(crate) went_back: usize,
    /// Numbers that the device named as gaps since the gateway was restored last.
    pub(crate) named: BTreeMap<[u8; 8], Ranges>,
    /// What the device said that nobody can explain.
    pub(crate) owned_up: Ranges,
    /// When it said so.
    pub(crate) owned_up_at: Vec<Instant>,
    /// Numbers of the first epoch that the gateway refuses, and why.
    pub(crate) refuses: Vec<(u64, Refusal)>,
    /// The connection dies of a frame with this number of the first epoch.
    pub(crate) dies_of: Option<u64>,
    /// The gateway makes nothing of a frame with this number of the first epoch.
    pub(crate) cannot_read: Option<u64>,
    pub(crate) published: Vec<(Lane, Range)>,
    pub(crate) published_at: Vec<Instant>,
    /// When notices of gaps went out.
    pub(crate) told_at: Vec<Instant>,
    pub(crate) first_nonce: Option<Nonce>,
    pub(crate) last_nonce: Option<Nonce>,
    pub(crate) alarms: usize,
    pub(crate) hang_ups: usize,
}

/// What a buffer would hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) held: Ranges,
    pub(crate) epochs: Vec<EpochSpan>,
    pub(crate) marked: Ranges,
    pub(crate) gaps: Ranges,
    /// Gaps that a receipt has confirmed.
    pub(crate) confirmed: Ranges,
    pub(crate) aside: Ranges,
    pub(crate) next_row: u64,
}

impl Buffer {
    pub(crate) fn contents(&self) -> Contents {
        Contents {
            held: self.held.clone(),
            settled: self.marked.clone(),
            gaps: self.gaps.clone(),
            aside: self.aside.clone(),
            epochs: self.epochs.clone(),
            next_row: self.next_row,
        }
    }

    pub(crate) fn span(&self, row: u64) -> EpochSpan {
        *self.epochs.iter().rfind(|span| span.base < row).unwrap()
    }

    /// Its gaps of `within` as numbers, cut where epochs end.
    pub(crate) fn gaps(&self, within: Range) -> Vec<(Epoch, Range)> {
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

pub(crate) fn span(index: u64, base: u64) -> EpochSpan {
    let mut epoch = [0; 8];
    epoch[..2].copy_from_slice(&u16::try_from(index).unwrap().to_le_bytes());
    EpochSpan { epoch: Epoch(epoch), base, boot: BootId([1; 8]) }
}

impl World {
    /// A device that holds rows 1 to `backlog` of an earlier epoch.
    pub(crate) fn new(backlog: u64) -> Self {
        let held: Ranges = Range::new(1, backlog).into_iter().collect();
        let epochs = if backlog > 0 { vec![span(1, 0)] } else { vec![] };
        Self::with(Buffer { held, epochs, next_row: backlog + 1, ..Buffer::default() }, PACE)
    }

    pub(crate) fn with(buffer: Buffer, pace: Pace) -> Self {
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
            nexts: BTreeMap::new(),
            went_back: 0,
            named: BTreeMap::new(),
            owned_up: Ranges::new(),
            owned_up_at: Vec::new(),
            refuses: Vec::new(),
            dies_of: None,
            cannot_read: None,
            published: Vec::new(),
            published_at: Vec::new(),
            told_at: Vec::new(),
            first_nonce: None,
            last_nonce: None,
            alarms: 0,
            hang_ups: 0,
        }
    }

    /// The agent starts anew, over `buffer`.
    pub(crate) fn restart(&mut self, buffer: Buffer) {
        self.cut();
        self.starts += 1;
        self.session = Session::new(PACE, &buffer.contents(), self.starts, self.now);
        self.buffer = buffer;
        self.obey();
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.session.handle(event, self.now);
        self.obey();
    }

    pub(crate) fn obey(&mut self) {
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
                    assert!(self.connected && numbers.iter().count() <= NOTICE_ITEMS_MAX);
                    self.owned_up_at.push(self.now);
                    self.owned_up.extend(numbers.iter());
                    self.under_way.push_back(Up::Gaps(numbers.iter().map(|numbers| (epoch, numbers)).collect()));
                }
                Command::Publish { within, lane, bytes_max } => self.publish(within, lane, bytes_max),
                Command::Mark(rows) => {
                    for rows in rows.iter() {
                        let confirmed: Vec<Range> = self.buffer.gaps.within(rows).collect();
                        self.buffer.confirmed.extend(confirmed);
                        self.buffer.gaps.remove(rows);
                        let held: Vec<Range> = self.buffer.held.within(rows).collect();
                        self.buffer.marked.extend(held);
                    }
                }
                Command::Unmark(rows) => {
                    rows.iter().for_each(|rows| self.buffer.marked.remove(rows));
                    let confirmed = std::mem::take(&mut self.buffer.confirmed);
                    self.buffer.gaps.extend(confirmed.iter());
                    let rows = self.buffer.gaps.clone();
                    self.session.handle(Event::Gaps { rows, began: None }, self.now);
                }
                Command::SetAside { rows, .. } => self.buffer.aside.insert(rows),
                Command::Alarm { .. } => self.alarms += 1,
            }
        }
    }

    pub(crate) fn say_hello(&mut self, hello: Hello) {
        assert!(self.connected && hello.epochs.len() <= HELLO_EPOCHS_MAX);
        assert_ne!(self.last_nonce, Some(hello.nonce), "each hello has a nonce of its own");
        self.first_nonce = self.first_nonce.or(Some(hello.nonce));
        self.last_nonce = Some(hello.nonce);
        self.under_way.push_back(Up::Hello(hello));
    }

    pub(crate) fn tell_gaps(&mut self, within: Range) {
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
            self.told_at.push(self.now);
            self.under_way.push_back(Up::Gaps(gaps));
        }
        self.session.handle(Event::Told { rows, sent }, self.now);
    }

    pub(crate) fn publish(&mut self, within: Range, lane: Lane, bytes_max: usize) {
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

    pub(crate) fn connect(&mut self) {
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
    pub(crate) fn cut(&mut self) {
        self.connected = false;
        self.under_way.clear();
        self.answers.clear();
    }

    /// Takes the next `count` rows, of a new epoch if there is none yet or it is to be.
    pub(crate) fn next_rows(&mut self, count: u64, new_epoch: bool) -> (Range, Option<EpochSpan>) {
        let first = self.buffer.next_row;
        let began = (new_epoch || self.buffer.epochs.is_empty()).then(|| {
            self.epochs_ever += 1;
            span(self.epochs_ever, first - 1)
        });
        self.buffer.epochs.extend(began);
        self.buffer.next_row = first + count;
        (Range::new(first, first + count - 1).unwrap(), began)
    }

    pub(crate) fn seal(&mut self, count: u64, lane: Lane, new_epoch: bool) {
        let (rows, began) = self.next_rows(count, new_epoch);
        self.buffer.held.insert(rows);
        self.tell(Event::Accepted { rows, lane, began });
    }

    /// The buffer lets go of `rows`; what no receipt covered becomes a gap.
    pub(crate) fn evict(&mut self, rows: &Ranges) {
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

    /// A batch turns out to be damaged: it is a gap, and the session learns it when it asks for the batch.
    pub(crate) fn damage(&mut self, row: u64) {
        if self.buffer.held.contains(row) && !self.buffer.marked.contains(row) {
            self.buffer.held.remove(Range::one(row));
            self.buffer.gaps.insert(Range::one(row));
        }
    }

    /// The gateway takes one message in.
    pub(crate) fn arrive(&mut self) {
        match self.under_way.pop_front() {
            None => {}
            Some(Up::Frame(epoch, numbers)) => self.take_frame(epoch, numbers),
            Some(Up::Gaps(gaps)) => {
                for (epoch, numbers) in gaps {
                    self.named.entry(epoch.0).or_default().insert(numbers);
                    let stored = self.stored.entry(epoch.0).or_default();
                    let gone = stored.missing_in(numbers);
                    self.gaps.entry(epoch.0).or_default().extend(gone.iter());
                    self.answer(epoch, None, vec![]);
                }
            }
            Some(Up::Hello(hello)) => {
                for held in hello.epochs {
                    assert!(held.ranges.len() <= HELLO_RANGES_MAX);
                    let before = self.nexts.insert(held.epoch.0, held.next);
                    self.went_back += usize::from(before.is_some_and(|before| held.next < before));
                    self.look_for_holes(&held);
                    self.answer(held.epoch, Some(hello.nonce), vec![]);
                }
            }
        }
    }

    pub(crate) fn take_frame(&mut self, epoch: Epoch, numbers: Range) {
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
    pub(crate) fn look_for_holes(&mut self, held: &Held) {
        let Some(all) = Range::new(1, held.next - 1) else { return };
        let known = [&self.stored, &self.gaps].map(|of| of.get(&held.epoch.0).cloned().unwrap_or_default());
        let known: Ranges = known.iter().flat_map(Ranges::iter).chain(held.ranges.iter().copied()).collect();
        for missing in known.missing_in(all).iter() {
            self.unexplained.extend((missing.first..=missing.last).map(|number| (held.epoch, number)));
            self.gaps.entry(held.epoch.0).or_default().insert(missing);
        }
    }

    pub(crate) fn answer(&mut self, epoch: Epoch, nonce: Option<Nonce>, refused: Vec<Refused>) {
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

    pub(crate) fn receive(&mut self) {
        if let Some(receipt) = self.answers.pop_front() {
            self.tell(Event::Receipt(receipt));
        }
    }

    /// From here on the network works.
    pub(crate) fn settle_down(&mut self) {
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
    pub(crate) fn stored_rows(&self) -> Ranges {
        self.rows_of(&self.stored)
    }

    pub(crate) fn rows_of(&self, settled: &BTreeMap<[u8; 8], Ranges>) -> Ranges {
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
