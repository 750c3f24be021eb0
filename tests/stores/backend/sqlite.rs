//! One SQLite file, as the gateway has it by default.

use std::path::PathBuf;

use gateway::store::audit::Trail;
use gateway::store::sink::Sink;
use gateway::store::{Now, Store, StoreError, SubjectSeed, outbox, sqlite};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use super::{Backend, Beside, Place};

/// Cases of a property.
const CASES: u32 = 24;

/// A file.
pub(crate) struct Sqlite;

impl Backend for Sqlite {
    fn place(&self) -> Box<dyn Place> {
        Box::new(Folder(TempDir::new().unwrap()))
    }

    fn cases(&self) -> u32 {
        CASES
    }
}

/// The folder that the file is in.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Place for Folder {
    fn open_beside(
        &self,
        now: Now,
        subjects: &[SubjectSeed],
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Store, StoreError> {
        let mut store = sqlite::Store::open(&self.path("gateway.db"), now)?;
        subjects.iter().try_for_each(|seed| store.ensure_subject(seed))?;
        match sink {
            Some(sink) => store.beside(sink, outbox::Settings::default(), now),
            None => Ok(store.into()),
        }
    }

    fn beside(&self) -> Box<dyn Beside> {
        Box::new(File(Connection::open(self.path("gateway.db")).unwrap()))
    }

    fn trail(&self) -> Box<dyn Trail> {
        Box::new(sqlite::Trail::open(&self.path("gateway.db")).unwrap())
    }

    fn back_up(&self) {
        let db = Connection::open(self.path("gateway.db")).unwrap();
        db.execute("vacuum into ?", [self.path("older").to_str().unwrap()]).unwrap();
    }

    fn restore(&self) {
        for beside in ["gateway.db-wal", "gateway.db-shm"] {
            let _ = std::fs::remove_file(self.path(beside)); // may be gone with the last connection
        }
        std::fs::copy(self.path("older"), self.path("gateway.db")).unwrap();
    }
}

struct File(Connection);

impl Beside for File {
    fn run(&self, sql: &str) {
        self.0.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn refused(&self, sql: &str) -> String {
        self.0.execute_batch(sql).expect_err(sql).to_string()
    }

    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let mut statement = self.0.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|at| Ok(text(row.get_ref(at)?))).collect());
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn digits(&self, n: &str) -> String {
        format!("cast(printf('%08d', {n}) as blob)")
    }

    fn bytes(&self, hex: &str) -> String {
        format!("x'{hex}'")
    }

    fn plan(&self, sql: &str) -> String {
        self.rows(&format!("explain query plan {sql}")).concat().join(" ")
    }

    fn refuse_666(&self) {
        let trigger = "create trigger refuse before insert on reading when new.value = 666
                       begin select raise(abort, 'refused'); end";
        self.run(trigger);
    }

    fn unguard_audit(&self) {
        self.run("drop trigger audit_is_not_changed; drop trigger audit_is_not_cut");
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}
