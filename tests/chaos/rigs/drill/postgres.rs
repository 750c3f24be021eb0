//! A server: copied by pg_dump, destroyed with its folder, and put back on another server by roles.sql and pg_restore.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use harness::database::Shared;
use harness::servers::{Edition, Missing, Postgres};
use harness::{Database, Gateway, Pki};

use super::Keep;

const NAME: &str = "tributary";
const EDITION: Edition = Edition::Plain15;

/// A server and what gateways are told of it.
pub(super) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    server: Postgres,
    shared: Shared,
}

impl Server {
    /// # Errors
    /// [`Missing`] where there is no PostgreSQL, or not what copies it.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("server");
        let programs = EDITION.programs()?;
        if !programs.join("pg_dump").exists() || !programs.join("pg_restore").exists() {
            let programs = programs.display();
            return Err(Missing(format!("{programs} has no pg_dump: apt-get install postgresql-client-15")).into());
        }
        let server = Postgres::start(&folder.join("first"), EDITION)?;
        let files = Pki::create(&folder.join("pki")).server();
        let shared = Shared::prepare(&server, NAME, &folder.join("first-settings"), &files)?;
        Ok(Self { folder, programs, server, shared })
    }

    /// One of its programs, as the superuser, whose password is in no argument.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.args(["--host=127.0.0.1", "--username=postgres", "--no-password"]);
        command.arg(format!("--port={}", self.server.port)).arg(format!("--dbname={NAME}"));
        command.env("PGPASSWORD", self.server.password()).env("LC_ALL", "C");
        command.stdin(Stdio::null());
        command
    }

    fn copy(&self) -> PathBuf {
        self.folder.join("copy.dump")
    }
}

impl Keep for Server {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn furnish(&self, gateway: &mut Gateway) {
        gateway.store = Some(self.shared.table().to_owned());
    }

    fn database(&self, _: &Gateway) -> Database {
        Database::Postgres(self.shared.clone())
    }

    fn copying(&self, _: &Gateway) -> Command {
        let mut command = self.program("pg_dump");
        command.arg("--format=custom").arg("--file").arg(self.copy());
        command
    }

    fn destroy(&mut self, _: &Gateway) -> anyhow::Result<()> {
        self.server.kill()?;
        std::fs::remove_dir_all(self.server.data()).context("remove the server's data")
    }

    fn put_back(&mut self, gateway: &mut Gateway) -> anyhow::Result<()> {
        self.server = Postgres::start(&self.folder.join("second"), EDITION)?;
        self.shared = Shared::bare(&self.server, NAME, &self.folder.join("second-settings"))?;
        let done = self.program("pg_restore").arg("--exit-on-error").arg(self.copy()).output()?;
        anyhow::ensure!(done.status.success(), "pg_restore: {}", String::from_utf8_lossy(&done.stderr));
        // They have seen entries of the audit trail that the copy lacks.
        let checkpoints = gateway.checkpoints();
        std::fs::rename(&checkpoints, checkpoints.with_extension("replaced")).context("keep the checkpoints aside")?;
        self.furnish(gateway);
        Ok(())
    }

    fn copy_bytes(&self) -> u64 {
        std::fs::metadata(self.copy()).map_or(0, |file| file.len())
    }
}
