//! What all rows are tried with: certificates, unmodified agents, clocks that run fast, and what was seen in all.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use harness::Agent;
use harness::pki::Files;
use harness::process::Process;
use harness::wrong_clock::fast;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use super::door::Door;
use super::line::{self, Line, Shaken};
use super::summary::Summary;
use crate::certificates::Shown;
use crate::certificates::draft::{self, Draft, EXTENDED, NAMES, SERVER};
use crate::certificates::keys::Proof;
use crate::certificates::workshop::Workshop;
use crate::part::Plan;

/// For a device to do what it is about to do. Generous: machines that test are busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// A source of so many readings a second, by the true time: sources live by the clock of the boot, which cannot be made
/// fast.
pub(super) fn meter(readings: u32) -> String {
    format!(
        "[sealer]\nlinger_ms = 20\n[[source]]\nname = \"m\"\ntype = \"simulate\"\nwhat = \"meter\"\nspeed = {readings}.0\n"
    )
}

/// For a device that is to come back at once.
pub(super) const AT_ONCE: [(&str, &str); 2] = [("reconnect_s_min", "0.01"), ("reconnect_s_max", "0.01")];
/// As the agent waits by itself.
pub(super) const AS_SHIPPED: [(&str, &str); 2] = [("reconnect_s_min", "1.0"), ("reconnect_s_max", "300.0")];

/// Everything.
pub(super) struct Bench {
    pub(super) plan: Plan,
    /// How many times slower than they might be its fast clocks run.
    pub(super) slowness: u32,
    workshop: Mutex<Workshop>,
    authority: PathBuf,
    anchors: Vec<CertificateDer<'static>>,
    /// What a server shows that is as it should be.
    pub(super) good: Shown,
    summary: Mutex<Summary>,
    backoff: Mutex<String>,
}

impl Bench {
    /// One whose fast clocks are so many times slower than they might be.
    ///
    /// # Errors
    /// When `openssl` is missing.
    pub(super) fn open(plan: &Plan, slowness: u32) -> anyhow::Result<Self> {
        let mut workshop = Workshop::open(&plan.folder.join("workshop"))?;
        let (authority, _) = workshop.trusted()?;
        let good = server(&mut workshop, |draft| draft)?;
        Ok(Self {
            plan: plan.clone(),
            slowness,
            anchors: certs::read_certificates(&authority)?,
            authority,
            workshop: workshop.into(),
            good,
            summary: Mutex::default(),
            backoff: Mutex::default(),
        })
    }

    /// How many times as fast as this one a clock runs that might run at `most`.
    pub(super) fn speed(&self, most: u32) -> u32 {
        most / self.slowness
    }

    pub(super) fn workshop(&self) -> MutexGuard<'_, Workshop> {
        lock(&self.workshop)
    }

    /// What the server shows where one thing is changed.
    ///
    /// # Errors
    /// When `openssl` does not sign.
    pub(super) fn shows(&self, change: impl FnOnce(Draft) -> Draft) -> anyhow::Result<Shown> {
        server(&mut self.workshop(), change)
    }

    /// TLS of both versions that shows `shown`.
    ///
    /// # Errors
    /// When rustls does not want to.
    pub(super) fn config(&self, shown: &Shown) -> anyhow::Result<Arc<ServerConfig>> {
        line::config(&self.anchors, shown, rustls::ALL_VERSIONS)
    }

    /// The same of one version.
    ///
    /// # Errors
    /// The same.
    pub(super) fn config_of(
        &self,
        shown: &Shown,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> anyhow::Result<Arc<ServerConfig>> {
        line::config(&self.anchors, shown, &[version])
    }

    /// The certificate of a device.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn files(&self, device: &str) -> anyhow::Result<Files> {
        self.workshop().neighbour(device, &self.authority)
    }

    /// An agent that is to connect to `port`; it does not run yet.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub(super) fn agent(
        &self,
        device: &str,
        port: u16,
        sources: &str,
        uplink: &[(&str, &str)],
    ) -> anyhow::Result<Agent> {
        let agent = Agent::new(&self.plan.folder.join(device), device, Some(port), &self.files(device)?, sources);
        uplink.iter().for_each(|(key, value)| agent.set_uplink(key, value));
        Ok(agent)
    }

    /// An agent whose clocks, all of them, run `speed` times as fast; none where libfaketime is missing.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub(super) fn fast_agent(
        &self,
        device: &str,
        port: u16,
        sources: &str,
        uplink: &[(&str, &str)],
        speed: u32,
    ) -> anyhow::Result<Agent> {
        let mut agent = self.agent(device, port, sources, uplink)?;
        agent.environment = fast(speed).context(NO_FAKETIME)?;
        Ok(agent)
    }

    /// `tributary-agent enrol` with a shared claim, which asks `port` again and again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn enrols(&self, device: &str, port: u16) -> anyhow::Result<Process> {
        let claim = self.files(&format!("{device}-claim"))?;
        let folder = self.plan.folder.join(device);
        let (certificate, key) = (folder.join("own.crt"), folder.join("own.key"));
        let own = Files { authority: self.authority.clone(), certificate, key };
        let agent = Agent::new(&folder, device, Some(port), &own, "");
        AT_ONCE.iter().for_each(|(key, value)| agent.set_uplink(key, value));
        let mut command = Command::new(&agent.program);
        command.arg("enrol").arg("--claim-certificate").arg(&claim.certificate).arg("--claim-key").arg(&claim.key);
        command.arg("--config").arg(agent.config());
        Process::start(command, &folder.join("enrol.log")).context("start tributary-agent enrol")
    }

    /// The next connection, with TLS on it.
    ///
    /// # Errors
    /// When there is none, or the device does not want it.
    pub(super) fn line(&self, door: &Door, config: &Arc<ServerConfig>) -> anyhow::Result<Line> {
        match Line::shake(door.accept(PATIENCE)?, config, PATIENCE)? {
            Shaken::Up(line) => Ok(*line),
            Shaken::Refused { alert, .. } => anyhow::bail!("the device does not want a good server: alert {alert:?}"),
        }
    }

    pub(super) fn sum_up(&self, summary: Summary) {
        lock(&self.summary).add(summary);
    }

    pub(super) fn summary(&self) -> Summary {
        lock(&self.summary).clone()
    }

    /// What the agent's way to wait between connections was found to be.
    pub(super) fn note_backoff(&self, kind: &str) {
        kind.clone_into(&mut lock(&self.backoff));
    }

    pub(super) fn backoff(&self) -> String {
        lock(&self.backoff).clone()
    }
}

/// Why rows on fast clocks are skipped.
pub(super) const NO_FAKETIME: &str = "libfaketime is missing (Debian: faketime)";

/// A certificate of the issuing authority for a server named `localhost`, but for what `change` does.
fn server(workshop: &mut Workshop, change: impl FnOnce(Draft) -> Draft) -> anyhow::Result<Shown> {
    let draft = workshop.leaf().with(NAMES, draft::names(&[draft::dns(b"localhost")]));
    let draft = change(draft.with(EXTENDED, draft::purposes(&[SERVER])));
    Ok(Shown { chain: workshop.issue(&draft)?, key: workshop.device.clone(), proof: Proof::Right })
}

/// Nobody panics with one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
