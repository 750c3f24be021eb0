//! Keeps servers for all tests of a run, each of which is a process of its own: the first that needs one starts a keeper
//! beside itself, which makes the template of every test's database and ends with the run.

use std::fs::File;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gateway::store::postgres;
use harness::servers::postgres::roles::MIGRATE;
use harness::servers::{Edition, Influx, Postgres, Sql};
use harness::wait_for;

use super::postgres::settings;

/// The database that every test's is a copy of. Nobody may connect to it, or it could not be copied.
pub(super) const TEMPLATE: &str = "made";
/// What [`server`] calls an InfluxDB; a PostgreSQL is called by its edition.
pub(super) const INFLUX: &str = "Influx";
/// The same of a server that speaks like Timestream.
#[cfg(feature = "aws")]
pub(super) const MOTO: &str = "Moto";
/// What the keeper is told by its environment: its folder, which holds the name of what it keeps and for whom.
const FOLDER: &str = "TRIBUTARY_KEEPER";
/// How long a server and its template may take, on a machine with other work.
const READY_DEADLINE: Duration = Duration::from_secs(120);
/// How often the keeper looks for the end of the run.
const TICK: Duration = Duration::from_millis(200);
/// No run takes longer.
const RUN_MAX: Duration = Duration::from_secs(3_600);

/// A server that is kept.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) port: u16,
    pub(crate) password: String,
}

impl Kept {
    /// A connection of the superuser.
    pub(super) fn sql(&self, database: &str) -> Sql {
        let Self { port, password } = self;
        Sql::connect(&format!("postgresql://postgres:{password}@127.0.0.1:{port}/{database}")).unwrap()
    }

    pub(super) fn admin(&self) -> Sql {
        self.sql("postgres")
    }
}

/// A name that no other test of the run gives to a database.
pub(super) fn new_name() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    format!("t{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

/// The run's server of this name.
pub(super) fn server(name: &str) -> Kept {
    // Under nextest, whose processes share a run; else this process is the run.
    let (run, owner) = match std::env::var("NEXTEST_RUN_ID") {
        Ok(run) => (run, parent_id()),
        Err(_) => (std::process::id().to_string(), std::process::id()),
    };
    let folder = std::env::temp_dir().join(format!("tributary-stores-{run}-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let ready = folder.join("ready");
    if !ready.exists() {
        std::fs::write(folder.join("order"), format!("{name} {owner} {}", began(owner).unwrap_or(0))).unwrap();
        start_keeper(&folder);
    }
    let text = wait_for("the keeper's server", READY_DEADLINE, || std::fs::read_to_string(&ready).ok());
    let (port, password) = text.split_once(' ').unwrap();
    Kept { port: port.parse().unwrap(), password: password.to_owned() }
}

#[expect(clippy::zombie_processes, reason = "it outlives the test that happens to start it, and ends with the run")]
fn start_keeper(folder: &Path) {
    let log = File::create(folder.join("keeper.log")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "backend::keeper::keeps_a_server_until_the_run_ends", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    // In a group of its own: what ends a test does not end it.
    command.process_group(0).spawn().unwrap();
}

#[test]
#[ignore = "is started by the tests that need it"]
fn keeps_a_server_until_the_run_ends() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let order = std::fs::read_to_string(folder.join("order")).unwrap();
    let words: Vec<&str> = order.split(' ').collect();
    let edition = Edition::ALL.into_iter().find(|edition| format!("{edition:?}") == words[0]);
    let (owner, since): (u32, u64) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    let at = folder.join("server");
    match edition {
        Some(edition) => {
            let server = Postgres::start(&at, edition).unwrap();
            let kept = Kept { port: server.port, password: server.password().to_owned() };
            make_template(&server, &kept);
            keep(&folder, &kept, server, owner, since);
        }
        #[cfg(feature = "aws")]
        None if words[0] == MOTO => {
            let server = harness::servers::Moto::start(&at).unwrap();
            let kept = Kept { port: server.port, password: String::new() };
            keep(&folder, &kept, server, owner, since);
        }
        None => {
            let server = Influx::start(&at).unwrap();
            let kept = Kept { port: server.port, password: String::new() };
            keep(&folder, &kept, server, owner, since);
        }
    }
}

/// What every test's database is a copy of, made as the store's README tells an administrator.
fn make_template(server: &Postgres, kept: &Kept) {
    server.database(TEMPLATE).unwrap();
    server.make_roles(TEMPLATE).unwrap();
    postgres::migrate(&settings(kept, TEMPLATE, MIGRATE)).unwrap();
    let admin = server.admin().unwrap();
    admin.run(&format!("alter database {TEMPLATE} with allow_connections false is_template true")).unwrap();
    let others = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{TEMPLATE}'");
    admin.run(&others).unwrap();
}

/// Says where the server is, and ends it with the run.
fn keep<S>(folder: &Path, kept: &Kept, server: S, owner: u32, since: u64) {
    let unfinished = folder.join("ready.new");
    std::fs::write(&unfinished, format!("{} {}", kept.port, kept.password)).unwrap();
    std::fs::rename(unfinished, folder.join("ready")).unwrap();
    let start = Instant::now();
    while began(owner) == Some(since) && start.elapsed() < RUN_MAX {
        std::thread::sleep(TICK);
    }
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

/// When a process began, in the system's own count (proc(5), field 22), which tells it from a later one of its number.
fn began(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}
