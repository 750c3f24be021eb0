//! Agents for other machines, as `cross/build` makes them, run by QEMU within this machine's kernel.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::servers::Missing;

pub mod acknowledged;
pub mod kills;
pub mod names;

/// A kind of machine that the agent is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name at `cross/build`, and that of its folder.
    pub name: &'static str,
    /// As Rust names it.
    pub triple: &'static str,
    /// QEMU's program for it.
    emulator: &'static str,
    /// Where `cross/fetch libc` puts its C library; none: programs are static.
    libc: Option<&'static str>,
}

impl Target {
    /// Every form that `make cross` builds.
    pub const ALL: [Self; 7] = [
        Self::fixed("amd64", "x86_64-unknown-linux-musl", "qemu-x86_64"),
        Self::fixed("arm64", "aarch64-unknown-linux-musl", "qemu-aarch64"),
        Self::fixed("armhf", "armv7-unknown-linux-musleabihf", "qemu-arm"),
        Self::fixed("armv6", "arm-unknown-linux-musleabihf", "qemu-arm"),
        Self::fixed("riscv64", "riscv64gc-unknown-linux-musl", "qemu-riscv64"),
        Self::ARM64,
        Self::ARMHF,
    ];
    /// 64-bit ARM, as in a Raspberry Pi 3 and later; with glibc.
    pub const ARM64: Self = Self::linked("arm64-glibc", "aarch64-unknown-linux-gnu", "qemu-aarch64", "libc-arm64");
    /// 32-bit ARM with a floating point unit, as in a Raspberry Pi 2; with glibc.
    pub const ARMHF: Self = Self::linked("armhf-glibc", "armv7-unknown-linux-gnueabihf", "qemu-arm", "libc-armhf");

    const fn fixed(name: &'static str, triple: &'static str, emulator: &'static str) -> Self {
        Self { name, triple, emulator, libc: None }
    }

    const fn linked(name: &'static str, triple: &'static str, emulator: &'static str, libc: &'static str) -> Self {
        Self { name, triple, emulator, libc: Some(libc) }
    }

    /// Whether its programs have all of their C library within.
    #[must_use]
    pub const fn is_static(&self) -> bool {
        self.libc.is_none()
    }

    /// The agent as it is shipped to such machines.
    ///
    /// # Errors
    /// [`Missing`] when it was not built.
    pub fn shipped(&self) -> anyhow::Result<PathBuf> {
        self.built(&built(), "cross/build")
    }

    /// The agent that `make test` builds for such machines: not small, and with bugs to be switched on.
    ///
    /// # Errors
    /// [`Missing`] when it was not built.
    pub fn for_tests(&self) -> anyhow::Result<PathBuf> {
        self.built(&built().join("tests"), "cross/build --for-tests")
    }

    fn built(&self, folder: &Path, how: &str) -> anyhow::Result<PathBuf> {
        let program = folder.join(self.name).join("tributary-agent");
        let say = || Missing(format!("no agent for {0} was built here: {how} {0}", self.name));
        program.exists().then_some(program).ok_or_else(|| say().into())
    }

    /// A program in `folder` that runs `agent` as on such a machine. Of what it opens, files within `root` stand before
    /// this machine's own; without one, its C library alone does.
    ///
    /// # Errors
    /// [`Missing`] when there is no QEMU for it; when the program cannot be written.
    pub fn emulated(&self, agent: &Path, folder: &Path, root: Option<&Path>) -> anyhow::Result<PathBuf> {
        let tools = built().join("tools");
        let emulator = tools.join("qemu/root/usr/bin").join(self.emulator);
        let there = |path: PathBuf, part: &str| {
            let say = || Missing(format!("{} is not here: cross/fetch {part}", path.display()));
            if path.exists() { Ok(path) } else { Err(say()) }
        };
        let emulator = there(emulator, "qemu")?;
        let libc = self.libc.map(|libc| there(tools.join(libc).join("root"), "libc")).transpose()?;
        let before = root.or(libc.as_deref()).map_or_else(String::new, |root| format!("-L {}", quoted(root)));
        let path = folder.join(format!("tributary-agent-{}", self.name));
        let mut script = std::fs::File::options();
        let mut script = script.write(true).create(true).truncate(true).mode(0o755).open(&path)?;
        let (emulator, agent) = (quoted(&emulator), quoted(agent));
        // Not a child of the shell but in its place: what is killed is the agent.
        write!(script, "#!/bin/sh\nexec {emulator} {before} {agent} \"$@\"\n").context("write what runs an agent")?;
        Ok(path)
    }
}

/// Where cross builds and their tools lie.
#[must_use]
pub fn built() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/cross"))
}

/// As one word of a shell's.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
