//! The power goes at each step of a device's way to its certificate, first or next; or the gateway dies at each step of
//! issuing it. Afterwards the device goes on to a certificate that works.
//!
//! The device: the unmodified agent is recorded once by strace, and of each folder that a cut could leave behind, a new
//! agent goes on. The gateway: strace kills the unmodified gateway at the n-th call of the thread that issues, for each n.

use std::process::{Command, Stdio};

mod device;
mod disk;
mod gateway;
mod tape;

use crate::part::{Found, Plan};

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let strace = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !strace.is_ok_and(|status| status.success()) {
        found.skipped.push("strace is not there, or may not trace: `.ci/install` installs it".to_owned());
        return Ok(found);
    }
    device::enrolments(plan, &mut found)?;
    device::renewals(plan, &mut found)?;
    gateway::deaths(plan, &mut found)?;
    Ok(found)
}

/// As many of `all` as there are to be, spread over them, the last one included.
fn spread<T>(all: Vec<T>, wanted: usize) -> Vec<T> {
    let (count, wanted) = (all.len(), wanted.max(1));
    let is_wanted = |place: usize| (place + 1) * wanted / count.max(1) > place * wanted / count.max(1);
    all.into_iter().enumerate().filter(|(place, _)| count <= wanted || is_wanted(*place)).map(|(_, one)| one).collect()
}
