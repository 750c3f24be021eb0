//! What the kernel says of a process.

use std::time::Duration;

use anyhow::Context;

/// Bytes that a process wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Handed to `write` and its kin, whatever became of it.
    pub(crate) handed: u64,
    /// Pages that it made dirty on a disk. Zero on a tmpfs.
    pub(crate) to_disk: u64,
}

/// What this process has written so far (proc_pid_io(5): `wchar` and `write_bytes`).
///
/// # Errors
/// Without /proc.
pub(crate) fn written() -> anyhow::Result<Written> {
    let text = std::fs::read_to_string("/proc/self/io").context("read /proc/self/io")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|number| number.parse().ok()).with_context(|| format!("{name} in /proc/self/io"))
    };
    Ok(Written { handed: field("wchar")?, to_disk: field("write_bytes")? })
}

/// Memory of a process in MiB: resident now, and the most it ever was (proc_pid_status(5): `VmRSS`, `VmHWM`).
///
/// # Errors
/// When there is no such process.
pub(crate) fn resident_mib(process: u32) -> anyhow::Result<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).context("read a process's status")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0).with_context(|| format!("{name} of a process"))
    };
    Ok((field("VmRSS")?, field("VmHWM")?))
}

/// Memory that may still be taken without swapping, in MiB (proc_meminfo(5): `MemAvailable`).
///
/// # Errors
/// Without /proc.
pub(crate) fn available_mib() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).context("MemAvailable in /proc/meminfo")
}

/// What the kernel keeps in TCP buffers, in MiB (/proc/net/sockstat: `mem`, in pages of 4 KiB).
///
/// # Errors
/// Without /proc.
pub(crate) fn sockets_mib() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/net/sockstat").context("read /proc/net/sockstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: ")).context("TCP in /proc/net/sockstat")?;
    let pages = line.split_once("mem ").and_then(|(_, pages)| pages.trim().parse::<f64>().ok());
    pages.map(|pages| pages * 4.0 / 1024.0).context("mem in /proc/net/sockstat")
}

/// Processor time that a process took (proc_pid_stat(5): `utime` and `stime`, in hundredths of a second on Linux).
///
/// # Errors
/// When there is no such process.
pub(crate) fn processor_time(process: u32) -> anyhow::Result<Duration> {
    times(process, 2)
}

/// The sum of the first `fields` of `utime`, `stime`, `cutime` and `cstime`, the latter being of children that ended.
fn times(process: u32, fields: usize) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).context("read a process's times")?;
    let (_, rest) = text.rsplit_once(") ").context("a name in parentheses")?;
    // The third field is the first after the name; the four are the 14th to the 17th.
    let ticks: u64 = rest.split(' ').skip(11).take(fields).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// Processor time that a process and its children took, those that have ended included.
///
/// # Errors
/// When there is no such process.
pub(crate) fn processor_time_of_all(process: u32) -> anyhow::Result<Duration> {
    let mut sum = times(process, 4)?;
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    // One that ends meanwhile counts with its parent the next time.
    let of_children = children.split_whitespace().filter_map(|child| times(child.parse().ok()?, 4).ok());
    sum += of_children.sum::<Duration>();
    Ok(sum)
}
