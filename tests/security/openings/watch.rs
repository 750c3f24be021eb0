//! What one agent has open, looked at again and again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::Agent;
use harness::pki::Files;

use super::sockets::{self, Socket};
use super::{LOOK_EVERY, descriptors};
use crate::part::Found;

/// Looks that are enough.
pub(super) const LOOKS_MIN: u64 = 20;
/// How much longer than it was told to it looks until they are.
const LONGER_MAX: Duration = Duration::from_secs(10);

/// What an agent may have open beside its own files, by its settings.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// Where it may connect to, on loopback.
    pub(super) ports: BTreeSet<u16>,
    /// The Unix socket that it listens at, by the name that it is made with.
    pub(super) socket: Option<PathBuf>,
    /// The program that it runs.
    pub(super) program: Option<&'static str>,
}

impl Expected {
    /// Nothing but a connection to the gateway.
    pub(super) fn only(gateway: u16) -> Self {
        Self { ports: [gateway].into(), ..Self::default() }
    }
}

/// What was seen of one agent.
pub(super) struct Watch {
    id: u32,
    pub(super) own: Vec<PathBuf>,
    pub(super) readable: Vec<PathBuf>,
    pub(super) expected: Expected,
    pub(super) looks: u64,
    listening: u64,
    /// Times that its own Unix socket was seen to listen.
    serving: u64,
    pub(super) destinations: BTreeSet<String>,
    strange: BTreeSet<String>,
    most: usize,
}

impl Watch {
    pub(super) fn new(agent: &Agent, files: &Files, expected: Expected) -> Self {
        let buffer = agent.buffer().display().to_string();
        let mut own: Vec<PathBuf> =
            ["", "-journal", "-wal", "-shm", ".reserve", ".lock"].map(|end| format!("{buffer}{end}").into()).into();
        // The folder itself is opened for a moment, to be synced.
        own.extend([agent.folder.clone(), agent.folder.join("agent.log"), "/dev/null".into()]);
        let Files { authority, certificate, key } = files.clone();
        Self {
            id: agent.process.as_ref().map_or(0, harness::process::Process::id),
            own,
            readable: vec![authority, certificate, key, agent.config()],
            expected,
            looks: 0,
            listening: 0,
            serving: 0,
            destinations: BTreeSet::new(),
            strange: BTreeSet::new(),
            most: 0,
        }
    }

    /// Looks again and again, while `meanwhile` gives it something to do: for `span`, and on a busy machine until it was
    /// often enough.
    pub(super) fn look(
        &mut self,
        span: Duration,
        meanwhile: &mut dyn FnMut(),
        found: &mut Found,
    ) -> anyhow::Result<()> {
        let (began, most) = (Instant::now(), span + LONGER_MAX);
        while began.elapsed() < span || (self.looks < LOOKS_MIN && began.elapsed() < most) {
            for socket in sockets::of(self.id)? {
                self.judge(&socket);
            }
            let open = descriptors::of(self.id)?;
            self.most = self.most.max(open.len());
            self.strange.extend(descriptors::strange(&open, &self.own, &self.readable));
            self.looks += 1;
            meanwhile();
            std::thread::sleep(LOOK_EVERY);
        }
        let children = descriptors::children(self.id);
        let may_have = usize::from(self.expected.program.is_some());
        found.check(children.len() == may_have, || format!("it has started {children:?}, where {may_have} are due"));
        Ok(())
    }

    fn judge(&mut self, socket: &Socket) {
        if self.expected.socket.as_deref().is_some_and(|path| socket.is_at(path)) {
            self.serving += u64::from(socket.listens());
            return;
        }
        self.listening += u64::from(socket.listens());
        if socket.is_strange() {
            self.strange.insert(format!("{socket:?}"));
        }
        self.destinations.extend(socket.destination());
    }

    /// Files that the calls may name.
    pub(super) fn allowed(&self, folder: &Path) -> Vec<PathBuf> {
        self.own.iter().chain(&self.readable).cloned().chain([folder.to_owned()]).collect()
    }

    pub(super) fn conclude(&self, found: &mut Found) {
        let wanted: BTreeSet<String> = self.expected.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        found.count("agent_listening_sockets", usize::try_from(self.listening).unwrap_or(usize::MAX));
        found.count("agent_looked_at", usize::try_from(self.looks).unwrap_or(usize::MAX));
        let most = found.figures.get("agent_descriptors_most").copied().unwrap_or(0).max(self.most as u64);
        found.measured("agent_descriptors_most", most);
        found.check(self.listening == 0, || format!("{} times something listened", self.listening));
        found.check(self.destinations.is_subset(&wanted), || {
            format!("it connects to {:?}, where {wanted:?} are its uplink and its sources", self.destinations)
        });
        self.strange.iter().for_each(|what| found.wrong(format!("the agent has open: {what}")));
        found.check(self.looks >= LOOKS_MIN, || format!("it was looked at {} times only", self.looks));
        let serves = self.expected.socket.is_some();
        found.check(serves == (self.serving > 0), || format!("its Unix socket was seen {} times", self.serving));
    }
}
