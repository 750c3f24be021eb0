//! A database of its own on a PostgreSQL server that the tests of a run share, with or without TimescaleDB.

use std::time::Duration;

use gateway::store::audit::Trail;
use gateway::store::postgres::{self, Password, Settings, Tls};
use gateway::store::sink::Sink;
use gateway::store::{Now, Store, StoreError, SubjectSeed, outbox};
use harness::servers::postgres::roles::{self, INGEST, MIGRATE, QUERY};
use harness::servers::{Edition, Sql};
use harness::wait_for;

use super::keeper::{self, Kept};
use super::{Backend, Beside, Place};

/// Cases of a property: each has a database made for it.
const CASES: u32 = 3;
/// For those that were ended to leave a database. The server itself waits 5 s for them, each time it is asked.
const ALONE_DEADLINE: Duration = Duration::from_secs(60);

/// A server of this edition.
pub(crate) struct Postgres(pub(crate) Edition);

impl Backend for Postgres {
    fn is_here(&self) -> bool {
        harness::servers::or_skip(self.0.programs().map_err(Into::into)).is_some()
    }

    fn place(&self) -> Box<dyn Place> {
        let server = keeper::server(&format!("{:?}", self.0));
        let name = keeper::new_name();
        let admin = server.admin();
        admin.run(&format!("create database {name} template {}", keeper::TEMPLATE)).unwrap();
        let_in_no_others(&admin, &name);
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

/// As the gateway reaches a server on its own machine, in one of its roles.
pub(super) fn settings(server: &Kept, database: &str, role: &str) -> Settings {
    Settings {
        password: Some(Password::new(roles::password(&server.password, role))),
        tls: Tls::Disable,
        ..Settings::local(server.port, database, role)
    }
}

/// What roles.sql says of the database itself: a copy has the rights on all that is in it, and not these.
fn let_in_no_others(admin: &Sql, name: &str) {
    admin.run(&format!("revoke all on database {name} from public")).unwrap();
    admin.run(&format!("grant connect on database {name} to {MIGRATE}, {INGEST}, {QUERY}")).unwrap();
}

impl Place for Database {
    fn open_beside(
        &self,
        now: Now,
        subjects: &[SubjectSeed],
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Store, StoreError> {
        let mut store = postgres::Store::open(&settings(&self.server, &self.name, INGEST), now)?;
        subjects.iter().try_for_each(|seed| store.ensure_subject(seed))?;
        match sink {
            Some(sink) => store.beside(sink, outbox::Settings::default(), now),
            None => Ok(store.into()),
        }
    }

    fn beside(&self) -> Box<dyn Beside> {
        Box::new(Own(self.server.sql(&self.name)))
    }

    fn trail(&self) -> Box<dyn Trail> {
        Box::new(postgres::Trail::new(settings(&self.server, &self.name, INGEST)))
    }

    fn back_up(&self) {
        let (admin, name) = (self.server.admin(), &self.name);
        empty_of_others(&admin, name);
        // Nobody may connect to the copy either, until it is put back.
        alone(&admin, &format!("create database {name}_older template {name} allow_connections false"));
        let_in_no_others(&admin, &format!("{name}_older"));
        admin.run(&format!("alter database {name} with allow_connections true")).unwrap();
    }

    fn restore(&self) {
        let (admin, name) = (self.server.admin(), &self.name);
        empty_of_others(&admin, name);
        // It goes with the server: to drop a database waits until all that the run has written is on the disk.
        let gone = keeper::new_name();
        alone(&admin, &format!("alter database {name} rename to {gone}"));
        alone(&admin, &format!("alter database {name}_older rename to {name}"));
        admin.run(&format!("alter database {name} with allow_connections true")).unwrap();
    }
}

/// Lets nobody into a database any more, and ends who is: TimescaleDB's scheduler and autovacuum come by themselves.
fn empty_of_others(admin: &Sql, name: &str) {
    admin.run(&format!("alter database {name} with allow_connections false")).unwrap();
    admin.run(&format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")).unwrap();
}

/// Runs what wants a database to itself, once those that were ended are gone.
fn alone(admin: &Sql, sql: &str) {
    wait_for("a database that nobody uses", ALONE_DEADLINE, || match admin.run(sql) {
        Ok(()) => Some(()),
        Err(error) if format!("{error:#}").contains("being accessed by other users") => None,
        Err(error) => panic!("{error:#}"),
    });
}

struct Own(Sql);

impl Beside for Own {
    fn run(&self, sql: &str) {
        self.0.run(sql).unwrap();
    }

    fn refused(&self, sql: &str) -> String {
        format!("{:#}", self.0.run(sql).expect_err(sql))
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

    fn unguard_audit(&self) {
        self.run("alter table audit disable trigger user");
    }
}
