//! TimescaleDB where it is wanted and not there, and where it is there and not wanted.

use harness::database::Shared;
use harness::servers::{Edition, Postgres, or_skip};
use harness::{Gateway, Pki};

use super::{refuses, with};

/// A server, a gateway that could run on it, and a database that is made as the README says, with `settings` added.
struct Stand {
    server: Postgres,
    gateway: Gateway,
    /// The gateway's `[store]` tables.
    table: String,
    folder: tempfile::TempDir,
}

impl Stand {
    fn set(edition: Edition) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let server = or_skip(Postgres::start(&folder.path().join("server"), edition))?;
        let files = Pki::create(&folder.path().join("pki")).server();
        let gateway = Gateway::prepare(&folder.path().join("gateway"), files.clone(), "");
        let shared = Shared::prepare(&server, "cloud", &folder.path().join("shared"), &files).unwrap();
        let mut stand = Self { server, gateway, table: shared.table().to_owned(), folder };
        stand.gateway.store = Some(stand.table.clone());
        assert!(stand.gateway.command("check-config").status.success());
        Some(stand)
    }

    /// An empty database with the roles in it, and the gateway's tables for it.
    fn empty(&self, name: &str, has_extension: bool) -> String {
        if has_extension { self.server.database(name) } else { self.server.bare_database(name) }.unwrap();
        self.server.make_roles(name).unwrap();
        with(&self.table, "database", &format!("{name:?}"))
    }

    fn refuses(&self, what: &str, table: &str, words: &[&str]) {
        refuses(&self.gateway, &self.server, what, table, words);
    }

    /// What kind of relation the table of readings of a database is: `p` in partitions, `r` a hypertable, `-` none.
    fn kind(&self, database: &str) -> String {
        let sql = "select coalesce((select relkind::text from pg_class where oid = to_regclass('reading')), '-')";
        self.server.admin_of(database).unwrap().value(sql).unwrap()
    }
}

fn requiring(table: &str) -> String {
    with(table, "timescaledb", "\"require\"")
}

#[test]
fn a_server_without_timescaledb_is_refused_by_who_requires_it_and_by_nobody_else() {
    let Some(stand) = Stand::set(Edition::Plain15) else { return };
    assert_eq!(stand.kind("cloud"), "p", "without it, partitions");
    let other = requiring(&stand.empty("other", false));
    let remedy = ["install TimescaleDB 2", "shared_preload_libraries", "create extension", "timescaledb = \"auto\""];
    stand.refuses("migrate", &other, &remedy);
    assert_eq!(stand.kind("other"), "-", "and nothing half made");
    stand.refuses("run", &other, &["no tables yet", "tributary-gateway migrate"]);
    // Made with partitions, required since.
    let words = ["in partitions by month", "wants a hypertable", "decided once", "timescaledb = \"auto\""];
    for what in ["run", "migrate"] {
        stand.refuses(what, &requiring(&stand.table), &words);
    }
}

#[test]
fn timescaledb_is_left_alone_where_it_is_not_wanted_and_missed_where_it_was() {
    let Some(mut stand) = Stand::set(Edition::Timescale17) else { return };
    assert_eq!(stand.kind("cloud"), "r", "a hypertable");
    let plain = with(&stand.empty("plain", true), "timescaledb", "\"off\"");
    stand.gateway.store = Some(plain.clone());
    let made = stand.gateway.command("migrate");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(stand.kind("plain"), "p", "partitions, though it could be a hypertable");
    stand.gateway.restart_and_stop();
    stand.refuses("run", &requiring(&plain), &["in partitions by month", "wants a hypertable"]);
    // The library is on the server, and nobody but a superuser may create the extension.
    let bare = requiring(&stand.empty("bare", false));
    stand.refuses("migrate", &bare, &["permission denied", "have a superuser run `create extension timescaledb`"]);
    assert_eq!(stand.kind("bare"), "-");

    stand.gateway.store = Some(requiring(&stand.table));
    stand.gateway.restart_and_stop();
    // The server was started without its library: readings would go where nobody looks for them.
    let settings = stand.server.data().join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).unwrap() + "shared_preload_libraries = ''\n";
    std::fs::write(settings, text).unwrap();
    stand.server.restart().unwrap();
    stand.refuses("run", &stand.table, &["has not loaded TimescaleDB", "shared_preload_libraries"]);
    drop(stand.folder);
}
