//! Which PostgreSQL: where its programs are, and a fresh data directory of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::servers::tree::run;
use crate::servers::{Missing, fetched, lock};

/// Counts up when fresh data directories are made otherwise than before.
const MADE: u32 = 1;
/// PostgreSQL refuses to run as root; then it runs as nobody. CAP_DAC_OVERRIDE lets it through the folders above its
/// own, which belong to root and are closed to others.
const NOBODY: [&str; 5] =
    ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"];

/// Which PostgreSQL a test wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// PostgreSQL 15: the one that is installed on this machine, or the one that `tests/servers/debian12/fetch` fetches.
    Plain15,
    /// PostgreSQL 17 with TimescaleDB 2, Apache edition, which `tests/servers/timescale/fetch` fetches.
    Timescale17,
}

impl Edition {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain15, Self::Timescale17];

    /// The folder of its programs.
    ///
    /// # Errors
    /// [`Missing`] when it is not on this machine.
    pub fn programs(self) -> Result<PathBuf, Missing> {
        let found = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
        match self {
            Self::Plain15 => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let usual = "usr/lib/postgresql/15/bin";
                let known = [Path::new("/").join(usual), fetched().join("debian12/root").join(usual)];
                let mut folders = known.into_iter().chain(std::env::split_paths(&path)).filter(found);
                let right = |folder: &PathBuf| version(folder).is_ok_and(|version| version.starts_with("15."));
                let why = "PostgreSQL 15 is not here: run `make servers`, or apt-get install postgresql-15";
                folders.find(right).ok_or_else(|| Missing(why.to_owned()))
            }
            Self::Timescale17 => {
                let folder = fetched().join("timescale/root/usr/lib/postgresql/17/bin");
                let why = "PostgreSQL 17 with TimescaleDB is not here: run tests/servers/timescale/fetch";
                Some(folder).filter(found).ok_or_else(|| Missing(why.to_owned()))
            }
        }
    }

    /// Whether hypertables are to be had.
    #[must_use]
    pub fn has_timescale(self) -> bool {
        self == Self::Timescale17
    }
}

/// `15.18`, as the server says it.
fn version(programs: &Path) -> anyhow::Result<String> {
    let mut command = Command::new(programs.join("postgres"));
    command.arg("-V");
    let said = run(command)?;
    let words = said.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    words.map(str::to_owned).with_context(|| format!("no version in `{}`", said.trim()))
}

/// `program` of the server, under a user that it accepts.
pub(super) fn command(programs: &Path, program: &str) -> Command {
    let path = programs.join(program);
    if !rustix::process::geteuid().is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(NOBODY).arg(path);
    command
}

/// Makes `data` a fresh data directory: a copy of one that is made once and kept. Answers the password of its
/// superuser `postgres`.
pub(super) fn fresh(programs: &Path, data: &Path) -> anyhow::Result<String> {
    let name = format!("postgres-{}-{MADE}-{}", version(programs)?, rustix::process::geteuid().as_raw());
    let kept = fetched().join(&name);
    {
        let _one = lock(&name)?;
        if !kept.exists() {
            make(programs, &kept)?;
        }
    }
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]).arg(kept.join("data")).arg(data);
    run(copy).context("copy a fresh data directory")?;
    Ok(std::fs::read_to_string(kept.join("password"))?)
}

fn make(programs: &Path, kept: &Path) -> anyhow::Result<()> {
    let unfinished = kept.with_extension("new");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)?;
    }
    std::fs::create_dir_all(&unfinished)?;
    let mut drawn = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut drawn)?;
    let password = format!("{:032x}", u128::from_ne_bytes(drawn));
    let file = unfinished.join("password");
    certs::key_file::create_private(&file, password.as_bytes()).context("keep the superuser's password")?;
    let mut initdb = command(programs, "initdb");
    initdb.arg("-D").arg(unfinished.join("data")).arg("--pwfile").arg(&file);
    // Not synced: a machine that loses its power has other worries than the copies of this.
    initdb.args([
        "-U",
        "postgres",
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]);
    run(initdb).context("make a fresh data directory")?;
    std::fs::rename(&unfinished, kept)?;
    Ok(())
}
