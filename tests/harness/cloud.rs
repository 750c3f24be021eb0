//! The cloud: gateways and their database, which the judge reads with SQL of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::database::Shared;
use crate::oracle::Ledger;
use crate::pki::Files;
use crate::{Database, Gateway, wait_for};

/// Gateways and their database.
pub struct Cloud {
    /// The only gateway, or the first.
    pub gateway: Gateway,
    /// More gateways on the same database.
    pub others: Vec<Gateway>,
    /// Where devices connect, if not to the first gateway itself.
    pub door: Option<u16>,
    /// What the judge reads.
    pub database: Database,
    folder: PathBuf,
}

impl Cloud {
    /// Starts a gateway in `folder`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path, files: Files) -> Self {
        Self::around(folder, Gateway::start(folder, files, ""))
    }

    /// The same, with more tables in the gateway's configuration.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with(folder: &Path, files: Files, tables: &str) -> Self {
        Self::around(folder, Gateway::start(folder, files, tables))
    }

    /// The same, with something in the gateway's environment.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_in(folder: &Path, files: Files, environment: Vec<(String, String)>) -> Self {
        let mut gateway = Gateway::prepare(folder, files, "");
        gateway.environment = environment;
        gateway.restart();
        Self::around(folder, gateway)
    }

    /// As many gateways as there are `tables`, on one database: each has its own more tables in its configuration.
    ///
    /// # Panics
    /// When one does not start, or there is none.
    #[must_use]
    pub fn start_many(folder: &Path, files: &Files, shared: &Shared, tables: &[String]) -> Self {
        let start = |(place, tables): (usize, &String)| {
            let mut gateway = Gateway::prepare(&folder.join(format!("gateway-{place}")), files.clone(), tables);
            gateway.store = Some(shared.table().to_owned());
            gateway.restart();
            gateway
        };
        let mut gateways = tables.iter().enumerate().map(start);
        let gateway = gateways.next().expect("a cloud has a gateway");
        let (others, database) = (gateways.collect(), Database::Postgres(shared.clone()));
        Self { gateway, others, door: None, database, folder: folder.into() }
    }

    /// Of a gateway that is there, with a SQLite file.
    #[must_use]
    pub fn around(folder: &Path, gateway: Gateway) -> Self {
        let database = Database::Sqlite(gateway.database());
        Self { gateway, others: Vec::new(), door: None, database, folder: folder.into() }
    }

    /// Where devices connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.door.unwrap_or(self.gateway.mqtt_port)
    }

    /// Every gateway.
    pub fn gateways(&mut self) -> impl Iterator<Item = &mut Gateway> {
        std::iter::once(&mut self.gateway).chain(&mut self.others)
    }

    /// What the database says of `device`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ledger(&self, device: &str) -> anyhow::Result<Ledger> {
        self.database.ledger(device)
    }

    /// SIGKILL, and a new start on the same ports.
    pub fn kill_and_restart(&mut self) {
        self.gateway.kill();
        self.gateway.restart();
    }

    /// SIGSTOP for `time`, then SIGCONT.
    pub fn pause(&self, time: Duration) {
        if let Some(process) = &self.gateway.process {
            process.freeze();
            std::thread::sleep(time);
            process.thaw();
        }
    }

    /// SIGTERM, and its end awaited.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.gateway.process.take() {
            let status = process.terminate();
            anyhow::ensure!(status.success(), "the gateway ended with {status}:\n{}", process.log_text());
        }
        Ok(())
    }

    /// Keeps the gateway from writing until the answer is dropped, as a disk that is slow does.
    ///
    /// # Errors
    /// When the database cannot be locked.
    pub fn stall_store(&self) -> anyhow::Result<rusqlite::Connection> {
        let db = rusqlite::Connection::open(self.gateway.database()).context("open the gateway's database")?;
        db.busy_timeout(Duration::from_secs(5))?;
        // What dies with the gateway stays in the write-ahead log, for the gateway to recover.
        db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.execute_batch("begin immediate").context("lock the gateway's database")?;
        Ok(db)
    }

    /// Copies the database aside. The gateway does not run.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn back_up(&self) -> anyhow::Result<PathBuf> {
        let aside = self.folder.join("backup");
        copy_database(&self.gateway.database(), &aside.join("gateway.db"))?;
        Ok(aside.join("gateway.db"))
    }

    /// Puts an older copy where the database is. The gateway does not run.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn restore(&self, copy: &Path) -> anyhow::Result<()> {
        copy_database(copy, &self.gateway.database())
    }

    /// Waits until the gateway has stored something of `device`.
    ///
    /// # Panics
    /// When it does not within `deadline`.
    pub fn wait_for_first(&self, device: &str, deadline: Duration) {
        wait_for("a first reading", deadline, || {
            let ledger = self.ledger(device).ok()?;
            (!ledger.readings.is_empty()).then_some(())
        });
    }
}

/// Copies a database that nobody has open, with its write-ahead log; what else was at `to` goes.
///
/// # Errors
/// When it cannot be copied.
pub fn copy_database(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)?;
    }
    for ending in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
        let _ = std::fs::remove_file(with(to));
        if ending != "-shm" && with(from).exists() {
            std::fs::copy(with(from), with(to)).with_context(|| format!("copy {}", with(from).display()))?;
        }
    }
    Ok(())
}
