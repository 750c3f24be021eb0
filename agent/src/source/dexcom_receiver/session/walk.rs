//! The pages of one kind: back to the last record that was taken, and on from there.

use super::super::frame::{RANGE_BYTES, range_of};
use super::super::page::{KINDS, Page, mark_of};
use super::{HANG_UPS_MAX, Now, Out, Session, TRIES_MAX};

/// Pages of one kind that a receiver can have.
const PAGES_MAX: u32 = 1 << 16;

impl Session {
    pub(super) fn take_range(&mut self, said: &[u8], now: Now, out: &mut Out) -> Result<(), &'static str> {
        if said.len() != RANGE_BYTES {
            return Err("is no range of pages");
        }
        let Some(range) = range_of(said) else {
            self.ask_range(self.turn + 1, now, out); // there are none
            return Ok(());
        };
        if range.1.checked_sub(range.0).is_none_or(|more| more >= PAGES_MAX) {
            return Err("is no range of pages");
        }
        self.range = range;
        self.seeks = self.receiver.mark(KINDS[self.turn]).is_some();
        self.ask_page(if self.seeks { range.1 } else { range.0 }, now, out);
        Ok(())
    }

    pub(super) fn take_page(&mut self, number: u32, said: &[u8], now: Now, out: &mut Out) -> Result<(), &'static str> {
        let page = match Page::read(said) {
            Ok(page) => page,
            Err(_) if self.tries < TRIES_MAX => return Err("is no page"),
            Err(problem) => {
                self.pass_over(number, problem, said, now, out);
                return Ok(());
            }
        };
        if page.number != number || page.kind != KINDS[self.turn] {
            return Err("is another page");
        }
        let Some(records) = page.records() else {
            self.pass_over(number, "has no record with a right checksum", said, now, out);
            return Ok(());
        };
        if self.seeks {
            self.seek(&page, &records, now, out);
        } else {
            self.gather(page.kind, &records, out);
            self.go_on(number, now, out);
        }
        Ok(())
    }

    /// Looks for the last record that was taken: what is behind it is new.
    fn seek(&mut self, page: &Page<'_>, records: &[(u32, &[u8])], now: Now, out: &mut Out) {
        let Some(mark) = self.receiver.mark(page.kind) else { return self.read_from(self.range.0, now, out) };
        if mark.next <= page.first {
            if page.number > self.range.0 {
                return self.ask_page(page.number - 1, now, out);
            }
            if mark.next < page.first && page.count > 0 {
                let lost = page.first - mark.next;
                let reason =
                    format!("{lost} records were overwritten before they were read; look more often (`every_s`)");
                out.reject(format!("kind {}", page.kind), reason, &[]);
            }
            return self.read_from(page.number, now, out);
        }
        let last = records.iter().find(|(number, _)| number + 1 == mark.next);
        match last {
            Some((_, record)) if mark_of(record) == mark.last => self.read_from(page.number, now, out),
            // It was in a page that cannot be read any more; this one is older.
            None if page.number < self.range.1 => self.read_from(page.number + 1, now, out),
            _ => {
                self.receiver.forget(page.kind); // the receiver was reset: all that is there is new
                self.read_from(self.range.0, now, out);
            }
        }
    }

    fn read_from(&mut self, number: u32, now: Now, out: &mut Out) {
        self.seeks = false;
        self.ask_page(number, now, out);
    }

    /// Hands over what is new of a page, with the place it ends at.
    fn gather(&mut self, kind: u8, records: &[(u32, &[u8])], out: &mut Out) {
        let from = self.receiver.mark(kind).map_or(0, |mark| mark.next);
        let mut new = records.iter().filter(|(number, _)| *number >= from);
        new.clone().for_each(|(number, record)| self.sheet.write(kind, *number, record, out));
        if let Some((number, record)) = new.next_back() {
            self.receiver.take(kind, number + 1, mark_of(record));
            self.commit(out);
        }
    }

    /// Behind a page that was read, or that cannot be.
    fn go_on(&mut self, number: u32, now: Now, out: &mut Out) {
        if self.seeks && number > self.range.0 {
            self.ask_page(number - 1, now, out);
        } else if self.seeks {
            self.read_from(self.range.0, now, out);
        } else if number < self.range.1 {
            self.ask_page(number + 1, now, out);
        } else {
            self.ask_range(self.turn + 1, now, out);
        }
    }

    /// Whether a page has not been answered so often that it must not keep the others waiting.
    pub(super) fn is_hopeless(&mut self, number: u32) -> bool {
        let (turn, page, times) = self.stuck;
        let times = if (turn, page) == (self.turn, number) { times.saturating_add(1) } else { 1 };
        self.stuck = (self.turn, number, times);
        times > HANG_UPS_MAX
    }

    /// A page that cannot be read costs itself alone.
    pub(super) fn pass_over(&mut self, number: u32, problem: &str, said: &[u8], now: Now, out: &mut Out) {
        if !self.seeks && self.unreadable[self.turn].replace(number) != Some(number) {
            out.reject(format!("page {number} of kind {}", KINDS[self.turn]), problem, said);
        }
        self.go_on(number, now, out);
    }
}
