//! What codecs' tests share: a codec driven by hand, in invented time.

use std::time::Duration;

use proto::Instant;

use super::{Codec, Now, Out};
use crate::source::testing::{NOON, told};

/// A codec, and everything that came out of it.
pub(crate) struct Bench {
    codec: Box<dyn Codec>,
    now: Now,
    out: Out,
}

impl Bench {
    /// A codec whose port was just opened, at 1 s since boot.
    pub(crate) fn open(codec: Box<dyn Codec>) -> Self {
        let now = Now { boot: Instant(1_000_000), wall: Some(NOON) };
        let mut bench = Self { codec, now, out: Out::default() };
        bench.codec.opened(bench.now, &mut bench.out);
        bench
    }

    /// Bytes come from the device.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.codec.heard(bytes, self.now, &mut self.out);
    }

    /// The same in pieces of `length` bytes.
    pub(crate) fn hear_in_pieces(&mut self, bytes: &[u8], length: usize) {
        bytes.chunks(length).for_each(|piece| self.hear(piece));
    }

    /// Time passes to the deadline, which must be there; how long that took.
    pub(crate) fn wait(&mut self) -> Duration {
        let at = self.out.wake_at.take().expect("a deadline");
        let waited = Duration::from_micros(u64::try_from((at.0 - self.now.boot.0).max(0)).unwrap());
        self.pass(waited);
        self.codec.due(self.now, &mut self.out);
        waited
    }

    /// Time passes, without a deadline in it.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.boot = self.now.after(time);
        let wall = Now { boot: self.now.wall.unwrap(), ..self.now }.after(time);
        self.now.wall = Some(wall);
    }

    /// Time passes, and the deadlines in it are kept.
    pub(crate) fn live(&mut self, time: Duration) {
        let until = self.now.after(time);
        while self.out.wake_at.is_some_and(|at| at <= until) {
            self.wait();
        }
        self.pass(Duration::from_micros(u64::try_from(until.0 - self.now.boot.0).unwrap()));
    }

    /// The port is lost, and opened again.
    pub(crate) fn reopen(&mut self) {
        self.codec.lost(self.now, &mut self.out);
        (self.out.write, self.out.wake_at, self.out.hang_up) = (Vec::new(), None, None);
        self.codec.opened(self.now, &mut self.out);
    }

    /// What was written since the last look.
    pub(crate) fn written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out.write)
    }

    /// Something chatters that is no device: `bytes` five times a second, for `seconds` or until it is given up. Why it was.
    pub(crate) fn chatter(&mut self, bytes: &[u8], seconds: u32) -> Option<String> {
        for _ in 0..seconds * 5 {
            self.hear(bytes);
            self.pass(Duration::from_millis(200));
            if self.out.wake_at.is_some_and(|at| at <= self.now.boot) {
                self.out.wake_at = None;
                self.codec.due(self.now, &mut self.out);
            }
            if let Some(why) = self.hung_up() {
                return Some(why);
            }
        }
        None
    }

    /// Whether there is a deadline.
    pub(crate) fn is_waiting(&self) -> bool {
        self.out.wake_at.is_some()
    }

    /// Why the codec hung up, if it did.
    pub(crate) fn hung_up(&mut self) -> Option<String> {
        self.out.hang_up.take()
    }

    /// Readings and rejects since the last look, as lines, and the last cursor.
    pub(crate) fn told(&mut self) -> (Vec<String>, Option<Vec<u8>>) {
        let parts = std::mem::take(&mut self.out.parts);
        let readings = parts.iter().flat_map(|part| part.samples.iter().map(told));
        let rejects = parts.iter().flat_map(|part| &part.rejects);
        let rejects = rejects.map(|reject| format!("rejected {}: {}", reject.place, reject.reason));
        let cursor = parts.iter().rev().find_map(|part| part.cursor.clone());
        (readings.chain(rejects).collect(), cursor)
    }
}
