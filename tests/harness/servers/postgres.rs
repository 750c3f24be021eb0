//! A PostgreSQL of one's own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use super::tree::{Tree, run};
use super::{START_DEADLINE, on_free_port, until};
use crate::pki::Files;

mod edition;
pub mod roles;
mod sql;

pub use edition::Edition;
pub use sql::Sql;

/// How long a server may take to end in good order: it writes a checkpoint.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether what is committed is on the disk. The gateway refuses a server that says no.
    pub fsync: bool,
    /// The server's certificate: with one, all but the superuser have to come by TLS.
    pub tls: Option<Files>,
    /// More lines for `postgresql.conf`; they win over the harness's own.
    pub lines: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fsync: true, tls: None, lines: Vec::new() }
    }
}

/// A PostgreSQL server, its folder, and where it listens. Restarted, it keeps its port and its data.
#[derive(Debug)]
pub struct Postgres {
    /// Which one.
    pub edition: Edition,
    /// Its port on 127.0.0.1.
    pub port: u16,
    folder: PathBuf,
    programs: PathBuf,
    password: String,
    tree: Option<Tree>,
}

impl Postgres {
    /// Starts a server with new data in `folder`, with synced commits and passwords (scram-sha-256), without TLS.
    ///
    /// # Errors
    /// [`super::Missing`] when it is not on this machine; others when it does not start.
    pub fn start(folder: &Path, edition: Edition) -> anyhow::Result<Self> {
        Self::start_with(folder, edition, &Settings::default())
    }

    /// The same with `settings`.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(folder: &Path, edition: Edition, settings: &Settings) -> anyhow::Result<Self> {
        let programs = edition.programs()?;
        std::fs::create_dir_all(folder)?;
        let password = edition::fresh(&programs, &folder.join("data"))?;
        let mut server = Self { edition, port: 0, folder: folder.into(), programs, password, tree: None };
        on_free_port(|port| {
            server.port = port;
            server.configure(settings)?;
            server.run()
        })?;
        Ok(server)
    }

    /// What it says of itself.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its first process, while it runs; the others are that one's children.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.tree.as_ref().map(Tree::id)
    }

    /// Where `user` finds `database`, as a URL. The words go in as they are: letters, digits, `-` and `_`.
    #[must_use]
    pub fn dsn(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The superuser's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Where the superuser finds `database`.
    #[must_use]
    pub fn admin_dsn(&self, database: &str) -> String {
        self.dsn("postgres", &self.password, database)
    }

    /// A connection as superuser to the database `postgres`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn admin(&self) -> anyhow::Result<Sql> {
        self.admin_of("postgres")
    }

    /// A connection as superuser to `database`.
    ///
    /// # Errors
    /// When the server does not answer, or has no such database.
    pub fn admin_of(&self, database: &str) -> anyhow::Result<Sql> {
        Sql::connect(&self.admin_dsn(database))
    }

    /// Makes a database, with the extension where the edition has it. Answers where the superuser finds it.
    ///
    /// # Errors
    /// When the server does not answer, or has one of that name.
    pub fn database(&self, name: &str) -> anyhow::Result<String> {
        let dsn = self.bare_database(name)?;
        if self.edition.has_timescale() {
            Sql::connect(&dsn)?.run("create extension timescaledb")?;
        }
        Ok(dsn)
    }

    /// The same without the extension.
    ///
    /// # Errors
    /// The same.
    pub fn bare_database(&self, name: &str) -> anyhow::Result<String> {
        self.admin()?.run(&format!("create database \"{name}\""))?;
        Ok(self.admin_dsn(name))
    }

    /// Makes a role that may log in, and nothing more.
    ///
    /// # Errors
    /// When the server does not answer, or has one of that name.
    pub fn login(&self, name: &str, password: &str) -> anyhow::Result<()> {
        self.admin()?.run(&format!("create role \"{name}\" login password '{password}'"))
    }

    /// SIGKILL to all its processes at once: what was not on the disk is gone. Gone when this returns.
    ///
    /// # Errors
    /// When one of them does not go.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.tree.take().map_or(Ok(()), |mut tree| tree.kill())
    }

    /// Ends in good order: sessions are cut, a checkpoint is written.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        // SIGINT is its "fast shutdown".
        self.tree.take().map_or(Ok(()), |mut tree| tree.end(Signal::SIGINT, STOP_DEADLINE))
    }

    /// Starts again with the same data on the same port; stops first when it runs.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.run()
    }

    /// SIGSTOP to all its processes: sessions stay open, and nothing answers.
    pub fn pause(&self) {
        self.tree.iter().for_each(Tree::pause);
    }

    /// SIGSTOP to the first process alone: sessions work on, new ones are not served.
    pub fn pause_newcomers(&self) {
        self.tree.iter().for_each(Tree::pause_parent);
    }

    /// SIGCONT to all its processes.
    pub fn resume(&self) {
        self.tree.iter().for_each(Tree::resume);
    }

    fn configure(&self, settings: &Settings) -> anyhow::Result<()> {
        let mut conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\ntimezone = 'UTC'\n\
             log_timezone = 'UTC'\nfsync = {}\n",
            self.port,
            if settings.fsync { "on" } else { "off" }
        );
        // In files of its own folder, so that a killed server leaves nothing in /dev/shm.
        conf.push_str("dynamic_shared_memory_type = mmap\n");
        // What compiles queries is not fetched, and no question of a test is long enough for it.
        conf.push_str("jit = off\n");
        if self.edition.has_timescale() {
            conf.push_str("shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\n");
        }
        let mut hba = "host all postgres 127.0.0.1/32 scram-sha-256\n".to_owned();
        let mut kind = "host";
        if let Some(files) = &settings.tls {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            writeln!(conf, "ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'")?;
            kind = "hostssl";
        }
        writeln!(hba, "{kind} all all 127.0.0.1/32 scram-sha-256")?;
        for line in &settings.lines {
            writeln!(conf, "{line}")?;
        }
        std::fs::write(self.data().join("postgresql.conf"), conf)?;
        std::fs::write(self.data().join("pg_hba.conf"), hba)?;
        Ok(())
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut command = edition::command(&self.programs, "postgres");
        command.arg("-D").arg(self.data()).env("LC_ALL", "C");
        let mut tree = Tree::start(command, &self.log()).context("start PostgreSQL")?;
        let (id, file) = (tree.id().to_string(), self.data().join("postmaster.pid"));
        // Its first line is the process, its eighth how far that is.
        let ready = |text: String| {
            let mut lines = text.lines();
            lines.next() == Some(&id) && lines.nth(6).is_some_and(|state| state.trim() == "ready")
        };
        until("PostgreSQL to be ready", START_DEADLINE, || {
            tree.ensure_runs()?;
            Ok(std::fs::read_to_string(&file).is_ok_and(ready).then_some(()))
        })
        .context("start PostgreSQL")?;
        self.tree = Some(tree);
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT is its "immediate shutdown": no checkpoint, but its shared memory goes back to the system.
        if let Some(mut tree) = self.tree.take() {
            let _ = tree.end(Signal::SIGQUIT, Duration::from_secs(5));
        }
        // A killed one could not give it back. The seventh line names key and id of the segment.
        let left = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let segment = left.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
        if let Some(segment) = segment {
            let mut command = Command::new("ipcrm");
            command.args(["-m", segment]);
            let _ = run(command);
        }
    }
}
