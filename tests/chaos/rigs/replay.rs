//! A whole day of real batches: once in order, then again with 30 % of the frames doubled and 10 % out of their place,
//! onto the same database and into a fresh one. The table must hold the same, to the bit. And with some numbers kept
//! back: the gateway must name each of them, and take them when they come.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use harness::offered::{self, Key};
use harness::pki::Files;
use harness::speaker::{Said, Speaker, held};
use harness::{Gateway, Pki, data, judge};
use proto::frame::{Header, Sealed};
use proto::message::{HELLO_RANGES_MAX, Held, Settlement};
use proto::{
    Basis, Body, BootId, Channel, Clock, Column, Epoch, Frame, Instant, Kind, Lane, Quality, Range, Ranges, Reading,
    Series, Value,
};
use rusqlite::{Connection, OpenFlags};

use super::line::Random;
use crate::rig::{Fault, Found, Plan as Task};

const DEVICE: &str = "day-1";
/// The day began, 2026-09-21 around 14:13 UTC.
const START_US: i64 = 1_790_000_000_000_000;
/// What the device knew of the time.
const CLOCK: Clock = Clock { boot: BootId([0xda; 8]), offset_us: START_US, quality: Quality::Synced };
/// Frames that one connection carries before the device connects again.
const FRAMES_A_CONNECTION: usize = 40;

/// A batch, and where it belongs.
#[derive(Clone)]
struct Batch {
    epoch: Epoch,
    number: u64,
    sealed: Sealed,
}

/// A day of batches, and the readings in them.
struct Day {
    batches: Vec<Batch>,
    keys: Vec<Key>,
}

pub(crate) fn run(task: &Task) -> anyhow::Result<Found> {
    let pki = Pki::create(&task.folder.join("pki"));
    let (server, device) = (pki.server(), pki.device(DEVICE));
    let day = Day::real(task.amount(3_600, 86_400, 86_400))?;
    let mut stage = Stage { device, day, random: Random::new(task.seed), seed: task.seed, found: Found::default() };

    let first = Gateway::start(&task.folder.join("first"), server.clone(), "");
    let in_order = stage.day.frames(&mut Random::new(task.seed ^ 1));
    stage.send(&first, &in_order)?;
    stage.judge(&first, "in order")?;
    let once = Table::read(&first.database())?;

    for _ in 0..task.amount(1, 2, 20) {
        let shuffled = stage.shuffled();
        stage.send(&first, &shuffled)?;
        let again = Table::read(&first.database())?;
        stage.compare("again onto the same database", &once, &again, once.in_commit_order == again.in_commit_order);

        let fresh = tempfile::tempdir_in(&task.folder)?;
        let second = Gateway::start(fresh.path(), server.clone(), "");
        let shuffled = stage.shuffled();
        stage.send(&second, &shuffled)?;
        stage.judge(&second, "doubled and permuted")?;
        stage.compare("into a fresh database", &once, &Table::read(&second.database())?, true);
    }
    let third = Gateway::start(&task.folder.join("third"), server, "");
    stage.withhold(&third, task.amount(40, 1_000, 1_000))?;
    stage.compare("with numbers that came late", &once, &Table::read(&third.database())?, true);
    Ok(stage.found)
}

struct Stage {
    device: Files,
    day: Day,
    random: Random,
    seed: u64,
    found: Found,
}

impl Stage {
    /// The day's frames, 30 % of them twice and 10 % out of their place, cut into other frames than before.
    fn shuffled(&mut self) -> Vec<Vec<u8>> {
        let mut frames = self.day.frames(&mut self.random);
        let mut moved: Vec<usize> = (0..frames.len()).filter(|_| self.random.below(10) == 0).collect();
        let places = moved.clone();
        self.random.shuffle(&mut moved);
        let source = frames.clone();
        places.iter().zip(moved).for_each(|(to, from)| frames[*to].clone_from(&source[from]));
        for frame in source {
            if self.random.below(10) < 3 {
                let place = usize::try_from(self.random.below(frames.len() as u64 + 1)).unwrap_or(0);
                frames.insert(place, frame);
            }
        }
        frames
    }

