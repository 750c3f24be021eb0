//! Cuts on the device.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::issuing::{Issuing, PATIENCE, enrol, said};
use harness::pki::Files;
use harness::{Agent, wait_for};

use super::disk::{self, Disk, Image};
use super::spread;
use super::tape::{self, Act};
use crate::part::{Found, Plan};
use crate::rotations::knock;
use crate::site::now_s;

const DAY: i64 = 86_400;
/// For a device to come to a certificate that works.
const COMEBACK: Duration = Duration::from_secs(30);
/// Devices whose renewals are recorded: each may be issued four certificates a day, for those whose key was cut off.
const RECORDED: usize = 4;

/// What a cut left.
struct Cut {
    image: Image,
    /// After so many things done.
    after: usize,
    /// The device had spoken to the gateway by then.
    has_spoken: bool,
}

/// Every image that a cut at any moment of `acts` could leave, each once before and once after the device first spoke.
fn cuts(before: Image, acts: &[Act]) -> anyhow::Result<Vec<Cut>> {
    let (mut disk, mut seen, mut has_spoken) = (Disk::of(before), std::collections::BTreeSet::new(), false);
    let mut cuts = Vec::new();
    for after in 0..=acts.len() {
        for image in disk.images() {
            if seen.insert((image.clone(), has_spoken)) {
                cuts.push(Cut { image, after, has_spoken });
            }
        }
        if let Some(act) = acts.get(after) {
            has_spoken |= *act == Act::Speak;
            disk.take(act)?;
        }
    }
    Ok(cuts)
}

/// How many things were done to the folder: of a key and a certificate at least to make, write, sync, name and rename it.
fn steps(acts: &[Act]) -> anyhow::Result<usize> {
    let steps = acts.iter().filter(|act| **act != Act::Speak).count();
    anyhow::ensure!(steps >= 10, "only {steps} steps were seen: {acts:?}");
    Ok(steps)
}

/// `tributary-agent enrol`, cut and called again.
pub(super) fn enrolments(plan: &Plan, found: &mut Found) -> anyhow::Result<()> {
    const NAME: &str = "cut-1";
    let stage = Issuing::start(&plan.folder.join("enrolments"));
    let (claim, mut agent, places) = (stage.claim(NAME, NAME), stage.newcomer(NAME, NAME), stage.places(NAME));
    let traces = plan.folder.join("enrolment-traces");
    agent.program = tape::traced(&agent.program, &traces)?;
    let output = enrol(&agent, &claim);
    anyhow::ensure!(output.status.success(), "recorded: {}", said(&output));
    let acts = tape::read(&traces, folder(&places)?)?;
    found.count("identity_cut_points", steps(&acts)?);
    let all = cuts(Image::new(), &acts)?;
    anyhow::ensure!(all.iter().any(|cut| cut.has_spoken), "the device never spoke: {acts:?}");
    for (place, cut) in spread(all, plan.amount(8, usize::MAX)).iter().enumerate() {
        let name = format!("image-{place}");
        let agent = stage.newcomer(&name, NAME);
        let own = stage.places(&name);
        disk::write(&cut.image, folder(&own)?)?;
        // Before it has spoken its claim is as good as new; after that the claim is that of the key it spoke of.
        let claim = if cut.has_spoken { claim.clone() } else { stage.claim(&name, NAME) };
        let output = enrol(&agent, &claim);
        found.check(output.status.success(), || format!("enrolment {cut}: {}", said(&output)));
        works(&stage, &own, NAME, &format!("enrolment {cut}"), found);
        found.count("identity_cuts", 1);
    }
    Ok(())
}

/// `tributary-agent run` that renews, cut and started again.
pub(super) fn renewals(plan: &Plan, found: &mut Found) -> anyhow::Result<()> {
    let stage = Issuing::start(&plan.folder.join("renewals"));
    let mut points = usize::MAX;
    for group in 0..RECORDED {
        let device = format!("turn-{group}");
        let (before, acts) = record(&stage, plan, &device)?;
        points = points.min(steps(&acts)?);
        let mine = |(place, _): &(usize, Cut)| place % RECORDED == group;
        let all: Vec<Cut> = cuts(before, &acts)?.into_iter().enumerate().filter(mine).map(|(_, cut)| cut).collect();
        for (place, cut) in spread(all, plan.amount(2, usize::MAX)).iter().enumerate() {
            let name = format!("image-{group}-{place}");
            let (mut agent, own) = (stage.newcomer(&name, &device), stage.places(&name));
            disk::write(&cut.image, folder(&own)?)?;
            go_on(&stage, &mut agent, &own, cut, found);
            found.count("identity_cuts", 1);
        }
    }
    found.count("identity_cut_points", points);
    Ok(())
}

/// The files of `device` before it renews, and what it does to them.
fn record(stage: &Issuing, plan: &Plan, device: &str) -> anyhow::Result<(Image, Vec<Act>)> {
    let mut agent = stage.member(device, &stage.pki.device_at(device, -25 * DAY));
    let (own, traces) = (stage.places(device), plan.folder.join(format!("{device}-traces")));
    let before = disk::read(folder(&own)?)?;
    agent.program = tape::traced(&agent.program, &traces)?;
    agent.start();
    wait_for("a new certificate to take its place", PATIENCE, || is_renewed(&own).then_some(()));
    // In good order: to be killed while it syncs the last name would leave a trace without an end.
    agent.stop();
    let acts = tape::read(&traces, folder(&own)?)?;
    Ok((before, acts))
}

/// Whether the device has a new certificate, and none that is yet to be tried.
fn is_renewed(own: &Files) -> bool {
    let left_s = || {
        let chain = certs::read_certificates(&own.certificate).ok()?;
        Some(certs::life(chain.first()?)?.1 - i64::try_from(now_s()).ok()?)
    };
    let is_new = left_s().is_some_and(|left_s| left_s > 30 * DAY);
    let has_next = |path: &Path| path.with_extension(format!("{}.next", ending(path))).exists();
    is_new && !has_next(&own.certificate) && !has_next(&own.key)
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().into_owned()
}

/// Starts the agent on what a cut left: it ends up with a new certificate that works, if it has not got one already.
fn go_on(stage: &Issuing, agent: &mut Agent, own: &Files, cut: &Cut, found: &mut Found) {
    let (what, device) = (format!("renewal {cut}"), agent.device.clone());
    agent.start();
    let began = Instant::now();
    // Its log is its own: each cut has a folder.
    let log = || agent.process.as_ref().map(harness::process::Process::log_text).unwrap_or_default();
    let is_done = || is_renewed(own) && log().contains(" connected host=");
    while !is_done() && began.elapsed() < COMEBACK {
        std::thread::sleep(Duration::from_millis(20));
    }
    found.check(is_done(), || format!("{what}: no new certificate:\n{}", log()));
    agent.kill();
    works(stage, own, &device, &what, found);
}

/// Whether the pair of `own` is one, and opens the gateway's door.
fn works(stage: &Issuing, own: &Files, device: &str, what: &str, found: &mut Found) {
    let answer = knock(stage.gateway.mqtt_port, own, device);
    found.check(matches!(answer, Ok(0)), || format!("{what}: it does not connect: {answer:?}"));
    found.check(is_renewed(own), || format!("{what}: something is left over"));
}

fn folder(files: &Files) -> anyhow::Result<&Path> {
    files.certificate.parent().context("a certificate lies in a folder")
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cut after step {}, with", self.after)?;
        self.image.iter().try_for_each(|(name, (bytes, _))| write!(f, " {name} ({} bytes)", bytes.len()))
    }
}
