//! A conversation with a meter: ask, wait, ask again what was not answered, hand over what is new.

use std::time::Duration;

use jiff::tz::TimeZone;
use proto::Instant;

use super::harvest::Harvest;
use super::memory::Memory;
use super::record::Sheet;
use crate::source::device::{Codec, Now, Out};

/// How often a question is asked before the meter is left alone for a while.
const TRIES_MAX: u32 = 3;
/// How long must nothing come before a question is repeated, so that what was under way is not taken for the answer.
const HUSH: Duration = Duration::from_millis(300);
/// How long something may go on talking that is no answer, or an answer that never ends: another device is at this port. A
/// memory of 500 lines takes half a minute at 9600 baud.
const TALK_MAX: Duration = Duration::from_secs(120);
/// The same of what comes after an answer that makes no sense.
const HUSH_MAX: Duration = Duration::from_secs(10);

/// What one kind of meter says and understands. It sees no clock; the session does.
pub(super) trait Protocol: Send {
    /// The first question. What was half read is to be forgotten.
    fn begin(&mut self) -> Step;

    /// Bytes came from the meter, in whatever pieces.
    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step;

    /// What to ask instead of `question`, which was not answered as it should be. What was half read is to be forgotten.
    fn again(&mut self, question: &[u8]) -> Vec<u8>;

    /// What was half read, which then is forgotten.
    fn half_read(&mut self) -> Vec<u8>;

    /// Whether the meter begins by itself, and is waited for rather than asked.
    fn listens(&self) -> bool {
        false
    }
}

/// What a protocol wants next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More of the answer.
    More,
    /// To wait until the meter speaks by itself, however long that takes.
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
    /// When patience ends, whatever is heard until then; none before something is.
    until: Option<Instant>,
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
        let harvest = Harvest::new(memory);
        let question = (Vec::new(), HUSH, 0);
        Self { protocol, sheet: Sheet::new(zone), harvest, every, question, phase: Phase::Resting, until: None }
    }

    fn follow(&mut self, step: Step, now: Now, out: &mut Out) {
        if step != Step::More {
            self.harvest.noise.tell(out);
            self.until = None;
        }
        match step {
            Step::More => self.wait(self.question.1, TALK_MAX, now, out),
            Step::Listen => {
                (self.question, self.phase) = ((Vec::new(), HUSH, 1), Phase::Asked);
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
            Step::Done(_) if !self.harvest.is_whole() => {
                self.follow(Step::Bad("ends before its last record", Vec::new()), now, out);
            }
            Step::Done(farewell) => {
                out.write(&farewell);
                out.well();
                self.harvest.hand_over(&self.sheet, out);
                if self.protocol.listens() {
                    self.begin(now, out);
                } else {
                    self.phase = Phase::Resting;
                    out.wake_at(now.after(self.every));
                }
            }
            Step::Bad(problem, bytes) => {
                out.reject("answer", problem, &bytes);
                self.phase = Phase::Hushing;
                self.wait(HUSH, HUSH_MAX, now, out);
            }
        }
    }

    /// Waits for a pause of that length in what is heard, and for `most` in all.
    fn wait(&mut self, pause: Duration, most: Duration, now: Now, out: &mut Out) {
        let until = *self.until.get_or_insert(now.after(most));
        out.wake_at(now.after(pause).min(until));
    }

    /// Repeats the open question, or gives up for now.
    fn ask_again(&mut self, now: Now, out: &mut Out) {
        let (question, patience, tries) = &mut self.question;
        if *tries == TRIES_MAX {
            return out
                .hang_up("the meter does not answer as it should; is it connected, switched on, and of this model?");
        }
        *tries += 1;
        self.until = None;
        out.write(&self.protocol.again(question));
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
            Phase::Hushing => self.wait(HUSH, HUSH_MAX, now, out),
            // What a meter says unasked is no answer.
            Phase::Resting => {}
        }
    }

    fn due(&mut self, now: Now, out: &mut Out) {
        match self.phase {
            Phase::Asked | Phase::Hushing => {
                self.harvest.noise.tell(out);
                let broken = self.protocol.half_read();
                if self.phase == Phase::Asked && !broken.is_empty() {
                    out.reject("answer", "broke off", &broken);
                }
                if self.until.is_some_and(|until| until <= now.boot) {
                    out.reject("answer", "never ends; is another device at this port?", &[]);
                }
                self.ask_again(now, out);
            }
            Phase::Resting => self.begin(now, out),
        }
    }
}
