//! A codec that is tried, and what it makes of what it hears.

use super::{Found, Wire, configured, table};
use crate::source::SourceClock;
use crate::source::device::{Codec, Link, Now, Out};

/// Answers in a row that a codec understood and asked on after, which are enough to believe it.
const TURNS: u32 = 4;
/// Bytes that make an answer: shorter ones are courtesies that many protocols share.
const ANSWER_BYTES_MIN: usize = 5;
/// Of what is listened to, so many rejects are no wonder: the frame that had begun before anyone listened.
const CUT: usize = 1;
/// A codec with something to ask does so at once.
const AT_ONCE: std::time::Duration = std::time::Duration::from_secs(1);

/// A device that may be there, and who would understand it.
pub(super) struct Trial {
    pub(super) what: String,
    /// The source that would read it: its name, and all of it.
    name: String,
    table: String,
    check: &'static str,
    pub(super) link: Link,
    codec: Box<dyn Codec>,
    clock: SourceClock,
    out: Out,
    /// Whether it speaks first.
    pub(super) asks: bool,
    /// Whether it understood what it heard and wants to answer, where nothing is to be written.
    pub(super) wants_to_answer: bool,
    /// Whether it has hung up.
    pub(super) has_given_up: bool,
    readings: usize,
    rejects: usize,
    is_well: bool,
    turns: u32,
    /// Bytes that were heard since it last wrote.
    heard: usize,
}

impl Trial {
    /// Fails, with what is wrong, where the settings cannot be.
    pub(super) fn new(what: &str, settings: &str, check: &'static str, wire: &Wire<'_>) -> Result<Self, String> {
        let (what, table) = (what.to_owned(), table(what, wire.port, settings));
        let source = configured(&table)?;
        let device = source.settings.device().ok_or("it is no device at the end of a wire")?;
        let mut trial = Self {
            what,
            name: source.name.clone(),
            check,
            link: device.link(),
            codec: device.codec(None).map_err(|error| error.to_string())?,
            clock: wire.clock.clone(),
            out: Out::default(),
            asks: false,
            wants_to_answer: false,
            has_given_up: false,
            readings: 0,
            rejects: 0,
            is_well: false,
            turns: 0,
            heard: 0,
            table,
        };
        trial.open();
        let at_once = trial.out.wake_at.is_some_and(|at| at <= trial.now().after(AT_ONCE));
        if trial.out.write.is_empty() && at_once {
            trial.out.wake_at = None;
            trial.codec.due(trial.now(), &mut trial.out);
        }
        trial.asks = !trial.out.write.is_empty();
        Ok(trial)
    }

    /// The port was opened: all begins anew.
    pub(super) fn open(&mut self) {
        (self.out, self.heard, self.turns, self.readings, self.rejects) = (Out::default(), 0, 0, 0, 0);
        (self.is_well, self.has_given_up, self.wants_to_answer) = (false, false, false);
        self.codec.opened(self.now(), &mut self.out);
    }

    /// Bytes came.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if self.has_given_up {
            return;
        }
        self.heard = self.heard.saturating_add(bytes.len());
        self.codec.heard(bytes, self.now(), &mut self.out);
        let (readings, rejects) = (self.readings, self.rejects);
        self.count();
        if !self.out.write.is_empty() && rejects == self.rejects {
            self.wants_to_answer = true;
            self.turns += u32::from(self.heard >= ANSWER_BYTES_MIN);
            self.heard = 0;
        }
        // A conversation that made no sense at some point begins anew.
        if self.rejects > rejects && readings == self.readings {
            self.turns = 0;
        }
    }

    /// Calls the codec if its deadline has passed.
    pub(super) fn mind_deadline(&mut self) {
        let now = self.now();
        if self.out.wake_at.is_some_and(|at| at <= now.boot) && !self.has_given_up {
            self.out.wake_at = None;
            self.codec.due(now, &mut self.out);
            self.count();
        }
    }

    /// How long until that; none where there is no deadline.
    pub(super) fn patience(&self) -> Option<std::time::Duration> {
        let left = self.out.wake_at?.0.saturating_sub(self.clock.boot().0);
        Some(std::time::Duration::from_micros(u64::try_from(left).unwrap_or(0)))
    }

    /// What it wants to have written.
    pub(super) fn take_write(&mut self) -> Vec<u8> {
        self.out.take_write()
    }

    /// Whether it recognised what came by itself.
    pub(super) fn recognised_speech(&self) -> bool {
        self.readings > 0 && self.rejects <= CUT
    }

    /// Whether it recognised what it asked.
    pub(super) fn recognised_answers(&self) -> bool {
        self.turns >= TURNS || self.is_well && self.rejects <= self.readings
    }

    /// Rejects less readings: what fits best has least.
    pub(super) fn misfit(&self) -> (usize, std::cmp::Reverse<usize>) {
        (self.rejects, std::cmp::Reverse(self.readings))
    }

    /// What it found.
    pub(super) fn found(&self) -> Found {
        let evidence = match (self.readings, self.asks || self.wants_to_answer) {
            (0, _) => "it answers as such a device does".to_owned(),
            (count, true) => format!("it answered, and {count} readings were understood"),
            (count, false) => format!("it speaks by itself, and {count} readings were understood"),
        };
        let (what, name, table) = (self.what.clone(), self.name.clone(), self.table.clone());
        Found { what, evidence, name, table, check: self.check }
    }

    fn now(&self) -> Now {
        Now { boot: self.clock.boot(), wall: self.clock.wall() }
    }

    /// Counts what came out.
    fn count(&mut self) {
        for part in std::mem::take(&mut self.out.parts) {
            self.readings += part.samples.len();
            self.rejects += part.rejects.len();
        }
        self.is_well |= std::mem::take(&mut self.out.well);
        self.has_given_up |= self.out.hang_up.take().is_some();
    }
}
