//! The restore drill: a gateway is backed up while it runs, goes on for 36 hours, and is destroyed; the copy is put back.
//! Agents hold what was confirmed since, and send it again: nothing is lost, nothing is doubled. Clocks go on for those
//! 36 hours too, for agents and gateways. What was cut off after the copy was made stays cut off.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::Gateway;
use harness::servers::Missing;

use crate::rig::{Found, Plan};

mod postgres;
mod scene;
mod sqlite;

use scene::Scene;

/// How old the copy is when it is put back.
const HOURS: u32 = 36;
/// How long anything may take; a full backlog of the long form comes through in that.
const DEADLINE: Duration = Duration::from_secs(120);
/// Devices that run all the time.
const RUNNING: [&str; 3] = ["drill-1", "drill-2", "drill-3"];
/// One that is off from before the copy until after it was put back.
const AWAY: &str = "drill-away";
/// One that is cut off after the copy was made.
const STOLEN: &str = "drill-stolen";

/// Where a gateway keeps its readings, for those who copy, destroy and put back.
trait Keep {
    /// Which, in figures and findings.
    fn name(&self) -> &'static str;
    /// Has the gateway keep its readings there.
    fn furnish(&self, gateway: &mut Gateway);
    /// What the judge reads.
    fn database(&self, gateway: &Gateway) -> harness::Database;
    /// The operator's command that copies it, with the gateway running.
    fn copying(&self, gateway: &Gateway) -> std::process::Command;
    /// All of it is gone; the gateway was killed before.
    fn destroy(&mut self, gateway: &Gateway) -> anyhow::Result<()>;
    /// The operator puts the copy back; the gateway is started after.
    fn put_back(&mut self, gateway: &mut Gateway) -> anyhow::Result<()>;
    /// Bytes of the copy.
    fn copy_bytes(&self) -> u64;
}

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let of_sqlite = || Ok::<Box<dyn Keep>, anyhow::Error>(Box::new(sqlite::File::new(&plan.folder)?));
    let of_postgres = || Ok::<Box<dyn Keep>, anyhow::Error>(Box::new(postgres::Server::new(&plan.folder)?));
    let drill = |name: &'static str, keep: anyhow::Result<Box<dyn Keep>>| -> anyhow::Result<Found> {
        match keep {
            Ok(keep) => play(plan, &plan.folder.join(name), keep).context(name),
            Err(error) => {
                let missing = error.downcast::<Missing>()?;
                let mut found = Found::default();
                found.skip(name, &missing.to_string());
                Ok(found)
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| drill("restore of PostgreSQL", of_postgres()));
        let mut found = drill("restore of SQLite", of_sqlite())?;
        found.add(other.join().unwrap_or_else(|_| bail!("the drill of PostgreSQL panicked"))?);
        Ok(found)
    })
}

fn play(plan: &Plan, folder: &Path, keep: Box<dyn Keep>) -> anyhow::Result<Found> {
    let mut scene = Scene::begin(plan, folder, keep)?;
    scene.copy()?;
    let legs = u32::try_from(plan.amount(2, 6, 18))?;
    for leg in 1..=legs {
        scene.pass(HOURS / legs * leg, leg)?;
    }
    scene.destroy_and_put_back()?;
    scene.end()
}

fn wait(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done()? {
        ensure!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}, in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
