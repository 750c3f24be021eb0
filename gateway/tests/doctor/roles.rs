//! What the role that runs the gateway may do on a real server.

use crate::bed::Bed;
use crate::server::Server;

const ROLES: &str = include_str!("../../src/store/postgres/roles.sql");

impl Bed {
    fn on_server(&mut self, server: &Server, user: &str) {
        let port = server.port;
        self.store = format!(
            "[store]\nkind = \"postgres\"\n[store.postgres]\nport = {port}\ndatabase = \"roles\"\nuser = \"{user}\"\n"
        );
    }
}

/// A server with tables of the right owner, and the roles of roles.sql.
fn prepared() -> Option<Server> {
    let server = Server::start(&[])?;
    let mut settings = server.bare_database("roles");
    server.sql("roles", ROLES);
    settings.user = "tributary_migrate".to_owned();
    tributary_gateway::store::postgres::migrate(&settings).unwrap();
    Some(server)
}

#[test]
fn a_role_that_may_more_than_it_has_to_is_a_fault_and_one_that_lacks_a_right_too() {
    let Some(server) = prepared() else { return };
    let mut bed = Bed::new();
    // The trail of that database is empty, and the one of the file is another.
    std::fs::write(bed.path("gateway.audit"), "").unwrap();
    bed.on_server(&server, "tributary_ingest");
    bed.assert_well();
    let wide = [
        ("alter role tributary_ingest createdb", "may make databases", "alter role tributary_ingest nocreatedb"),
        ("alter role tributary_ingest createrole", "may make roles", "alter role tributary_ingest nocreaterole"),
        ("alter role tributary_ingest bypassrls", "passes by row", "alter role tributary_ingest nobypassrls"),
        ("alter role tributary_ingest superuser", "is a superuser,", "alter role tributary_ingest nosuperuser"),
        ("grant tributary_migrate to tributary_ingest", "owner", "revoke tributary_migrate from tributary_ingest"),
        (
            "grant create on schema public to tributary_ingest",
            "may make tables in schema public",
            "revoke create on schema public from tributary_ingest",
        ),
        (
            "grant delete on audit to tributary_ingest",
            "may delete on table audit",
            "revoke delete on audit from tributary_ingest",
        ),
        (
            "grant insert on migration to tributary_ingest",
            "may insert on table migration",
            "revoke insert on migration from tributary_ingest",
        ),
        (
            "grant connect on database roles to public",
            "shares the database with every role",
            "revoke connect on database roles from public",
        ),
    ];
    for (more, words, back) in wide {
        server.sql("roles", more);
        bed.assert_finds("fault", "roles", words);
        server.sql("roles", back);
        bed.assert_well();
    }
    server.sql("roles", "revoke insert on reading from tributary_ingest");
    bed.assert_finds("fault", "roles", "lacks insert on table reading");
    bed.on_server(&server, "nobody");
    bed.assert_finds("unknown", "roles", "could not be examined");
}

#[test]
fn a_server_on_another_host_that_is_not_asked_for_tls_is_a_fault() {
    let Some(server) = prepared() else { return };
    let mut bed = Bed::new();
    std::fs::write(bed.path("gateway.audit"), "").unwrap();
    bed.on_server(&server, "tributary_ingest");
    bed.store += "tls = \"disable\"\n";
    bed.assert_well();
    // An address of this machine that is not loopback's: the server need not listen there for the settings to be wrong.
    bed.store += "host = \"0.0.0.0\"\n";
    bed.assert_finds("fault", "settings", "readings and the password go to 0.0.0.0 unencrypted");
}
