//! A virtual machine: started, listened to, and killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::process::Process;

/// What a machine is made of.
pub(super) struct Parts {
    pub(super) kernel: PathBuf,
    pub(super) busybox: PathBuf,
    /// Kernel modules that the guest's disk and network need.
    pub(super) modules: Vec<PathBuf>,
}

/// How many batches the guest's buffer held when it last said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held(pub(super) u64);

impl Parts {
    /// What `tests/machine/fetch` left.
    ///
    /// # Errors
    /// When something is missing; says what to do.
    pub(super) fn find() -> anyhow::Result<Self> {
        anyhow::ensure!(
            cfg!(target_arch = "x86_64"),
            "the guest runs this machine's own agent, and its kernel is for x86_64"
        );
        for tool in ["qemu-system-x86_64", "mkfs.ext4"] {
            let there = Command::new(tool).arg("-V").output().is_ok();
            anyhow::ensure!(there, "{tool} is missing: apt-get install qemu-system-x86 e2fsprogs");
        }
        let binary = harness::binary("tributary-agent");
        let folder = binary.ancestors().nth(2).context("programs lie in target")?.join("machine");
        let (kernel, busybox) = (folder.join("vmlinuz"), folder.join("busybox"));
        anyhow::ensure!(kernel.exists() && busybox.exists(), "no kernel: run tests/machine/fetch");
        let mut modules = Vec::new();
        collect_modules(&folder.join("root/lib/modules"), &mut modules)?;
        Ok(Self { kernel, busybox, modules })
    }
}

fn collect_modules(folder: &Path, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect_modules(&path, into)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted =
            ["virtio.ko", "virtio_ring.ko", "virtio_blk.ko", "virtio_net.ko", "failover.ko", "net_failover.ko"];
        if wanted.contains(&name.as_str()) || name.starts_with("virtio_pci") {
            into.push(path);
        }
    }
    Ok(())
}

/// A machine that runs.
pub(super) struct Guest {
    process: Process,
    console: PathBuf,
}

impl Guest {
    /// Powers on. The guest's console goes to `console`.
    ///
    /// # Errors
    /// When the machine cannot be started.
    pub(super) fn start(parts: &Parts, initrd: &Path, disk: &Path, console: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("qemu-system-x86_64");
        // Without hardware virtualisation: it is not everywhere, and the cut is the same.
        command.args(["-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "192", "-nographic"]);
        command.args(["-no-reboot", "-nodefaults", "-serial"]).arg(format!("file:{}", console.display()));
        command.arg("-kernel").arg(&parts.kernel).arg("-initrd").arg(initrd);
        command.args(["-append", "console=ttyS0 quiet panic=-1"]);
        // writeback: what the guest has flushed is safe with the host, which goes on; what it has not flushed is lost.
        command.arg("-drive").arg(format!("file={},format=raw,if=virtio,cache=writeback", disk.display()));
        command.args(["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0"]);
        let process = Process::start(command, &console.with_extension("qemu.log"))?;
        Ok(Self { process, console: console.into() })
    }

    /// Waits until the guest has looked into its buffer; answers what was there.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) fn wait_until_up(&mut self, deadline: Duration) -> anyhow::Result<Held> {
        let begun = Instant::now();
        loop {
            let said = self.said();
            if let Some(held) = number_after(&said, "guest: begins with ") {
                return Ok(Held(held));
            }
            if let Some(status) = self.process.ended() {
                anyhow::bail!("the machine ended with {status}: {}\n{said}", self.process.log_text());
            }
            anyhow::ensure!(begun.elapsed() < deadline, "the guest did not come up in {deadline:?}:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL: the guest's memory, its page cache with it, is gone. Answers what its buffer held at the least.
    ///
    /// # Errors
    /// When the agent had ended by itself.
    pub(super) fn cut_the_power(&mut self) -> anyhow::Result<Held> {
        self.process.kill();
        let said = self.said();
        anyhow::ensure!(!said.contains("guest: agent ended"), "the agent ended by itself in the guest:\n{said}");
        let last = said.lines().filter_map(|line| number_after(line, "guest: holds ")).max();
        Ok(Held(last.or_else(|| number_after(&said, "guest: begins with ")).unwrap_or(0)))
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.console).unwrap_or_default()).into_owned()
    }
}

/// The number after `words`, if a whole line with it was printed.
fn number_after(text: &str, words: &str) -> Option<u64> {
    let rest = &text[text.find(words)? + words.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    rest[digits.len()..].starts_with(['\r', '\n', ' ']).then(|| digits.parse().ok())?
}
