//! The stores that the gateway's numbers are taken on, as far as they are there.

use std::path::Path;

use harness::database::Shared;
use harness::pki::Files;
use harness::servers::{Edition, Postgres, Sql};
use rusqlite::{Connection, OpenFlags};

/// A store that a gateway can be started on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// The gateway's own file.
    Sqlite,
    /// A server of its own.
    Postgres(Edition),
}

/// A store at work.
pub(crate) enum Running {
    /// The gateway's own file.
    Sqlite,
    /// A server and the gateway's database on it.
    Postgres(Postgres, Shared),
}

impl Store {
    /// Every store that the design names, by what its measures end with.
    #[must_use]
    pub(crate) fn all() -> [(&'static str, Self); 3] {
        [
            ("sqlite", Self::Sqlite),
            ("postgres", Self::Postgres(Edition::Plain15)),
            ("timescale", Self::Postgres(Edition::Timescale17)),
        ]
    }

    /// Starts it in `folder`. `files` are any that a gateway could start with.
    ///
    /// # Errors
    /// [`harness::servers::Missing`] when its server is not on this machine; others when it does not start.
    pub(crate) fn start(self, folder: &Path, files: &Files) -> anyhow::Result<Running> {
        let Self::Postgres(edition) = self else { return Ok(Running::Sqlite) };
        let server = Postgres::start(&folder.join("server"), edition)?;
        let shared = Shared::prepare(&server, "bench", &folder.join("database"), files)?;
        Ok(Running::Postgres(server, shared))
    }
}

impl Running {
    /// The gateway's `[store]` tables; none for its own file.
    #[must_use]
    pub(crate) fn config(&self) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(_, shared) => Some(shared.table().to_owned()),
        }
    }

    /// The processes of a server of its own, whose processor time counts.
    #[must_use]
    pub(crate) fn processes(&self) -> Vec<u32> {
        let Self::Postgres(server, _) = self else { return Vec::new() };
        let Some(parent) = server.id() else { return Vec::new() };
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        std::iter::once(parent).chain(children).collect()
    }

    /// What keeps a commit through a power cut, as read back from the store, whose file would be `database`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn settings(&self, database: &Path) -> anyhow::Result<String> {
        match self {
            Self::Sqlite => of_file(database, "gateway"),
            Self::Postgres(_, shared) => of_server(&Sql::connect(shared.dsn())?),
        }
    }

    /// How many readings are in it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn rows(&self, database: &Path) -> anyhow::Result<usize> {
        let rows = match self {
            Self::Sqlite => {
                read(database)?.query_row("select count(*) from reading", [], |row| row.get::<_, i64>(0))?
            }
            Self::Postgres(_, shared) => Sql::connect(shared.dsn())?.number("select count(*) from reading")?,
        };
        Ok(usize::try_from(rows)?)
    }

    /// Whether a reading of `series` is in it, with that value where one is given.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn has(database: &Path, series: &str, value: Option<u8>) -> anyhow::Result<bool> {
        let asked = "select exists (select 1 from reading join series on series.id = reading.series
                     where series.name = ?1 and (?2 is null or reading.value = ?2))";
        Ok(read(database)?.query_row(asked, rusqlite::params![series, value], |row| row.get(0))?)
    }

    /// What the store says of itself, and that it holds just `expected` readings.
    ///
    /// # Errors
    /// When it holds less or more, or cannot be read.
    pub(crate) fn proof(&self, database: &Path, expected: usize) -> anyhow::Result<String> {
        let rows = self.rows(database)?;
        anyhow::ensure!(rows == expected, "{rows} rows are there, and {expected} should be");
        Ok(format!("{rows} rows read back, as many as there should be; {}", self.settings(database)?))
    }
}

/// What keeps a commit of `whose` SQLite file through a power cut. The mode is the file's; the other is each
/// connection's own, and no other connection can ask for it.
///
/// # Errors
/// When it cannot be read, or is not as it should be.
pub(crate) fn of_file(path: &Path, whose: &str) -> anyhow::Result<String> {
    let journal: String = read(path)?.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    anyhow::ensure!(journal == "wal", "journal_mode is {journal}");
    Ok(format!("journal_mode={journal}; synchronous=FULL, which the {whose} sets and asks for at its start"))
}

/// What keeps a commit on a server through a power cut, as the server says it.
///
/// # Errors
/// When it does not answer, or does not keep them.
pub(crate) fn of_server(sql: &Sql) -> anyhow::Result<String> {
    let setting = |name: &str| sql.value(&format!("show {name}"));
    let (fsync, commit) = (setting("fsync")?, setting("synchronous_commit")?);
    anyhow::ensure!(fsync == "on" && commit == "on", "fsync={fsync}, synchronous_commit={commit}");
    Ok(format!("fsync={fsync}; synchronous_commit={commit}; server {}", setting("server_version")?))
}

fn read(database: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
}