    /// Publishes `frames` in this order, over as many connections as it takes.
    fn send(&mut self, gateway: &Gateway, frames: &[Vec<u8>]) -> anyhow::Result<()> {
        for part in frames.chunks(FRAMES_A_CONNECTION) {
            let mut speaker = Speaker::connect(gateway.mqtt_port, &self.device, DEVICE)?;
            for frame in part {
                speaker.publish(Channel::Batch, frame.clone(), self.random.below(4) == 0)?;
            }
            speaker.leave()?;
        }
        self.found.did("replayed_frames", frames.len() as u64);
        Ok(())
    }

    fn judge(&mut self, gateway: &Gateway, how: &str) -> anyhow::Result<()> {
        let verdict = judge::compare(&self.day.keys, &judge::stored(&gateway.database(), DEVICE)?);
        let say = || format!("a day {how}, seed {}: {verdict}", self.seed);
        self.found.fault(Fault::Lost, verdict.lost as u64, say);
        self.found.fault(Fault::Doubled, verdict.doubled as u64, say);
        self.found.fault(Fault::Phantom, verdict.phantom as u64, say);
        Ok(())
    }

    fn compare(&mut self, how: &str, was: &Table, is: &Table, order_is_same: bool) {
        let say = || format!("a day {how}, seed {}: was {was:?}, is {is:?}", self.seed);
        self.found.fault(Fault::Doubled, is.rows.saturating_sub(was.rows), say);
        self.found.fault(Fault::Lost, was.rows.saturating_sub(is.rows), say);
        let same = was.rows != is.rows || was.content == is.content && order_is_same;
        self.found.fault(Fault::Mutated, u64::from(!same), say);
    }

    /// Sends the day without `count` of its batches: the gateway must say which those are. Then sends them.
    fn withhold(&mut self, gateway: &Gateway, count: u64) -> anyhow::Result<()> {
        let mut all = self.day.batches.clone();
        self.random.shuffle(&mut all);
        let kept_back = all.split_off(all.len().saturating_sub(usize::try_from(count)?));
        all.sort_by_key(|batch| (batch.epoch, batch.number));
        let sent: Vec<Vec<u8>> = all.iter().map(|batch| frame(std::slice::from_ref(batch))).collect();
        self.send(gateway, &sent)?;
        let mut speaker = Speaker::connect(gateway.mqtt_port, &self.device, DEVICE)?;
        let named = missing(&self.day, &speaker.ask(self.day.held())?);
        let mut wanted: BTreeMap<Epoch, Ranges> = BTreeMap::new();
        kept_back.iter().for_each(|batch| wanted.entry(batch.epoch).or_default().insert(Range::one(batch.number)));
        self.found.did("withheld_numbers", kept_back.len() as u64);
        let say = || format!("kept back {wanted:?}, named as missing {named:?}, seed {}", self.seed);
        self.found.fault(Fault::WrongGap, u64::from(named != wanted), say);
        for batch in &kept_back {
            speaker.publish(Channel::Batch, frame(std::slice::from_ref(batch)), false)?;
        }
        speaker.settle()?;
        let left = missing(&self.day, &speaker.ask(self.day.held())?);
        self.found.fault(Fault::WrongGap, left.len() as u64, || format!("still missing once all was sent: {left:?}"));
        speaker.leave()
    }
}

/// What the gateway has not stored of each epoch, where that is anything.
fn missing(day: &Day, said: &BTreeMap<Epoch, Said>) -> BTreeMap<Epoch, Ranges> {
    let of = |(epoch, numbers): (Epoch, Range)| {
        let stored = said.get(&epoch).and_then(|said| said.get(&Settlement::Stored)).cloned().unwrap_or_default();
        (epoch, stored.missing_in(numbers))
    };
    day.epochs().into_iter().map(of).filter(|(_, missing)| !missing.is_empty()).collect()
}

/// One frame of `batches`, whose numbers follow one another.
fn frame(batches: &[Batch]) -> Vec<u8> {
    let first = &batches[0];
    let header = Header { epoch: first.epoch, first: first.number, lane: Lane::Backfill, clock: CLOCK };
    Frame { header, bodies: batches.iter().map(|batch| batch.sealed.clone()).collect() }.encode()
}

