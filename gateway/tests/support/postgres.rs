//! A PostgreSQL of one's own, for what only a real server can show.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tributary_gateway::store::postgres::Settings;

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) port: u16,
    folder: TempDir,
    process: Child,
}

/// The installed server's programs: on the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = (13..=30).rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    debian.chain(std::env::split_paths(&path)).find(|folder| folder.join("initdb").exists())
}

/// A server does not run as root: then as nobody.
fn command(programs: &Path, name: &str) -> Command {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0);
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(programs.join(name));
        command
    } else {
        Command::new(programs.join(name))
    };
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// An open session of the superuser's.
pub(crate) struct Session {
    sink: Option<std::pin::Pin<Box<tokio_postgres::CopyInSink<bytes::Bytes>>>>,
    client: Option<tokio_postgres::Client>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Session {
    fn drop(&mut self) {
        drop((self.sink.take(), self.client.take()));
        // What it held is given back before this returns, or soon after.
        drop(self.runtime.take());
    }
}

impl Server {
    /// Starts one, with `lines` in its configuration; none where it is not installed.
    pub(crate) fn start(lines: &[&str]) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        for path in [folder.path(), &data] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        }
        let _ = std::os::unix::fs::chown(&data, Some(65_534), Some(65_534));
        let made = command(&programs, "initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .status()
            .unwrap();
        assert!(made.success(), "initdb: {made}");
        let spawn = || {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut start = command(&programs, "postgres");
            start.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
            start.arg("-c").arg(format!("port={port}"));
            for line in lines {
                start.arg("-c").arg(line);
            }
            (port, start.spawn().unwrap())
        };
        let (port, process) = spawn();
        let mut server = Self { port, folder, process };
        let deadline = Instant::now() + Duration::from_secs(60);
        // Somebody else may have its port by now: then it ends, or another one answers.
        while server.has_ended() || server.try_sql("postgres", "select 1").is_err() {
            assert!(Instant::now() < deadline, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
            if server.has_ended() {
                (server.port, server.process) = spawn();
            }
        }
        Some(server)
    }

    fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// The same, where each needs a password, and the superuser's is `known`.
    pub(crate) fn start_with_passwords() -> Option<Self> {
        let server = Self::start(&[])?;
        server.sql("postgres", "alter role postgres password 'known'");
        let hba = server.folder.path().join("data/pg_hba.conf");
        let rules = "host postgres postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(hba, rules).unwrap();
        server.sql("postgres", "select pg_reload_conf()");
        Some(server)
    }

    /// A session that has run `sql`, and stays open until it is dropped.
    pub(crate) fn session(&self, database: &str, sql: &str) -> Session {
        self.open(database, sql, None)
    }

    /// A session that looks like a writer's, locks what `sql` says, and then stands still in the middle of `copy`.
    pub(crate) fn copying(&self, database: &str, sql: &str, copy: &str) -> Session {
        self.open(database, &format!("begin; {sql}"), Some(copy))
    }

    fn open(&self, database: &str, sql: &str, copy: Option<&str>) -> Session {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname(database).application_name("tributary writer");
        let (client, sink) = runtime.block_on(async {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
            let sink = match copy {
                Some(copy) => Some(Box::pin(client.copy_in(copy).await.unwrap())),
                None => None,
            };
            (client, sink)
        });
        Session { sink, client: Some(client), runtime: Some(runtime) }
    }

    /// A database with the gateway's schema, empty.
    pub(crate) fn database(&self, name: &str) -> Settings {
        let settings = self.bare_database(name);
        tributary_gateway::store::postgres::migrate(&settings).unwrap();
        settings
    }

    /// A database without any.
    pub(crate) fn bare_database(&self, name: &str) -> Settings {
        self.sql("postgres", &format!("create database \"{name}\""));
        Settings::local(self.port, name, "postgres")
    }

    /// What the superuser's `sql` answers: the first column of each row.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> Vec<String> {
        self.try_sql(database, sql).unwrap()
    }

    /// The same, when it may fail.
    pub(crate) fn try_sql(&self, database: &str, sql: &str) -> Result<Vec<String>, String> {
        self.try_sql_as("postgres", database, sql)
    }

    /// The same as `user`.
    pub(crate) fn try_sql_as(&self, user: &str, database: &str, sql: &str) -> Result<Vec<String>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).dbname(database);
        runtime.block_on(async {
            let told = |error: tokio_postgres::Error| tributary_gateway::store::postgres::told(&error);
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(told)?;
            tokio::spawn(connection);
            let answer = client.simple_query(sql).await.map_err(told)?;
            let first = |message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
                _ => None,
            };
            Ok(answer.into_iter().filter_map(first).collect())
        })
    }

    /// The server's first process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Immediate shutdown: its shared memory goes back to the system.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}
