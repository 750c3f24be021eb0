//! The machine itself: load, memory, temperatures, disks, uptime and the share of its processors that works.
//!
//! Everything is read from `/proc` and `/sys` by [`read`]; [`look`] gathers it into readings. What a machine does not have is
//! said once and left out.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use proto::{Basis, Instant, Kind, Lane, Reading, Value};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::device::series;
use super::{BadSetting, Ended, Intake, Outlet, Sample, SourceClock, SourceError, SourceName};

mod look;
mod read;

use look::{Gauge, Look, slug};
pub(super) use read::fuzz as fuzz_read;

/// Disks that may be named.
const DISKS_MAX: usize = 16;
/// How long one look may take: a disk behind a network that is gone answers never.
const LOOK_TIME: Duration = Duration::from_secs(10);

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seconds from one look to the next, 1 to 86400.
    #[serde(default = "every_s")]
    pub every_s: u32,
    /// Folders whose file system's free and total bytes are told, at most 16.
    #[serde(default = "disks")]
    pub disks: Vec<PathBuf>,
    /// Whether temperatures are told.
    #[serde(default = "yes")]
    pub temperatures: bool,
    /// Where `proc` and `sys` are: another place than `/` where the agent runs in a container.
    #[serde(default = "root")]
    pub root: PathBuf,
}

fn every_s() -> u32 {
    60
}

fn disks() -> Vec<PathBuf> {
    vec![PathBuf::from("/")]
}

fn yes() -> bool {
    true
}

fn root() -> PathBuf {
    PathBuf::from("/")
}

impl Settings {
    /// Whether all settings can be. Opens nothing.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let wrong = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        if !(1..=86_400).contains(&self.every_s) {
            return wrong("every_s", "is to be 1 to 86400");
        }
        if self.disks.len() > DISKS_MAX {
            return wrong("disks", "are to be at most 16");
        }
        if !self.disks.iter().chain([&self.root]).all(|path| path.is_absolute()) {
            return wrong("disks", "and `root` are to be absolute paths, such as /");
        }
        let names: HashSet<String> = self.disks.iter().map(|disk| slug(&disk.to_string_lossy())).collect();
        if names.len() < self.disks.len() {
            return wrong("disks", "are to have names that differ in letters and digits, which series are named by");
        }
        Ok(())
    }
}

/// Looks until it is told to stop.
///
/// # Errors
/// [`SourceError`] where a setting cannot be.
pub async fn run(
    settings: Settings,
    name: SourceName,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    settings.validate()?;
    let every = Duration::from_secs(settings.every_s.into());
    let mut told = HashSet::new();
    let mut look = Some(Look::new(settings));
    let mut under_way = None;
    loop {
        // One look at a time: one that hangs is waited for, and no other is begun.
        let mut looking = under_way.take().or_else(|| {
            let mut look = look.take()?;
            Some(tokio::task::spawn_blocking(move || {
                let found = look.look();
                (look, found)
            }))
        });
        if let Some(task) = &mut looking {
            let at = clock.boot();
            let done = tokio::select! {
                done = timeout(LOOK_TIME, &mut *task) => done,
                () = stop.cancelled() => return Ok(Ended::Stopped),
            };
            match done {
                Ok(Ok((back, found))) => {
                    look = Some(back);
                    for problem in found.missing {
                        if told.len() < 100 && told.insert(problem.clone()) {
                            warn!(source = %name, "{problem}; it is left out");
                        }
                    }
                    if !outlet.put_or_stop(intake(&name, found.gauges, at), &stop).await {
                        return Ok(Ended::Stopped);
                    }
                }
                Ok(Err(error)) => {
                    return Err(SourceError::Unusable(format!("the machine could not be looked at: {error}")));
                }
                Err(_) => {
                    under_way = looking;
                    if told.insert("slow".into()) {
                        warn!(source = %name, "a file of /proc, /sys or a disk does not answer; nothing is told until it does");
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return Ok(Ended::Stopped),
        }
    }
}

fn intake(name: &SourceName, gauges: Vec<Gauge>, at: Instant) -> Intake {
    let mut intake = Intake::empty(name, Lane::Live);
    intake.samples = gauges
        .into_iter()
        .map(|Gauge { name, unit, value }| {
            let reading = Reading::new(at, Value::Number(value));
            Sample { series: series(&name, unit, Kind::Gauge), basis: Basis::Boot, reading }
        })
        .collect();
    intake
}

#[cfg(test)]
mod tests;
