//! The gateway's rows, as the oracle reads them with its own questions.

use std::collections::{BTreeMap, HashMap};

use proto::{Basis, BootId, DeviceId, Epoch};
use rusqlite::{Connection, Row};

use super::super::bodies::{Content, Offered, text_of};
use super::{Oracle, whole};
use crate::rig::{Fault, Found};

/// A gap with numbers, as the gateway keeps it.
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) readings: Option<u64>,
    pub(super) reason: String,
}

impl Gap {
    fn contains(&self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

/// Gaps by the name of their device and their epoch.
pub(super) type Gaps = HashMap<(String, [u8; 8]), Vec<Gap>>;

/// The gap that `number` is in.
pub(super) fn gap_of<'a>(gaps: &'a Gaps, place: &(String, [u8; 8]), number: u64) -> Option<&'a Gap> {
    gaps.get(place)?.iter().find(|gap| gap.contains(number))
}

/// All numbered gaps.
pub(super) fn gaps(db: &Connection) -> anyhow::Result<Gaps> {
    let mut statement = db.prepare(
        "select device.name, epoch.epoch, gap.first, gap.last, gap.readings, gap.reason
         from gap join device on device.id = gap.device join epoch on epoch.id = gap.epoch",
    )?;
    let rows = statement.query_map([], |row| {
        let number = |at| row.get::<_, Option<i64>>(at).map(|number| number.map(i64::cast_unsigned));
        let (first, last) = (number(2)?.unwrap_or(0), number(3)?.unwrap_or(0));
        let gap = Gap { first, last, readings: number(4)?, reason: row.get(5)? };
        Ok(((row.get(0)?, row.get(1)?), gap))
    })?;
    let mut gaps = Gaps::new();
    for row in rows {
        let (place, gap) = row?;
        gaps.entry(place).or_default().push(gap);
    }
    Ok(gaps)
}

/// What a value was offered in.
struct Origin<'a> {
    device: &'a DeviceId,
    epoch: Epoch,
    number: u64,
    content: &'a Content,
    reading: Offered,
}

/// How often each value, and the text beside it, is in the database.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) values: HashMap<u64, u64>,
    texts: HashMap<u64, u64>,
}

impl Seen {
    /// Whether all of `content` is there.
    pub(super) fn has(&self, content: &Content) -> bool {
        let text = content.readings.first().is_none_or(|first| self.texts.contains_key(&first.value));
        self.count(content) == content.readings.len() && (text || content.padding == 0)
    }

    /// How many of `content`'s values are there.
    pub(super) fn count(&self, content: &Content) -> usize {
        content.readings.iter().filter(|offered| self.values.contains_key(&offered.value)).count()
    }
}

impl Oracle {
    /// Every reading of the database, held against what was offered.
    pub(super) fn readings(&self, db: &Connection, found: &mut Found, seed: u64) -> anyhow::Result<Seen> {
        let origins = self.origins();
        let mut seen = Seen::default();
        // All readings of a boot are placed by one offset, whichever copy of them came first.
        let mut offsets: HashMap<(&DeviceId, BootId), i64> = HashMap::new();
        let mut statement = db.prepare(
            "select reading.value, reading.text, reading.time_us, device.name, epoch.epoch, reading.number
             from reading join series on series.id = reading.series join device on device.id = series.device
             left join epoch on epoch.id = reading.epoch",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: Option<String> = row.get(1)?;
            let named = match &text {
                Some(text) => text.split(' ').next().and_then(|number| number.parse().ok()),
                None => row.get::<_, Option<f64>>(0)?.and_then(whole),
            };
            let Some((value, origin)) = named.and_then(|value| Some((value, origins.get(&value)?))) else {
                found.fault(Fault::Phantom, 1, || format!("seed {seed}: a reading {named:?} that nobody offered"));
                continue;
            };
            let times = if text.is_some() { &mut seen.texts } else { &mut seen.values };
            let count = times.entry(value).or_default();
            *count += 1;
            found.fault(Fault::Doubled, u64::from(*count > 1), || {
                format!("seed {seed}: value {value}, {}", origin.device)
            });
            let offset = row.get::<_, i64>(2)?.wrapping_sub(origin.reading.time_us);
            let in_time = match origin.reading.basis {
                Basis::Source => offset == 0,
                Basis::Boot => {
                    let boot = origin.content.boot;
                    let first = *offsets.entry((origin.device, boot)).or_insert(offset);
                    offset == first && self.clocks.get(&boot).is_some_and(|known| known.contains(&offset))
                }
            };
            let same =
                origin.is_that_of(row)? && text.is_none_or(|text| text == text_of(value, origin.content.padding));
            found.fault(Fault::Mutated, u64::from(!in_time || !same), || {
                format!(
                    "seed {seed}: value {value}, {}: same {same}, in time {in_time}, off {offset} us",
                    origin.device
                )
            });
        }
        Ok(seen)
    }

    fn origins(&self) -> HashMap<u64, Origin<'_>> {
        let mut origins = HashMap::new();
        for ((device, epoch), batches) in &self.book {
            for (number, batch) in batches {
                let content = &batch.content;
                let origin =
                    |reading: &Offered| Origin { device, epoch: *epoch, number: *number, content, reading: *reading };
                origins.extend(content.readings.iter().map(|reading| (reading.value, origin(reading))));
            }
        }
        origins
    }
}

impl Origin<'_> {
    /// Whether a row names the device, epoch and number that its value was accepted under.
    fn is_that_of(&self, row: &Row<'_>) -> Result<bool, rusqlite::Error> {
        Ok(row.get::<_, String>(3)? == self.device.as_str()
            && row.get::<_, Option<[u8; 8]>>(4)? == Some(self.epoch.0)
            && row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned) == Some(self.number))
    }
}

/// A gap that says how many readings it lost says so rightly.
pub(super) fn count_gaps(gaps: &[Gap], batches: &BTreeMap<u64, super::Accepted>, found: &mut Found, seed: u64) {
    for gap in gaps {
        let of_it: Vec<u64> = batches.range(gap.first..=gap.last).map(|(_, batch)| batch.count()).collect();
        let all = of_it.len() as u64 == gap.last - gap.first + 1;
        let (said, is) = (gap.readings, of_it.iter().sum::<u64>());
        found.fault(Fault::WrongGap, u64::from(all && said.is_some_and(|said| said != is)), || {
            format!("seed {seed}: gap {} to {} says {said:?} readings and lost {is}", gap.first, gap.last)
        });
    }
}
