//! A conversation with a receiver: who it is, what its clock shows, and of each kind what is new.

use std::time::Duration;

use proto::Instant;

use super::fields::error_of;
use super::frame::{
    ACK, DISPLAY_TIME_OFFSET, PAGE_RANGE, PAGES, RANGE_BYTES, REFUSED, SYSTEM_TIME, frame, next, range_of, serial_of,
};
use super::memory::{Memory, Receiver};
use super::page::{KINDS, Page, kind};
use super::record::Sheet;
use crate::source::device::{Codec, Noise, Now, Out};

mod fuzz;
mod walk;

pub(super) use fuzz::fuzz;

/// How long an answer may take, and pause.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long something may go on talking that is no answer: another device is at this port.
const TALK_MAX: Duration = Duration::from_secs(20);
/// How long must nothing come before a question is repeated, so that what was under way is not taken for the answer.
const HUSH: Duration = Duration::from_millis(300);
/// How often a question is asked.
const TRIES_MAX: u32 = 3;
/// How often it is hung up on for want of one page, before that page is passed over.
const HANG_UPS_MAX: u32 = 4;
/// By how much the clock's error must change to be told again: it drifts by seconds a week.
const ERROR_STEP_S: u64 = 30;

/// A receiver over time.
pub(super) struct Session {
    memory: Memory,
    receiver: Receiver,
    every: Duration,
    sheet: Sheet,
    buffer: Vec<u8>,
    noise: Noise,
    wants: Wants,
    question: Vec<u8>,
    tries: u32,
    phase: Phase,
    /// Which of [`KINDS`] is being read, and its pages.
    turn: usize,
    range: (u32, u32),
    /// Whether the last record that was taken is still looked for, from the newest page back.
    seeks: bool,
    /// Of each kind, the last page that was told to be unreadable: it is met again as long as it is the newest.
    unreadable: [Option<u32>; KINDS.len()],
    /// The page for want of which it was last hung up on, of which turn, and how often.
    stuck: (usize, u32, u32),
    /// When patience ends, whatever is heard until then; none before something is.
    until: Option<Instant>,
}

/// What the open question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    MakersRange,
    MakersPage,
    SystemTime,
    DisplayOffset(u32),
    Range,
    Page(u32),
}

/// What the deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asked,
    /// The end of an answer that makes no sense.
    Hushing,
    /// The next look.
    Resting,
}

impl Session {
    pub(super) fn new(memory: Memory, every: Duration) -> Self {
        Self {
            receiver: memory.of(b""),
            memory,
            every,
            sheet: Sheet::default(),
            buffer: Vec::new(),
            noise: Noise::default(),
            wants: Wants::MakersRange,
            question: Vec::new(),
            tries: 0,
            phase: Phase::Resting,
            turn: 0,
            range: (0, 0),
            seeks: false,
            unreadable: [None; KINDS.len()],
            stuck: (0, 0, 0),
            until: None,
        }
    }

    fn ask(&mut self, wants: Wants, command: u8, said: &[u8], now: Now, out: &mut Out) {
        (self.wants, self.question, self.tries) = (wants, frame(command, said), 0);
        self.ask_again(now, out);
    }

    /// Asks the open question, or gives up for now.
    fn ask_again(&mut self, now: Now, out: &mut Out) {
        self.buffer.clear();
        if self.tries == TRIES_MAX {
            if let Wants::Page(number) = self.wants
                && self.is_hopeless(number)
            {
                return self.pass_over(number, "is never answered", &[], now, out);
            }
            return out.hang_up("the receiver does not answer as it should; is it a Dexcom receiver, and charged?");
        }
        self.tries += 1;
        self.phase = Phase::Asked;
        out.write(&self.question);
        self.until = None;
        out.wake_at(now.after(PATIENCE));
    }

    /// Waits for a pause of that length in what is heard, and for [`TALK_MAX`] in all.
    fn wait(&mut self, pause: Duration, now: Now, out: &mut Out) {
        let until = *self.until.get_or_insert(now.after(TALK_MAX));
        out.wake_at(now.after(pause).min(until));
    }

    fn begin(&mut self, now: Now, out: &mut Out) {
        self.turn = 0;
        self.ask(Wants::MakersRange, PAGE_RANGE, &[kind::MANUFACTURING], now, out);
    }

    fn ask_page(&mut self, number: u32, now: Now, out: &mut Out) {
        let (kind, wants) = match self.wants {
            Wants::MakersRange => (kind::MANUFACTURING, Wants::MakersPage),
            _ => (KINDS[self.turn], Wants::Page(number)),
        };
        let [a, b, c, d] = number.to_le_bytes();
        self.ask(wants, PAGES, &[kind, a, b, c, d, 1], now, out);
    }

