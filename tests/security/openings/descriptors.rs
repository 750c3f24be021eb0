//! A process's open descriptors, by `/proc`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Descriptors, and what they are of.
///
/// # Errors
/// When the process is gone.
pub(super) fn of(id: u32) -> io::Result<BTreeMap<String, String>> {
    let entries = std::fs::read_dir(format!("/proc/{id}/fd"))?.flatten();
    // One that was closed meanwhile has no target any more.
    let target = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), target.display().to_string()))
    };
    Ok(entries.filter_map(target).collect())
}

/// Those that an agent has no use for. `readable` is open for moments only, while it is read.
pub(super) fn strange(open: &BTreeMap<String, String>, own: &[PathBuf], readable: &[PathBuf]) -> Vec<String> {
    let is_known = |target: &str| {
        ["anon_inode:[eventpoll]", "anon_inode:[eventfd]"].contains(&target)
            || ["socket:[", "pipe:["].iter().any(|start| target.starts_with(start))
            || own.iter().chain(readable).any(|path| path.as_path() == Path::new(target))
            || RESOLVER.contains(&target)
            || LOADER.iter().any(|start| target.starts_with(start))
            || (target.starts_with("/proc/") && target.ends_with("/maps"))
    };
    open.iter().filter(|(_, target)| !is_known(target)).map(|(id, target)| format!("{id}: {target}")).collect()
}

/// What the dynamic loader reads when a program starts: the first look may meet it there. So does the C library look up in
/// `/proc` where the stack ends.
const LOADER: [&str; 5] = ["/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/etc/ld.so."];

/// Files that the C library reads to find a host by its name.
pub(super) const RESOLVER: [&str; 5] =
    ["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/host.conf", "/etc/gai.conf"];

/// Processes that it has started and that still run.
pub(super) fn children(id: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.flat_map(|task| of(task).split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}
