//! A whole day of real batches: once in order, then again with 30 % of the frames doubled and 10 % out of their place,
//! onto the same database and into a fresh one. The table must hold the same, to the bit. And with some numbers kept
//! back: the gateway must name each of them, and take them when they come.

use std::collections::BTreeMap;

use anyhow::Context;
use harness::pki::Files;
use harness::speaker::{Said, Speaker};
use harness::{Gateway, Pki, judge};
use proto::message::{HELLO_RANGES_MAX, Settlement};
use proto::{Channel, Epoch, Range, Ranges};

use self::day::{Day, frame};
use self::table::Table;
use super::line::Random;
use crate::rig::{Fault, Found, Plan as Task};

mod day;
mod table;

const DEVICE: &str = "day-1";
/// Frames that one connection carries before the device connects again.
const FRAMES_A_CONNECTION: usize = 40;

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
        // Some of them the device gives up, no more than one hello can say: they must be noted as missing, nothing else.
        let given_up = kept_back.get(..HELLO_RANGES_MAX / 4).unwrap_or_default();
        speaker.ask(self.day.held_without(given_up))?;
        self.noted(gateway, given_up.len() as u64)?;
        for batch in &kept_back {
            speaker.publish(Channel::Batch, frame(std::slice::from_ref(batch)), false)?;
        }
        speaker.settle()?;
        let left = missing(&self.day, &speaker.ask(self.day.held())?);
        self.found.fault(Fault::WrongGap, left.len() as u64, || format!("still missing once all was sent: {left:?}"));
        self.noted(gateway, 0)?;
        speaker.leave()
    }

    /// So many numbers must be noted as missing, or as a gap that nothing explains.
    fn noted(&mut self, gateway: &Gateway, given_up: u64) -> anyhow::Result<()> {
        let noted = table::missing_numbers(&gateway.database()).context("read what is missing")?;
        let say = || format!("{given_up} numbers were given up, {noted} are noted as missing, seed {}", self.seed);
        self.found.fault(Fault::WrongGap, noted.abs_diff(given_up), say);
        Ok(())
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
