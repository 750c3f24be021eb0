//! PostgreSQL, with hypertables where TimescaleDB is there.
//!
//! A few [`Writer`]s in each gateway, and any number of gateways: the devices of a commit are locked first, in the order
//! of their names, and the ledger decides. A few connections beside it read, each question within a deadline.

use std::time::Duration;

use super::error::StoreError;
use super::ledger::SubjectSeed;
use super::outbox::{self, Outbox};
use super::reader::Reader;
use super::sink::Sink;
use super::{Now, postgres::pool::Pool};

mod cells;
mod companion;
mod copy;
mod driver;
mod examine;
mod leases;
mod months;
mod placeholders;
mod pool;
mod queue;
mod refusal;
mod rights;
mod roller;
mod schema;
mod sender;
mod session;
mod settings;
mod side;
mod timescale;
mod trail;
mod writer;

pub use examine::{Examined, examine};
pub use leases::Leases;
pub(crate) use leases::unique;
pub(crate) use rights::ROLES_SQL;
pub use roller::Roller;
pub use schema::migrate;
pub use settings::{Password, Settings, Timescale, Tls};
pub use side::Side;
pub use trail::Trail;
pub(in crate::store) use trail::take_turn;
pub use writer::Writer;

/// What a gateway claims for a time-series store is its own to write for so long; after that, anybody's.
const GRACE: Duration = Duration::from_secs(15);

/// An open database: what writes it and what reads it, to be given to different threads.
pub struct Store {
    /// What writes it.
    pub writer: Writer,
    /// More of the same, for other devices: a server makes each commit on one processor.
    pub others: Vec<Writer>,
    /// As many as there are who read; clones share a few connections.
    pub reader: Reader,
    /// Who keeps the rollups, if no other gateway does.
    pub roller: Roller,
    /// The audit trail, which all gateways append to.
    pub trail: Trail,
}

impl Store {
    /// Opens the database. Blocks, and so must not be called by an async task.
    ///
    /// # Errors
    /// The server cannot be reached or lets nobody in; it may lose what it said is committed; its schema is not the one
    /// of this program.
    pub fn open(settings: &Settings, now: Now) -> Result<Self, StoreError> {
        let writer = Writer::open(settings.clone(), now)?;
        let others = (1..settings.writers).map(|_| writer.another()).collect::<Result<_, _>>()?;
        let reader = Reader::new(Pool::new(settings.clone()));
        let (roller, trail) = (Roller::new(settings.clone()), Trail::new(settings.clone()));
        Ok(Self { writer, others, reader, roller, trail })
    }

    /// Sets `sink` beside it. What was claimed for one before and is still to be written, is written from now on.
    ///
    /// # Errors
    /// The server, or the system has no thread to give.
    pub fn beside(self, sink: Box<dyn Sink>, settings: outbox::Settings, now: Now) -> Result<super::Store, StoreError> {
        let feed = self.writer.subscribe();
        // What another gateway has just claimed is in its hands.
        let settings = outbox::Settings { grace: settings.grace.max(GRACE), ..settings };
        let ledger = Box::new(Outbox::open(Box::new(self.writer), sink, settings, now)?);
        // What is claimed is sent in the order of commits, by one.
        let others = Vec::new();
        let (roller, trail) = (Box::new(self.roller), Box::new(self.trail));
        Ok(super::Store { ledger, others, reader: self.reader, feed, roller, trail })
    }

    /// Makes sure that a person or place of the settings is there as they say. Said twice, it changes nothing.
    ///
    /// # Errors
    /// The zone is not known, or the server.
    pub fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        self.writer.ensure_subject(seed)
    }
}

/// What went wrong, with the server's own words where it had any: the library's text names only the kind.
#[must_use]
pub fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        }
    }
}
