//! A conversation with a meter: ask, wait, ask again what was not answered, hand over what is new.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::memory::{Memory, Meter};
use super::record::{Record, Sheet};
use crate::source::device::{Codec, Now, Out};

/// How often a question is asked before the meter is left alone for a while.
const TRIES_MAX: u32 = 3;
/// How long must nothing come before a question is repeated, so that what was under way is not taken for the answer.
const HUSH: Duration = Duration::from_millis(300);
/// Records of one commit: each becomes at most three readings.
const RECORDS_A_COMMIT: usize = 1_000;
/// Records of one meter: the largest known holds 2 000.
pub(super) const RECORDS_MAX: usize = 10_000;

/// What one kind of meter says and understands. It sees no clock; the session does.
pub(super) trait Protocol: Send {
    /// The first question. What was half read is to be forgotten.
    fn begin(&mut self) -> Step;

    /// Bytes came from the meter, in whatever pieces.
    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step;

    /// The last question is about to be repeated: what was half read of its answer is to be forgotten.
    fn again(&mut self) {}
}

/// What a protocol wants next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More of the answer.
    More,
    /// To wait until the meter speaks by itself, however long that takes.
    #[expect(dead_code, reason = "of a meter that is to come")]
    Listen,
    /// To ask this, and have an answer begin within that time and go on without longer pauses.
    Ask(Vec<u8>, Duration),
    /// To send this, as the device awaits it, and go on waiting for the answer.
    Tell(Vec<u8>),
    /// Nothing more: all is harvested. The bytes are a farewell, mostly none.
    Done(Vec<u8>),
    /// To ask again: the answer makes no sense, for this reason. The bytes are it, or its beginning.
    Bad(&'static str, Vec<u8>),
}

/// What was read of a meter in this conversation.
#[derive(Debug, Default)]
pub(super) struct Harvest {
    memory: Memory,
    meter: Meter,
    /// How many records the meter holds.
    count: usize,
    ids: Vec<u64>,
    /// Newest first.
    records: Vec<Record>,
}

impl Harvest {
    /// Says which meter it is and how many records it holds, before the first record.
    pub(super) fn of(&mut self, serial: &[u8], count: usize) {
        let memory = std::mem::take(&mut self.memory);
        *self = Self { meter: memory.of(serial), count, memory, ids: Vec::new(), records: Vec::new() };
    }

    /// The next older record; whether all that are older still are known.
    pub(super) fn add(&mut self, record: Record) -> bool {
        if self.records.len() < RECORDS_MAX {
            self.ids.push(record.id);
            self.records.push(record);
        }
        let met = self.meter.meets(&self.ids, self.count);
        if met {
            self.records.truncate(self.ids.len() - self.meter.known());
        }
        met || self.records.len() == RECORDS_MAX
    }

    /// Records that were read so far.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Hands over what is new, oldest first, each commit with the memory of what was taken up to it.
    fn hand_over(&mut self, sheet: &Sheet, out: &mut Out) {
        let mut count = self.count.max(self.records.len()) - self.records.len();
        let mut left = self.records.len();
        while let Some(record) = self.records.pop() {
            (count, left) = (count + 1, left - 1);
            self.meter.take(record.id, count);
            sheet.write(record, &format!("record {count}"), out);
            if left % RECORDS_A_COMMIT == 0 {
                self.memory.keep(self.meter.clone());
                out.commit(self.memory.encode());
            }
        }
    }
}

/// A meter over time.
pub(super) struct Session {
    protocol: Box<dyn Protocol>,
    sheet: Sheet,
    harvest: Harvest,
    /// From one look for new records to the next.
    every: Duration,
    /// The question that is open, how long its answer may take, and how often it was asked.
    question: (Vec<u8>, Duration, u32),
    phase: Phase,
}

/// What the deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// An answer.
    Asked,
    /// The end of an answer that makes no sense.
    Hushing,
    /// The next look.
    Resting,
}

impl Session {
    pub(super) fn new(protocol: Box<dyn Protocol>, zone: TimeZone, memory: Memory, every: Duration) -> Self {
        let harvest = Harvest { memory, ..Harvest::default() };
        let question = (Vec::new(), HUSH, 0);
        Self { protocol, sheet: Sheet::new(zone), harvest, every, question, phase: Phase::Resting }
    }

    fn follow(&mut self, step: Step, now: Now, out: &mut Out) {
        match step {
            Step::More => out.wake_at(now.after(self.question.1)),
            Step::Listen => {
                self.phase = Phase::Asked;
                out.wake_never();
            }
            Step::Tell(bytes) => {
                out.write(&bytes);
                out.wake_at(now.after(self.question.1));
            }
            Step::Ask(bytes, patience) => {
                out.write(&bytes);
                out.wake_at(now.after(patience));
                (self.question, self.phase) = ((bytes, patience, 1), Phase::Asked);
            }
            Step::Done(farewell) => {
                out.write(&farewell);
                out.well();
                self.harvest.hand_over(&self.sheet, out);
                self.phase = Phase::Resting;
                out.wake_at(now.after(self.every));
            }
            Step::Bad(problem, bytes) => {
                out.reject("answer", problem, &bytes);
                self.phase = Phase::Hushing;
                out.wake_at(now.after(HUSH));
            }
        }
    }

    /// Repeats the open question, or gives up for now.
    fn ask_again(&mut self, now: Now, out: &mut Out) {
        let (question, patience, tries) = &mut self.question;
        if *tries == TRIES_MAX {
            return out
                .hang_up("the meter does not answer as it should; is it connected, switched on, and of this model?");
        }
        *tries += 1;
        self.protocol.again();
        out.write(question);
        out.wake_at(now.after(*patience));
        self.phase = Phase::Asked;
    }

    fn begin(&mut self, now: Now, out: &mut Out) {
        self.harvest.of(b"", 0);
        let step = self.protocol.begin();
        self.follow(step, now, out);
    }
}

impl Codec for Session {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.begin(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        match self.phase {
            Phase::Asked => {
                let step = self.protocol.heard(bytes, &mut self.harvest);
                self.follow(step, now, out);
            }
            Phase::Hushing => out.wake_at(now.after(HUSH)),
            // A meter that speaks unasked has been switched on or plugged in: it is looked at soon, and at most so often.
            Phase::Resting => {}
        }
    }

    fn due(&mut self, now: Now, out: &mut Out) {
        match self.phase {
            Phase::Asked | Phase::Hushing => self.ask_again(now, out),
            Phase::Resting => self.begin(now, out),
        }
    }
}
