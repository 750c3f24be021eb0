//! When registers are asked for, and what becomes of answers and of silence.

use std::time::Duration;

use proto::{Basis, Instant, Reading};

use super::frame::{Framing, Heard, Wire};
use super::plan::Block;
use super::register::Register;
use crate::source::device::{Codec, Now, Out};

/// How often a question is asked before its registers are left alone until the next round.
const TRIES_MAX: u32 = 2;
/// The least silence between an answer and the next question: 1.75 ms and some (Modbus over serial line, 2.5.1.1).
const GAP: Duration = Duration::from_millis(3);

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From one round to the next.
    pub(super) every: Duration,
    /// What a device may take to answer.
    pub(super) answer: Duration,
    /// Bits per second, where it is a serial line.
    pub(super) line: Option<u32>,
}

impl Times {
    /// What so many characters of 11 bits take.
    fn on_line(&self, bytes: usize) -> Duration {
        let bits = 11 * u64::try_from(bytes).unwrap_or(u64::MAX / 11);
        self.line.map_or(Duration::ZERO, |baud| Duration::from_micros(bits * 1_000_000 / u64::from(baud.max(1))))
    }
}

/// The devices on one bus, over time.
pub(super) struct Poll {
    wire: Wire,
    registers: Vec<Register>,
    blocks: Vec<Block>,
    times: Times,
    phase: Phase,
    /// The present block, how often it was asked for, and how long its answer may take.
    at: usize,
    tries: u32,
    patience: Duration,
    /// When the present round began.
    began: Instant,
    /// Whether anyone answered in it.
    is_answered: bool,
}

/// What the deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// An answer.
    Asked,
    /// Silence on the line, before the present block is asked for.
    Pausing,
    /// The next round.
    Resting,
}

impl Poll {
    pub(super) fn new(framing: Framing, registers: Vec<Register>, blocks: Vec<Block>, times: Times) -> Self {
        let wire = Wire::new(framing);
        let (phase, began) = (Phase::Resting, Instant(0));
        let patience = times.answer;
        Self { wire, registers, blocks, times, phase, at: 0, tries: 0, patience, began, is_answered: false }
    }

    fn begin(&mut self, now: Now, out: &mut Out) {
        (self.at, self.tries, self.began, self.is_answered) = (0, 0, now.boot, false);
        self.ask(now, out);
    }

    fn ask(&mut self, now: Now, out: &mut Out) {
        let Some(block) = self.blocks.get(self.at) else { return self.rest(now, out) };
        out.write(&self.wire.ask(block.request));
        self.wire.noise.tell(out);
        self.patience = self.times.answer + self.times.on_line(block.request.line_bytes());
        out.wake_at(now.after(self.patience));
        self.tries += 1;
        self.phase = Phase::Asked;
    }

    /// How long the line is to be silent behind the present block, before the block `next` is asked for.
    fn hush(&self, next: usize) -> Duration {
        let slave = |at: usize| self.blocks.get(at).map(|block| block.request.slave);
        // A question that was repeated may be answered twice. The second answer begins when the first has gone, and both
        // may be late: from the device that is asked next, it would be taken for the answer to that.
        let late = match self.tries {
            0 | 1 => Duration::ZERO,
            _ if self.wire.is_numbered() => Duration::ZERO,
            _ if slave(next) == slave(self.at) => self.patience * 2,
            _ => self.patience,
        };
        late.max(GAP).max(self.times.on_line(4))
    }

    fn pause(&mut self, hush: Duration, now: Now, out: &mut Out) {
        out.wake_at(now.after(hush));
        self.phase = Phase::Pausing;
    }

    /// The present block is done with.
    fn go_on(&mut self, now: Now, out: &mut Out) {
        self.wire.forget();
        if self.at + 1 >= self.blocks.len() {
            return self.rest(now, out);
        }
        let hush = self.hush(self.at + 1);
        (self.at, self.tries) = (self.at + 1, 0);
        self.pause(hush, now, out);
    }

    fn rest(&mut self, now: Now, out: &mut Out) {
        self.wire.noise.tell(out);
        self.phase = Phase::Resting;
        let next = Now { boot: self.began, ..now }.after(self.times.every);
        out.wake_at(next.max(now.after(self.hush(0))));
    }

