//! The agent as it is shipped: the profile `dist`, small first. What it weighs is what the design speaks of; the agent
//! of this build, which is larger, stands in for it without a limit.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use harness::process::Process;
use harness::{Agent, binary};

use crate::table::{Limit, Measure, Table};

/// The agent that is weighed.
pub(crate) struct Shipped {
    target: PathBuf,
    path: PathBuf,
    is_shipped: bool,
}

impl Shipped {
    /// The shipped agent of this machine's kind if it was built, else the one beside this program.
    ///
    /// # Errors
    /// When the build's folder cannot be found.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let own = binary("tributary-agent");
        let target = own.ancestors().nth(2).context("the build's folder")?.to_path_buf();
        let musl = format!("{}-unknown-linux-musl/dist/tributary-agent", std::env::consts::ARCH);
        let shipped = [target.join(musl), target.join("dist/tributary-agent")].into_iter().find(|path| path.exists());
        let is_shipped = shipped.is_some();
        Ok(Self { target, path: shipped.unwrap_or(own), is_shipped })
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it in the place of the one that the harness would start.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, agent: &mut Agent) -> anyhow::Result<()> {
        agent.process = None;
        let mut command = Command::new(&self.path);
        command.args(["run", "--config"]).arg(agent.config()).env("TRIBUTARY_LOG", "info,rumqttc=error");
        agent.process = Some(Process::start(command, &agent.folder.join("agent.log")).context("start the agent")?);
        Ok(())
    }

    /// Adds `mib` as what the shipped agent weighs; or beside that name, without `limit`, if it was not built.
    pub(crate) fn add(&self, table: &mut Table, name: &str, mib: f64, limit: Limit, note: &str) {
        self.add_in("MiB", table, name, mib, limit, note);
    }

    /// The same of another thing that the shipped agent takes, in `unit`.
    pub(crate) fn add_in(
        &self,
        unit: &'static str,
        table: &mut Table,
        name: &str,
        value: f64,
        limit: Limit,
        note: &str,
    ) {
        let place = self.path.strip_prefix(&self.target).unwrap_or(&self.path).display();
        let note = format!("{note}{place}");
        if self.is_shipped {
            table.add(&Measure::new(name, value, unit).limit(limit).note(note));
        } else {
            table.skip(name, "what is shipped is not built; `cargo build --profile dist -p tributary-agent`");
            table.add(&Measure::new(format!("{name}.this_build"), value, unit).note(note));
        }
    }
}
