//! What all rigs did and found, for people and as `target/chaos.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use harness::trial;
use serde_json::{Value, json};

use crate::rig::{Fault, Found, Size};

/// What is reported even when it is 0.
const FIGURES: [&str; 14] = [
    "kills",
    "gateway_kills",
    "pauses_in_commit",
    "frames_to_two_gateways",
    "database_kills",
    "powercut_images",
    "simulation_seeds",
    "cut_points",
    "io_faults",
    "clock_faults",
    "disk_full_cycles",
    "bit_flips",
    "machine_power_cuts",
    "seeded_bugs_caught",
];

/// The sum over all rigs.
pub(crate) struct Report {
    seed: u64,
    size: Size,
    sum: Found,
    must_be_whole: bool,
    seconds: BTreeMap<&'static str, f64>,
    /// Rigs that this size has none of.
    left_out: Vec<&'static str>,
}

impl Report {
    /// Where it `must_be_whole`, what was skipped is wrong.
    pub(crate) fn new(seed: u64, size: Size, must_be_whole: bool) -> Self {
        Self { seed, size, sum: Found::default(), must_be_whole, seconds: BTreeMap::new(), left_out: Vec::new() }
    }

    /// Takes in what `rig` found, and says it.
    pub(crate) fn add(&mut self, rig: &'static str, found: &Found, took: Duration) {
        let did: Vec<String> = found.did.iter().map(|(what, count)| format!("{count} {what}")).collect();
        println!("{rig:<16} {:<7} {:>6.1} s  {}", found.verdict(), took.as_secs_f64(), did.join(", "));
        if let Some(why) = found.left_out {
            println!("    {why}");
            self.left_out.push(rig);
        }
        found.examples.iter().for_each(|example| println!("    {example}"));
        found.skipped.iter().for_each(|reason| println!("    skipped: {reason}"));
        self.seconds.insert(rig, took.as_secs_f64());
        self.sum.add(found.clone());
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.sum.is_clean() && (self.sum.skipped.is_empty() || !self.must_be_whole)
    }

    /// Writes the figures by name.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut figures: BTreeMap<String, Value> = FIGURES.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
        figures.extend(self.sum.did.iter().map(|(what, count)| ((*what).to_owned(), json!(count))));
        figures.extend(Fault::ALL.iter().map(|fault| (fault.name().to_owned(), json!(self.sum.count(*fault)))));
        figures.insert("skipped".into(), json!(self.sum.skipped));
        figures.insert("not_run".into(), json!(self.left_out));
        figures.insert("seed".into(), json!(self.seed));
        figures.insert("size".into(), json!(format!("{:?}", self.size).to_lowercase()));
        figures.insert("seconds".into(), json!(self.seconds));
        let total: f64 = self.seconds.values().sum();
        figures.insert("seconds_in_all".into(), json!(total));
        let faults: Vec<String> =
            Fault::ALL.iter().map(|fault| format!("{} {}", self.sum.count(*fault), fault.name())).collect();
        let left_out: String = self.left_out.iter().map(|rig| format!(", {rig} not run")).collect();
        let (faults, skipped) = (faults.join(", "), self.sum.skipped.len());
        println!("{faults}, {skipped} skipped{left_out} in {total:.0} s; {}", path.display());
        trial::write(path, &figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(must_be_whole: bool, faults: u64, skips: &[&str]) -> Report {
        let mut found = Found::default();
        found.fault(Fault::Lost, faults, || "one".into());
        skips.iter().for_each(|reason| found.skip("part", reason));
        let mut report = Report::new(1, Size::Short, must_be_whole);
        report.add("rig", &found, Duration::ZERO);
        report
    }

    #[test]
    fn what_was_skipped_is_wrong_where_all_must_be_shown() {
        assert!(report(true, 0, &[]).is_clean());
        assert!(!report(true, 0, &["no kernel"]).is_clean());
        assert!(report(false, 0, &["no kernel"]).is_clean());
        assert!(!report(false, 1, &[]).is_clean());
    }
}
