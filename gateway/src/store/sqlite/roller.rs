//! Keeping the rollups beside the writer: read on a connection of its own, written in a short turn at the desk.

use std::path::PathBuf;

use rusqlite::Connection;

use super::writer::Desk;
use super::{Driver, open_reader};
use crate::store::error::StoreError;
use crate::store::rollup::pass::Pass;
use crate::store::rollup::retain::Retain;
use crate::store::rollup::{Roll, Rolled};
use crate::store::sql::Db;

/// Who keeps the rollups of one database.
pub struct Roller {
    desk: Desk,
    path: PathBuf,
    /// Reads. Opened when it is first needed, and anew after an error.
    reader: Option<Connection>,
    retain: Retain,
}

impl Roller {
    pub(super) fn new(desk: Desk, path: PathBuf) -> Self {
        Self { desk, path, reader: None, retain: Retain::default() }
    }

    fn pass(&mut self) -> Result<Rolled, StoreError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => open_reader(&self.path)?,
        };
        let moment = reader.unchecked_transaction()?;
        let pass = Pass::read(Db::new(&Driver::of(&moment)))?;
        // Nothing of the file is held while we wait for our turn, so that its log can be cut.
        moment.finish()?;
        let rolled = match pass {
            Some(pass) => self.desk.transact(|db| Ok(pass.write(db)?))?,
            None => Rolled::default(),
        };
        self.reader = Some(reader);
        Ok(rolled)
    }
}

impl Roll for Roller {
    fn step(&mut self) -> Result<Rolled, StoreError> {
        self.pass()
    }

    fn remove(&mut self, before_us: i64) -> Result<Rolled, StoreError> {
        // Read and written in one turn: what is removed must be what was counted.
        let Self { desk, retain, .. } = self;
        desk.transact(|db| Ok(retain.step(db, before_us)?))
    }
}
