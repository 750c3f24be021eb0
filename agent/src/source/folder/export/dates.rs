//! Local dates and times as exports write them, and which of two numbers is the day.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// Which number of a date such as 03/04/2026 is the day. A date that begins with its year needs no such word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// 24-03-2026
    DayFirst,
    /// 03-24-2026
    MonthFirst,
}

/// A date and a time, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    date: [i16; 3],
    year_first: bool,
    time: [i8; 3],
}

impl Written {
    /// `2026-03-24T09:51:00`, `24-03-2026 09:51`, `3/24/2026 9:51 PM`; none for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.trim().split_once(['T', ' '])?;
        let mark = ['-', '/', '.'].into_iter().find(|mark| date.contains(*mark))?;
        let mut parts = date.trim_end_matches('.').split(mark);
        let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
        let year_first = first.len() == 4;
        let year = if year_first { first } else { third };
        if parts.next().is_some() || year.len() != 4 {
            return None;
        }
        let date = [whole(first)?, whole(second)?, whole(third)?];
        let rest = rest.trim();
        let (clock, half) = match rest.split_once(' ') {
            Some((clock, half)) => (clock, Some(half.trim())),
            None => (rest, None),
        };
        let mut parts = clock.split(':');
        let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next());
        if parts.next().is_some() {
            return None;
        }
        let (hour, minute) = (small(hour)?, small(minute)?);
        let hour = match half.map(|half| half.replace('.', "").to_ascii_uppercase()).as_deref() {
            None => hour,
            Some("AM") if (1..=12).contains(&hour) => hour % 12,
            Some("PM") if (1..=12).contains(&hour) => hour % 12 + 12,
            Some(_) => return None,
        };
        Some(Self { date, year_first, time: [hour, minute, second.map_or(Some(0), small)?] })
    }

    /// The local time that is meant.
    pub(super) fn at(&self, order: Option<Order>) -> Result<DateTime, String> {
        let [first, second, third] = self.date;
        let (year, month, day) = match (self.year_first, order) {
            (true, _) => (first, second, third),
            (false, Some(Order::DayFirst)) => (third, second, first),
            (false, Some(Order::MonthFirst)) => (third, first, second),
            (false, None) => return Err(AMBIGUOUS.into()),
        };
        let [hour, minute, second] = self.time;
        let wrong = |_| "its time is no date that there is".to_owned();
        let (Ok(month), Ok(day)) = (i8::try_from(month), i8::try_from(day)) else {
            return Err("its time is no date that there is".into());
        };
        DateTime::new(year, month, day, hour, minute, second, 0).map_err(wrong)
    }
}

fn whole(text: &str) -> Option<i16> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn small(text: &str) -> Option<i8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// What is said of dates that nothing settles.
const AMBIGUOUS: &str = "its dates can be read with the day first or with the month first; set `dates` to \"day_first\" \
                         or \"month_first\", whichever the account is set to";

/// How a whole file's dates are to be read: said by the settings, or proved by a number beyond 12.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    said: Option<Order>,
    day_first: bool,
    month_first: bool,
    either: bool,
    order: Option<Order>,
}

impl Proof {
    pub(super) fn new(said: Option<Order>) -> Self {
        Self { said, day_first: false, month_first: false, either: false, order: None }
    }

    /// Another date of the file.
    pub(super) fn weigh(&mut self, written: &Written) {
        if written.year_first {
            return;
        }
        self.either = true;
        self.day_first |= written.date[0] > 12;
        self.month_first |= written.date[1] > 12;
    }

    /// Settles it, once the whole file has been weighed: a single date that does not fit is a reason to take none.
    pub(super) fn decide(&mut self) -> Result<(), String> {
        use Order::{DayFirst, MonthFirst};
        self.order = match (self.said, self.day_first, self.month_first) {
            (_, true, true) => {
                return Err("some of its dates have the day first and some the month; export it again".into());
            }
            (Some(DayFirst), _, true) => {
                return Err("its dates have the month first, and `dates` says day_first; set \"month_first\"".into());
            }
            (Some(MonthFirst), true, _) => {
                return Err("its dates have the day first, and `dates` says month_first; set \"day_first\"".into());
            }
            (Some(order), ..) => Some(order),
            (None, true, _) => Some(DayFirst),
            (None, _, true) => Some(MonthFirst),
            (None, false, false) if self.either => return Err(AMBIGUOUS.into()),
            (None, false, false) => None,
        };
        Ok(())
    }

    /// What was settled; none where every date begins with its year.
    pub(super) fn order(&self) -> Option<Order> {
        self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, order: Option<Order>) -> Option<String> {
        Written::parse(text)?.at(order).ok().map(|at| at.to_string())
    }

    #[test]
    fn dates_are_read_as_the_makers_write_them() {
        for (text, order, meant) in [
            ("2026-03-24T09:51:07", None, "2026-03-24T09:51:07"),
            ("2026-03-24 9:51:07", None, "2026-03-24T09:51:07"),
            ("24-03-2026 09:51", Some(Order::DayFirst), "2026-03-24T09:51:00"),
            ("24.03.2026 09:51", Some(Order::DayFirst), "2026-03-24T09:51:00"),
            ("03-04-2026 12:05 AM", Some(Order::MonthFirst), "2026-03-04T00:05:00"),
            ("3/4/2026 12:05 p.m.", Some(Order::DayFirst), "2026-04-03T12:05:00"),
            ("2026/03/24 09:51 PM", None, "2026-03-24T21:51:00"),
        ] {
            assert_eq!(read(text, order).as_deref(), Some(meant), "{text}");
        }
        for text in
            ["", "2026-03-24", "24-03-26 09:51", "24-03-2026 09", "24-03-2026 13:00 AM", "1-1-2026 +1:00", "x y"]
        {
            assert_eq!(Written::parse(text), None, "{text}");
        }
        for (text, order) in [("24-13-2026 09:51", Order::DayFirst), ("30-02-2026 09:51", Order::DayFirst)] {
            assert!(Written::parse(text).unwrap().at(Some(order)).is_err(), "{text}");
        }
    }

    fn decide(said: Option<Order>, dates: &[&str]) -> Result<Option<Order>, String> {
        let mut proof = Proof::new(said);
        dates.iter().for_each(|date| proof.weigh(&Written::parse(&format!("{date} 00:00")).unwrap()));
        proof.decide().map(|()| proof.order())
    }

    #[test]
    fn one_date_beyond_the_twelfth_proves_the_order_and_none_leaves_it_to_the_settings() {
        assert_eq!(decide(None, &["03-04-2026", "13-04-2026"]), Ok(Some(Order::DayFirst)));
        assert_eq!(decide(None, &["03-04-2026", "04-13-2026"]), Ok(Some(Order::MonthFirst)));
        assert_eq!(decide(None, &["2026-04-13"]), Ok(None));
        assert!(decide(None, &["03-04-2026"]).unwrap_err().contains("set `dates`"));
        assert_eq!(decide(Some(Order::MonthFirst), &["03-04-2026"]), Ok(Some(Order::MonthFirst)));
        assert!(decide(Some(Order::MonthFirst), &["03-04-2026", "13-04-2026"]).unwrap_err().contains("day_first"));
        assert!(decide(Some(Order::DayFirst), &["04-13-2026"]).unwrap_err().contains("month_first"));
        assert!(decide(None, &["04-13-2026", "13-04-2026"]).unwrap_err().contains("export it again"));
    }
}
