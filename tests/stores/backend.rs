//! What a behaviour is shown on: a database of some kind, empty, in a folder of its own.

use gateway::store::audit::Trail;
use gateway::store::sink::Sink;
use gateway::store::{Now, Store, StoreError, SubjectSeed};

use crate::batches::now;
use crate::bed::Bed;

mod both;
mod influx;
mod keeper;
mod postgres;
pub(crate) mod sqlite;
#[cfg(feature = "aws")]
mod timestream;

pub(crate) use influx::Influx;
pub(crate) use postgres::Postgres;
pub(crate) use sqlite::Sqlite;
#[cfg(feature = "aws")]
pub(crate) use timestream::Timestream;

/// A kind of store.
pub(crate) trait Backend {
    /// Whether it can be had on this machine; says why not.
    fn is_here(&self) -> bool {
        true
    }

    /// An empty database.
    fn place(&self) -> Box<dyn Place>;

    /// An empty store, whose clock stands still.
    fn fresh(&self) -> Bed {
        self.fresh_at(now)
    }

    /// An empty store with a clock of the test's own.
    fn fresh_at(&self, now: Now) -> Bed {
        Bed::new(self.place(), now)
    }

    /// How many cases a property is tried with: a fresh database for each costs more in one than in another.
    fn cases(&self) -> u32;
}

/// Where a store lies.
pub(crate) trait Place {
    /// Opens the store as the gateway does, with these people in its settings.
    fn open(&self, now: Now, subjects: &[SubjectSeed]) -> Result<Store, StoreError> {
        self.open_beside(now, subjects, None)
    }

    /// The same with a time-series store beside.
    fn open_beside(&self, now: Now, subjects: &[SubjectSeed], sink: Option<Box<dyn Sink>>)
    -> Result<Store, StoreError>;

    /// A connection of the test's own.
    fn beside(&self) -> Box<dyn Beside>;

    /// The audit trail as a command has it, beside whoever has the store open.
    fn trail(&self) -> Box<dyn Trail>;

    /// Copies the database aside. Nobody has it open.
    fn back_up(&self);

    /// Puts the copy back. Nobody has it open.
    fn restore(&self);
}

/// Plain SQL beside the gateway, and what it is called in this database.
pub(crate) trait Beside {
    /// Runs statements.
    fn run(&self, sql: &str);

    /// Runs statements that the database refuses, and answers why.
    fn refused(&self, sql: &str) -> String;

    /// What `sql` yields, as text; nulls are empty.
    fn rows(&self, sql: &str) -> Vec<Vec<String>>;

    /// How many rows there are of `what`: a table, and perhaps a condition.
    fn count(&self, what: &str) -> i64 {
        self.rows(&format!("select count(*) from {what}"))[0][0].parse().unwrap()
    }

    /// The eight bytes that are the digits of the number `n`.
    fn digits(&self, n: &str) -> String;

    /// The bytes that these hexadecimal digits say.
    fn bytes(&self, hex: &str) -> String;

    /// How the database would answer `sql` if its tables were large.
    fn plan(&self, sql: &str) -> String;

    /// Makes the database refuse readings whose value is 666.
    fn refuse_666(&self);

    /// Takes away what keeps entries of the audit trail from being changed by mistake.
    fn unguard_audit(&self);
}
