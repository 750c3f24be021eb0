//! What all rigs did and found, for people and as `target/chaos.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
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
    seconds: BTreeMap<&'static str, f64>,
}

impl Report {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        Self { seed, size, sum: Found::default(), seconds: BTreeMap::new() }
    }

    /// Takes in what `rig` found, and says it.
    pub(crate) fn add(&mut self, rig: &'static str, found: &Found, took: Duration) {
        let did: Vec<String> = found.did.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let verdict = if found.is_clean() { "clean" } else { "FAILED" };
        println!("{rig:<16} {verdict:<7} {:>6.1} s  {}", took.as_secs_f64(), did.join(", "));
        found.examples.iter().for_each(|example| println!("    {example}"));
        found.skipped.iter().for_each(|reason| println!("    skipped: {reason}"));
        self.seconds.insert(rig, took.as_secs_f64());
        self.sum.add(found.clone());
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.sum.is_clean()
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
        figures.insert("seed".into(), json!(self.seed));
        figures.insert("size".into(), json!(format!("{:?}", self.size).to_lowercase()));
        figures.insert("seconds".into(), json!(self.seconds));
        let total: f64 = self.seconds.values().sum();
        figures.insert("seconds_in_all".into(), json!(total));
        let faults: Vec<String> =
            Fault::ALL.iter().map(|fault| format!("{} {}", self.sum.count(*fault), fault.name())).collect();
        println!("{} in {total:.0} s; {}", faults.join(", "), path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }
}
