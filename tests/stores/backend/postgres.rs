//! A database of its own on a PostgreSQL server that the tests of a run share, with or without TimescaleDB.

use gateway::store::postgres::{self, Password, Settings, Tls};
use gateway::store::sink::Sink;
use gateway::store::{Now, Store, StoreError, SubjectSeed, outbox};
use harness::servers::{Edition, Sql};

use super::keeper::{self, Kept};
use super::{Backend, Beside, Place};

/// Cases of a property: each has a database made for it.
const CASES: u32 = 3;

/// A server of this edition.
pub(crate) struct Postgres(pub(crate) Edition);

impl Backend for Postgres {
    fn is_here(&self) -> bool {
        harness::servers::or_skip(self.0.programs().map_err(Into::into)).is_some()
    }

    fn place(&self) -> Box<dyn Place> {
        let server = keeper::server(&format!("{:?}", self.0));
        let name = keeper::new_name();
        server.admin().run(&format!("create database {name} template {}", keeper::TEMPLATE)).unwrap();
        Box::new(Database { server, name })
    }

    fn cases(&self) -> u32 {
        CASES
    }
}

struct Database {
    server: Kept,
    name: String,
}

/// As the gateway reaches a server on its own machine, in the role that runs it.
pub(super) fn settings(server: &Kept, database: &str) -> Settings {
    Settings {
        password: Some(Password::new(server.password.clone())),
        tls: Tls::Disable,
        ..Settings::local(server.port, database, "postgres")
    }
}

impl Place for Database {
    fn open_beside(
        &self,
        now: Now,
        subjects: &[SubjectSeed],
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Store, StoreError> {
        let mut store = postgres::Store::open(&settings(&self.server, &self.name), now)?;
        subjects.iter().try_for_each(|seed| store.ensure_subject(seed))?;
        match sink {
            Some(sink) => store.beside(sink, outbox::Settings::default(), now),
            None => Ok(store.into()),
        }
    }

    fn beside(&self) -> Box<dyn Beside> {
        Box::new(Own(self.server.sql(&self.name)))
    }

    fn back_up(&self) {
        self.server.admin().run(&format!("create database {0}_older template {0}", self.name)).unwrap();
    }

    fn restore(&self) {
        let admin = self.server.admin();
        admin.run(&format!("drop database {} with (force)", self.name)).unwrap();
        admin.run(&format!("alter database {0}_older rename to {0}", self.name)).unwrap();
    }
}

struct Own(Sql);

impl Beside for Own {
    fn run(&self, sql: &str) {
        self.0.run(sql).unwrap();
    }

    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let rows = self.0.rows(sql).unwrap().into_iter();
        rows.map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect()
    }

    fn digits(&self, n: &str) -> String {
        format!("convert_to(lpad(({n})::text, 8, '0'), 'UTF8')")
    }

    fn bytes(&self, hex: &str) -> String {
        format!("'\\x{hex}'::bytea")
    }

    fn plan(&self, sql: &str) -> String {
        self.run("set enable_seqscan = off");
        self.rows(&format!("explain {sql}")).concat().join(" ")
    }

    fn refuse_666(&self) {
        self.run("alter table reading add constraint refuse check (value is distinct from 666)");
    }
}