    /// Goes on with the next kind, or rests.
    fn ask_range(&mut self, turn: usize, now: Now, out: &mut Out) {
        self.turn = turn;
        if let Some(kind) = KINDS.get(turn) {
            return self.ask(Wants::Range, PAGE_RANGE, &[*kind], now, out);
        }
        self.phase = Phase::Resting;
        out.well();
        out.wake_at(now.after(self.every));
    }

    /// Takes an answer. Fails where it makes no sense, so that it is asked for again.
    fn take(&mut self, status: u8, said: &[u8], now: Now, out: &mut Out) -> Result<(), &'static str> {
        let (is_answer, is_refused) = (status == ACK, REFUSED.contains(&status));
        let is_last_try = self.tries == TRIES_MAX;
        match self.wants {
            Wants::MakersRange if is_answer && said.len() == RANGE_BYTES => match range_of(said) {
                Some((_, last)) => self.ask_page(last, now, out),
                None => self.identify(b"", now, out),
            },
            Wants::MakersPage if is_answer => match Page::read(said) {
                Ok(page) if page.kind == kind::MANUFACTURING => {
                    self.identify(serial_of(said).unwrap_or_default(), now, out);
                }
                _ => return Err("is not the maker's page"),
            },
            Wants::SystemTime if is_answer => {
                let system = u32::from_le_bytes(said.try_into().map_err(|_| "is no time")?);
                self.ask(Wants::DisplayOffset(system), DISPLAY_TIME_OFFSET, &[], now, out);
            }
            Wants::DisplayOffset(system) if is_answer => {
                let offset = i32::from_le_bytes(said.try_into().map_err(|_| "is no offset")?);
                self.tell_clock(system, offset, now, out);
                self.ask_range(0, now, out);
            }
            // Older receivers do not know all kinds.
            Wants::Range if is_refused && self.turn > 0 => self.ask_range(self.turn + 1, now, out),
            Wants::Range if is_answer => self.take_range(said, now, out)?,
            Wants::Page(number) if is_refused && is_last_try => {
                self.pass_over(number, "is refused by the receiver", said, now, out);
            }
            Wants::Page(number) if is_answer => self.take_page(number, said, now, out)?,
            _ => return Err("is not what was asked for"),
        }
        Ok(())
    }

    fn identify(&mut self, serial: &[u8], now: Now, out: &mut Out) {
        self.receiver = self.memory.of(serial);
        self.ask(Wants::SystemTime, SYSTEM_TIME, &[], now, out);
    }

    /// Tells what the clock shows where that is not as it was.
    fn tell_clock(&mut self, system: u32, offset: i32, now: Now, out: &mut Out) {
        let error = now.wall.map(|wall| error_of(system, wall));
        let (offset_was, error_was) = (self.receiver.display_offset, self.receiver.clock_error);
        let moved = error.filter(|error| error_was.is_none_or(|was| error.abs_diff(was) >= ERROR_STEP_S));
        if let Some(error) = moved {
            self.sheet.write_error(now.boot, error, out);
            self.receiver.clock_error = Some(error);
        }
        if offset_was != Some(offset) {
            self.sheet.write_offset(system, offset, out);
            self.receiver.display_offset = Some(offset);
        }
        if moved.is_some() || offset_was != Some(offset) {
            self.commit(out);
        }
    }

    fn commit(&mut self, out: &mut Out) {
        self.memory.keep(self.receiver.clone());
        out.commit(self.memory.encode());
    }

    fn bad(&mut self, problem: &str, said: &[u8], now: Now, out: &mut Out) {
        out.reject("answer", problem, said);
        self.phase = Phase::Hushing;
        out.wake_at(now.after(HUSH));
    }
}

impl Codec for Session {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.begin(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        match self.phase {
            Phase::Asked => {
                self.buffer.extend_from_slice(bytes);
                self.wait(PATIENCE, now, out);
            }
            Phase::Hushing => return self.wait(HUSH, now, out),
            // What a receiver says unasked is no answer.
            Phase::Resting => return,
        }
        // One question is open at a time: what follows its answer answers nothing.
        if let Some(answer) = next(&mut self.buffer, &mut self.noise) {
            self.noise.tell(out);
            let taken = match &answer {
                Ok((status, said)) => self.take(*status, said, now, out).map_err(|problem| (problem, said)),
                Err(bytes) => Err(("has a wrong checksum", bytes)),
            };
            if let Err((problem, said)) = taken {
                self.bad(problem, said, now, out);
            }
        }
    }

    fn due(&mut self, now: Now, out: &mut Out) {
        match self.phase {
            Phase::Asked | Phase::Hushing => {
                self.noise.skip(&std::mem::take(&mut self.buffer)); // what broke off
                self.noise.tell(out);
                self.ask_again(now, out);
            }
            Phase::Resting => self.begin(now, out),
        }
    }
}