impl Day {
    /// A day of glucose from its file, and `seconds` of a household's power from its fixture, over and over: sealed as
    /// an agent does that starts three times that day.
    fn real(seconds: u64) -> anyhow::Result<Self> {
        let glucose = offered::cgm_rows(&data("cgm.csv.gz"));
        let glucose: Vec<f64> = glucose.iter().rev().take(288).rev().map(|row| row.value).collect();
        let text = data("power.csv.gz");
        let watts = text.lines().skip(1).filter_map(|line| line.split_once(',')).map(|(_, watts)| watts.parse());
        let watts: Vec<f64> = watts.collect::<Result<_, _>>()?;
        let power = watts.iter().copied().cycle().take(usize::try_from(seconds)?).collect::<Vec<_>>();
        let mut bodies = Vec::new();
        let mut keys = Vec::new();
        let sets = [("glucose", "mg/dL", 300, 12, glucose), ("power.active", "W", 1, 60, power)];
        for (name, unit, step_s, size, values) in sets {
            let times = (START_US..).step_by(step_s * 1_000_000);
            let rows: Vec<(i64, f64)> = times.zip(values).collect();
            keys.extend(offered::keys(name, rows.iter().copied()));
            let series = Series { name: name.parse()?, unit: unit.parse()?, kind: Kind::Gauge };
            for rows in rows.chunks(size) {
                let readings = rows.iter().map(|(time, value)| Reading::new(Instant(*time), Value::Number(*value)));
                let columns =
                    vec![Column { series: series.clone(), basis: Basis::Source, readings: readings.collect() }];
                bodies.push((rows[0].0, Sealed::new(Body { boot: CLOCK.boot, columns }.encode()?)));
            }
        }
        bodies.sort_by_key(|(time, _)| *time);
        let third = bodies.len().div_ceil(3);
        let mut batches = Vec::new();
        for (place, (_, sealed)) in bodies.into_iter().enumerate() {
            let epoch = Epoch([u8::try_from(place / third)? + 1; 8]);
            batches.push(Batch { epoch, number: (place % third) as u64 + 1, sealed });
        }
        Ok(Self { batches, keys })
    }

    /// The day in its order, up to 8 batches a frame.
    fn frames(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let (mut frames, mut rest) = (Vec::new(), self.batches.as_slice());
        while let Some(first) = rest.first() {
            let of_epoch = rest.iter().take_while(|batch| batch.epoch == first.epoch).count();
            let count = usize::try_from(1 + random.below(8)).unwrap_or(1).min(of_epoch);
            let (now, later) = rest.split_at(count);
            frames.push(frame(now));
            rest = later;
        }
        frames
    }

    /// Each epoch with its numbers.
    fn epochs(&self) -> Vec<(Epoch, Range)> {
        let mut epochs: BTreeMap<Epoch, u64> = BTreeMap::new();
        self.batches.iter().for_each(|batch| *epochs.entry(batch.epoch).or_default() += 1);
        epochs.into_iter().filter_map(|(epoch, count)| Some((epoch, Range::new(1, count)?))).collect()
    }

    /// All of it, as a hello says it.
    fn held(&self) -> Vec<Held> {
        debug_assert!(self.epochs().len() <= HELLO_RANGES_MAX);
        self.epochs().into_iter().map(|(epoch, numbers)| held(epoch, [numbers], numbers.last + 1)).collect()
    }
}

/// What the table of readings holds.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    rows: u64,
    /// A hash over all rows, whatever their order.
    content: u64,
    /// A hash over all rows as they were committed.
    in_commit_order: u64,
}

impl Table {
    fn read(database: &Path) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(database, flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        let mut statement = connection.prepare(
            "select json_array(series.name, series.unit, series.kind, time_us, ordinal, printf('%.17g', value), form,
                      code, text, quality, utc_offset_minutes, local_text, hex(epoch.epoch), number, flags)
             from reading join series on series.id = reading.series left join epoch on epoch.id = reading.epoch
             order by reading.id",
        )?;
        let mut rows = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let in_commit_order = hash(&rows);
        rows.sort_unstable();
        Ok(Self { rows: rows.len() as u64, content: hash(&rows), in_commit_order })
    }
}

fn hash(rows: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    hasher.finish()
}