    fn take(&mut self, heard: Heard, now: Now, out: &mut Out) {
        match heard {
            Heard::More => {}
            Heard::Data(data) => {
                self.is_answered = true;
                self.read(&data, now, out);
                self.go_on(now, out);
            }
            Heard::Exception(code) => {
                self.is_answered = true;
                out.well();
                self.refused(code, now, out);
            }
            Heard::Bad(problem, bytes) => {
                out.reject(self.label(), problem, &bytes);
                self.fail(None, true, now, out);
            }
            Heard::Lost(problem) => out.hang_up(problem),
        }
    }

    fn read(&mut self, data: &[u8], now: Now, out: &mut Out) {
        let Some(block) = self.blocks.get_mut(self.at) else { return };
        let mut problems = Vec::new();
        for register in &self.registers[block.registers.clone()] {
            match register.value(data, block.request.start) {
                Ok(value) => out.sample(&register.series, Basis::Boot, Reading::new(now.boot, value)),
                Err(problem) => problems.push(format!("{} {problem}", register.series.name)),
            }
        }
        out.well();
        let problem = problems.join("; ");
        if problem.is_empty() {
            block.told = None;
        } else {
            self.tell(problem, data, out);
        }
    }

    /// The device has no such register, or no value for it.
    fn refused(&mut self, code: u8, now: Now, out: &mut Out) {
        let halves = self.blocks.get(self.at).and_then(|block| block.halves(&self.registers));
        match halves.filter(|_| matches!(code, 2 | 3)) {
            // One register that is not there costs the others nothing: they are asked for without it from now on.
            Some(halves) => {
                self.blocks.splice(self.at..=self.at, halves);
                let hush = self.hush(self.at);
                self.tries = 0;
                self.pause(hush, now, out);
            }
            None => {
                let problem = format!("is refused with exception {code}: {}", exception(code));
                self.fail(Some(problem), matches!(code, 5 | 6), now, out);
            }
        }
    }

    /// Asks again, or leaves the block for the next round.
    fn fail(&mut self, problem: Option<String>, may_pass: bool, now: Now, out: &mut Out) {
        if self.tries < TRIES_MAX && may_pass {
            return self.pause(self.hush(self.at), now, out);
        }
        if let Some(problem) = problem {
            self.tell(problem, &[], out);
        }
        self.go_on(now, out);
    }

    /// Nobody answered in time.
    fn mute(&mut self, now: Now, out: &mut Out) {
        if self.tries < TRIES_MAX {
            return self.ask(now, out);
        }
        let Some(slave) = self.blocks.get(self.at).map(|block| block.request.slave) else { return };
        let problem = format!("device {slave} does not answer within {} ms", self.times.answer.as_millis());
        self.tell(problem, &[], out);
        // What else it has is not waited for in this round.
        while self.blocks.get(self.at + 1).is_some_and(|next| next.request.slave == slave) {
            self.at += 1;
        }
        if self.at + 1 == self.blocks.len() && !self.is_answered {
            let advice = "check `slave`, baud rate, parity, framing and wiring";
            return out.hang_up(format!("nobody answers within {} ms; {advice}", self.times.answer.as_millis()));
        }
        self.go_on(now, out);
    }

    /// Tells of what is wrong with the present block, once while it stays so.
    fn tell(&mut self, problem: String, bytes: &[u8], out: &mut Out) {
        let label = self.label();
        if let Some(block) = self.blocks.get_mut(self.at)
            && block.told.as_ref() != Some(&problem)
        {
            out.reject(label, problem.clone(), bytes);
            block.told = Some(problem);
        }
    }

    fn label(&self) -> String {
        self.blocks.get(self.at).map_or_else(String::new, |block| block.label(&self.registers))
    }
}

impl Codec for Poll {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.wire.reset();
        self.begin(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        let heard = self.wire.hear(bytes);
        if self.phase == Phase::Asked || matches!(heard, Heard::Lost(_)) {
            self.take(heard, now, out);
        }
    }

    fn due(&mut self, now: Now, out: &mut Out) {
        match self.phase {
            Phase::Asked => self.mute(now, out),
            Phase::Pausing => self.ask(now, out),
            Phase::Resting => self.begin(now, out),
        }
    }
}

/// What an exception's code means (Modbus application protocol 1.1b3, section 7).
fn exception(code: u8) -> &'static str {
    match code {
        1 => "the device does not know this kind of register",
        2 => "the device has no register at this address",
        3 => "the device does not give so many registers here",
        4 => "the device failed while it read the register",
        5 => "the device has taken the request and is busy with it",
        6 => "the device is busy",
        8 => "the device's memory has a parity error",
        10 => "the gateway has no path to the device",
        11 => "the device behind the gateway does not answer",
        _ => "the device's manual says why",
    }
}
