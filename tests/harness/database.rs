//! The gateways' database, as the judge reads it: a file, or a server that any number of gateways share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::Context;

use crate::binary;
use crate::oracle::Ledger;
use crate::pki::Files;
use crate::servers::postgres::roles::{INGEST, MIGRATE};
use crate::servers::{Postgres, Sql};

/// Where gateways keep what they have.
#[derive(Clone, Debug)]
pub enum Database {
    /// One gateway's file.
    Sqlite(PathBuf),
    /// Of many gateways.
    Postgres(Shared),
}

/// A database on a server, with its schema, and what gateways are told of it.
#[derive(Clone)]
pub struct Shared {
    dsn: String,
    table: String,
    /// One connection for all questions; none after one that failed.
    judge: Arc<Mutex<Option<Sql>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(…)") // it knows a password
    }
}

impl Database {
    /// What it says of `device`, all of one moment.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ledger(&self, device: &str) -> anyhow::Result<Ledger> {
        match self {
            Self::Sqlite(path) => Ledger::read(path, device).context("read the gateway's database"),
            Self::Postgres(shared) => shared.ask(|sql| Ledger::of_server(sql, device, true)),
        }
    }

    /// The same without readings, and from a server without single batches: quick, while things run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn numbers(&self, device: &str) -> anyhow::Result<Ledger> {
        match self {
            Self::Sqlite(path) => Ledger::read_numbers(path, device).context("read the gateway's database"),
            Self::Postgres(shared) => shared.ask(|sql| Ledger::of_server(sql, device, false)),
        }
    }
}

impl Shared {
    /// Makes the database `name` on `server`, the gateway's roles by its own roles.sql, the schema by its `migrate`, and
    /// what gateways are told of it: their role may no more than it needs. `files` are any that a gateway could start
    /// with.
    ///
    /// # Errors
    /// When the server does not answer, or the schema cannot be made; with the gateway's words.
    pub fn prepare(server: &Postgres, name: &str, folder: &Path, files: &Files) -> anyhow::Result<Self> {
        let shared = Self::bare(server, name, folder)?;
        shared.migrate(folder, files)?;
        Ok(shared)
    }

    /// The same without the schema: for what is put back into it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn bare(server: &Postgres, name: &str, folder: &Path) -> anyhow::Result<Self> {
        let dsn = server.database(name)?;
        std::fs::create_dir_all(folder)?;
        server.make_roles(name)?;
        let (ingest, migrate) = (server.password_file(folder, INGEST)?, server.password_file(folder, MIGRATE)?);
        let port = server.port;
        let table = format!(
            "[store]\nkind = \"postgres\"\n[store.postgres]\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"{name}\"\n\
             user = \"{INGEST}\"\npassword_file = {ingest:?}\nmigrate_user = \"{MIGRATE}\"\n\
             migrate_password_file = {migrate:?}\n"
        );
        Ok(Self { dsn, table, judge: Arc::default() })
    }

    /// The gateways' `[store]` tables.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Where the superuser finds it.
    #[must_use]
    pub fn dsn(&self) -> &str {
        &self.dsn
    }

    fn migrate(&self, folder: &Path, files: &Files) -> anyhow::Result<()> {
        let Files { authority, certificate, key } = files;
        let config = folder.join("migrate.toml");
        let text = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n\
             authority_file = {authority:?}\n{}",
            self.table
        );
        std::fs::write(&config, text)?;
        let made = Command::new(binary("tributary-gateway")).args(["migrate", "--config"]).arg(&config).output()?;
        anyhow::ensure!(made.status.success(), "migrate: {}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    /// Asks `ask` on the judge's own connection.
    fn ask<T>(&self, ask: impl FnOnce(&Sql) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut judge = self.judge.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let sql = match judge.take() {
            Some(sql) => sql,
            None => Sql::connect(&self.dsn)?,
        };
        let answer = ask(&sql)?;
        *judge = Some(sql);
        Ok(answer)
    }
}
