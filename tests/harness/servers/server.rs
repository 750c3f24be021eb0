//! What servers have in common that listen on one port and end on SIGTERM.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use super::tree::Tree;
use super::{START_DEADLINE, on_free_port, until};

/// How long a server may take to end in good order: some write what they hold.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A server, its log, and where it listens. Restarted, it keeps its port; what else it keeps is its own affair.
#[derive(Debug)]
pub struct Server {
    /// Its port on 127.0.0.1.
    pub port: u16,
    program: PathBuf,
    arguments: Vec<OsString>,
    log: PathBuf,
    tree: Option<Tree>,
}

impl Server {
    /// Starts `program` on a free port; `prepare` writes what it needs and answers its arguments. It logs to `log`.
    pub(super) fn start(
        program: PathBuf,
        log: &Path,
        mut prepare: impl FnMut(u16) -> anyhow::Result<Vec<OsString>>,
    ) -> anyhow::Result<Self> {
        let mut server = Self { port: 0, program, arguments: Vec::new(), log: log.into(), tree: None };
        on_free_port(|port| {
            server.port = port;
            server.arguments = prepare(port)?;
            server.run()
        })?;
        Ok(server)
    }

    /// What it says of itself.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.tree.as_ref().map(Tree::id)
    }

    /// SIGKILL; gone when this returns.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.tree.take().map_or(Ok(()), |mut tree| tree.kill())
    }

    /// Ends in good order.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.tree.take().map_or(Ok(()), |mut tree| tree.end(Signal::SIGTERM, STOP_DEADLINE))
    }

    /// Starts again on the same port; stops first when it runs.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.run()
    }

    /// SIGSTOP: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.tree.iter().for_each(Tree::pause);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.tree.iter().for_each(Tree::resume);
    }

    pub(super) fn send(&self, signal: Signal) {
        self.tree.iter().for_each(|tree| tree.send(signal));
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let named = self.program.display();
        let mut tree = Tree::start(command, &self.log)?;
        until("a server to listen", START_DEADLINE, || {
            tree.ensure_runs()?;
            Ok(tree.listens_on(self.port).then_some(()))
        })
        .with_context(|| format!("start {named}"))?;
        self.tree = Some(tree);
        Ok(())
    }
}
