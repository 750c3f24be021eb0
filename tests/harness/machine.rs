//! Virtual machines with a kernel, a page cache and an ext4 disk of their own, in which an agent runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::binary;
use crate::emulated;
use crate::servers::Missing;

pub mod cuts;
pub mod guest;
mod initramfs;

pub use guest::{Guest, Held};

/// A kind of machine.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    emulator: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    board: &'static [&'static str],
    console: &'static str,
    disk: &'static str,
    network: &'static str,
}

impl Kind {
    /// This machine's kind.
    pub const AMD64: Self = Self {
        emulator: "qemu-system-x86_64",
        package: "qemu-system-x86",
        board: &["-M", "q35", "-cpu", "max"],
        console: "ttyS0",
        disk: "virtio-blk-pci",
        network: "virtio-net-pci",
    };
    /// 64-bit ARM, as in a Raspberry Pi 3.
    pub const ARM64: Self = Self {
        emulator: "qemu-system-aarch64",
        package: "qemu-system-arm",
        board: &["-M", "virt", "-cpu", "cortex-a53"],
        console: "ttyAMA0",
        ..Self::AMD64
    };
    /// 32-bit ARM, as in a Raspberry Pi 2.
    pub const ARMHF: Self = Self {
        emulator: "qemu-system-arm",
        board: &["-M", "virt", "-cpu", "cortex-a7"],
        disk: "virtio-blk-device",
        network: "virtio-net-device",
        ..Self::ARM64
    };
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its kind.
    pub kind: Kind,
    /// Its memory in MiB.
    pub memory_mib: u32,
    kernel: PathBuf,
    busybox: PathBuf,
    /// Kernel modules that the guest's disk and network need.
    modules: Vec<PathBuf>,
}

impl Parts {
    /// A machine of this machine's kind, from what `tests/machine/fetch` left.
    ///
    /// # Errors
    /// [`Missing`] when something is; says what to do.
    pub fn native() -> anyhow::Result<Self> {
        let is_ours = cfg!(target_arch = "x86_64");
        anyhow::ensure!(
            is_ours,
            Missing("the guest runs this machine's own agent, and its kernel is for x86_64".into())
        );
        let own = binary("tributary-agent");
        let folder = own.ancestors().nth(2).context("programs lie in target")?.join("machine");
        Self::of(Kind::AMD64, 192, &folder, "tests/machine/fetch")
    }

    /// A machine for `architecture` as Debian names it, from what `cross/fetch kernels` left.
    ///
    /// # Errors
    /// [`Missing`] when something is; says what to do.
    pub fn fetched(kind: Kind, architecture: &str, memory_mib: u32) -> anyhow::Result<Self> {
        let folder = emulated::built().join("tools").join(format!("kernel-{architecture}"));
        Self::of(kind, memory_mib, &folder, "cross/fetch kernels")
    }

    fn of(kind: Kind, memory_mib: u32, folder: &Path, how: &str) -> anyhow::Result<Self> {
        for (tool, package) in [(kind.emulator, kind.package), ("mkfs.ext4", "e2fsprogs")] {
            let there = Command::new(tool).arg("-V").output().is_ok();
            anyhow::ensure!(there, Missing(format!("{tool} is missing: apt-get install {package}")));
        }
        let (kernel, busybox) = (folder.join("vmlinuz"), folder.join("busybox"));
        anyhow::ensure!(kernel.exists() && busybox.exists(), Missing(format!("no kernel: run {how}")));
        let mut modules = Vec::new();
        collect_modules(&folder.join("root/lib/modules"), &mut modules)?;
        Ok(Self { kind, memory_mib, kernel, busybox, modules })
    }
}

/// What a disk and a network take that are not there: the bus, both devices, and the file system with what it needs.
const MODULES: [&str; 13] = [
    "virtio.ko",
    "virtio_ring.ko",
    "virtio_mmio.ko",
    "virtio_blk.ko",
    "virtio_net.ko",
    "failover.ko",
    "net_failover.ko",
    "ext4.ko",
    "jbd2.ko",
    "mbcache.ko",
    "crc16.ko",
    "crc32c_generic.ko",
    "libcrc32c.ko",
];

fn collect_modules(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect_modules(&path, into)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if MODULES.contains(&name.as_str()) || name.starts_with("virtio_pci") {
            into.push(path);
        }
    }
    Ok(())
}
