//! Real servers as children of a test: each in a folder of its own, on a free loopback port, and ended with its owner.
//!
//! `make servers` fetches what they need. What is missing nonetheless makes a test say `skipped:` and the reason; where
//! `CI=true`, it makes the test fail.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

pub mod influx;
pub mod mosquitto;
pub mod moto;
pub mod postgres;
pub mod server;
mod tree;

pub use influx::Influx;
pub use mosquitto::Mosquitto;
pub use moto::Moto;
pub use postgres::{Edition, Postgres, Sql};
pub use server::Server;

/// Other tests look for ports too.
const PORTS_TRIED: usize = 5;
/// How long a server may take to answer: long, because a machine may have other work.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A server that is not on this machine: why, and how to get it.
#[derive(Debug)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// The server, or nothing where it is not on this machine: then says so, and the test is to return.
///
/// # Panics
/// When it did not start for another reason; and when it is missing where `CI=true`.
#[must_use]
#[expect(clippy::print_stdout, reason = "a skip is never silent")]
pub fn or_skip<T>(started: anyhow::Result<T>) -> Option<T> {
    match started {
        Ok(server) => Some(server),
        Err(error) => {
            let missing = error.downcast_ref::<Missing>().unwrap_or_else(|| panic!("{error:#}"));
            assert!(!crate::trial::must_be_whole(), "{missing}");
            println!("skipped: {missing}");
            None
        }
    }
}

/// Where fetched servers and tools lie, and what is made once of them.
#[must_use]
pub fn fetched() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/servers"))
}

/// Holds `target/servers/{name}.lock` until dropped, so that what is made once is made by one process.
fn lock(name: &str) -> anyhow::Result<File> {
    std::fs::create_dir_all(fetched())?;
    let path = fetched().join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// A loopback port that nobody listens on: below those that the kernel hands out to clients, so that it is still free
/// when a killed server comes back to it.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let drawn = RandomState::new().build_hasher().finish();
        let port = 10_240 + u16::try_from(drawn % 20_000).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a server on a port, and on another when somebody was faster.
fn on_free_port(mut start: impl FnMut(u16) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for tried in 1.. {
        match start(free_port()) {
            Err(error)
                if tried < PORTS_TRIED && format!("{error:#}").to_lowercase().contains("address already in use") => {}
            result => return result,
        }
    }
    Ok(())
}

/// A program that is installed here, or else the one that was fetched.
fn program(name: &str, fetched: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps some servers where only root's path leads.
    let folders = std::env::split_paths(&path).chain(std::iter::once(PathBuf::from("/usr/sbin")));
    folders.map(|folder| folder.join(name)).chain(std::iter::once(fetched.into())).find(|path| path.is_file())
}

/// Waits until `condition` gives a value.
fn until<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        anyhow::ensure!(start.elapsed() < deadline, "waited {deadline:?} for {what}, in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}
