//! The guest's first file system: busybox, the agent with the libraries it is linked to, and what to do at start.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::Parts;
use crate::pki;

/// What the guest needs beside its kernel.
pub(super) struct Files {
    pub(super) agent: PathBuf,
    pub(super) config: String,
    pub(super) csv: String,
    pub(super) identity: pki::Files,
}

/// What the guest does at start. Modules need each other in an order that four rounds find.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for round in 1 2 3 4; do for module in /modules/*.ko; do insmod $module; done; done 2>/dev/null
mount -t ext4 /dev/vda /data || echo "guest: no disk"
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
# A buffer that was cut before its first commit holds nothing; neither does one that cannot be read.
held() { said=$(tributary-agent status --config /etc/agent.toml 2>/dev/null | sed -n 's/^batches held *//p'); echo ${said:-0}; }
if [ -e /data/buffer.db ]; then echo "guest: begins with $(held) batches"; else echo "guest: begins with 0 batches"; fi
tributary-agent run --config /etc/agent.toml &
resident() { said=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null); echo "${said:-0}"; }
while sleep 0.1; do
	kib=$(resident $!)
	[ $kib -gt 0 ] || echo "guest: agent ended"
	echo "guest: holds $(held) batches, resident $kib KiB"
done
"#;

/// Writes the archive to `path`.
///
/// # Errors
/// When a file cannot be read, or the archive not written.
pub(super) fn write(parts: &Parts, files: &Files, path: &Path) -> anyhow::Result<()> {
    let mut archive = Archive { bytes: Vec::new(), entries: 0 };
    for folder in ["bin", "data", "dev", "etc", "lib", "lib64", "modules", "proc", "tmp"] {
        archive.folder(folder);
    }
    archive.file("init", 0o755, INIT.as_bytes());
    archive.copy("bin/busybox", 0o755, &parts.busybox)?;
    archive.copy("bin/tributary-agent", 0o755, &files.agent)?;
    for library in libraries(&files.agent)? {
        let inside = library.to_string_lossy().trim_start_matches('/').to_owned();
        archive.folders_of(&inside);
        archive.copy(&inside, 0o755, &library)?;
    }
    for module in &parts.modules {
        let name = module.file_name().context("a module has a name")?.to_string_lossy().into_owned();
        archive.copy(&format!("modules/{name}"), 0o644, module)?;
    }
    archive.file("etc/hosts", 0o644, b"10.0.2.2 localhost\n"); // where the guest's network finds this machine's loopback
    archive.file("etc/nsswitch.conf", 0o644, b"hosts: files\n");
    archive.file("etc/agent.toml", 0o644, files.config.as_bytes());
    archive.file("etc/cgm.csv", 0o644, files.csv.as_bytes());
    archive.copy("etc/ca.crt", 0o644, &files.identity.authority)?;
    archive.copy("etc/device.crt", 0o644, &files.identity.certificate)?;
    archive.copy("etc/device.key", 0o600, &files.identity.key)?;
    archive.entry("TRAILER!!!", 0, &[]);
    std::fs::write(path, archive.bytes).with_context(|| format!("write {}", path.display()))
}

/// The shared libraries of `program`, as the dynamic linker names them; of a static one none.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let said = Command::new("ldd").arg(program).output().context("run ldd")?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// A cpio archive in the form "newc", as the kernel unpacks it (Documentation/driver-api/early-userspace).
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn folders_of(&mut self, name: &str) {
        for (end, _) in name.match_indices('/') {
            self.folder(&name[..end]);
        }
    }

    fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, 0o100_000 | mode, content);
    }

    fn copy(&mut self, name: &str, mode: u32, from: &Path) -> anyhow::Result<()> {
        let content = std::fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.file(name, mode, &content);
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("files of the guest are far below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a name is short");
        // inode, mode, uid, gid, links, mtime, size, device (2), special device (2), size of the name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        write!(self.bytes, "070701").expect("memory takes bytes");
        fields.iter().for_each(|field| write!(self.bytes, "{field:08X}").expect("memory takes bytes"));
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
