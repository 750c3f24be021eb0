//! The gateway's own roles, made as its README tells an administrator, so that no gateway of a test may do more than one
//! that is run as it should be.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Postgres, Sql};

/// Makes the roles, and grants each what it needs in the database that it is run in.
const ROLES: &str = include_str!("../../../../gateway/src/store/postgres/roles.sql");

/// Runs the gateway.
pub const INGEST: &str = "tributary_ingest";
/// Owns the tables.
pub const MIGRATE: &str = "tributary_migrate";
/// Only reads.
pub const QUERY: &str = "tributary_query";

/// The password of a role on the server whose superuser has `superusers`.
#[must_use]
pub fn password(superusers: &str, role: &str) -> String {
    let proto::BodyHash(hash) = proto::BodyHash::of(format!("{role} {superusers}").as_bytes());
    format!("{:032x}", u128::from_be_bytes(hash))
}

impl Postgres {
    /// Runs roles.sql in `database` as the superuser, and gives each role its password.
    ///
    /// # Errors
    /// When the server does not answer, or has no such database.
    pub fn make_roles(&self, database: &str) -> anyhow::Result<()> {
        let admin = self.admin_of(database)?;
        admin.run(ROLES).context("run roles.sql")?;
        [INGEST, MIGRATE, QUERY].into_iter().try_for_each(|role| {
            let password = self.password_of(role);
            admin.run(&format!("alter role {role} password '{password}'"))
        })
    }

    /// The password of one of these roles.
    #[must_use]
    pub fn password_of(&self, role: &str) -> String {
        password(self.password(), role)
    }

    /// The same in a file of `folder` that only its owner may read, named after the role.
    ///
    /// # Errors
    /// When it cannot be written, or is there already.
    pub fn password_file(&self, folder: &Path, role: &str) -> anyhow::Result<PathBuf> {
        let path = folder.join(role);
        let password = format!("{}\n", self.password_of(role));
        certs::key_file::create_private(&path, password.as_bytes()).context("keep a role's password")?;
        Ok(path)
    }

    /// A connection to `database` in one of these roles.
    ///
    /// # Errors
    /// When the server does not answer, or does not let it in.
    pub fn sql_as(&self, role: &str, database: &str) -> anyhow::Result<Sql> {
        Sql::connect(&self.dsn(role, &self.password_of(role), database))
    }
}
