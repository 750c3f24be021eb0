//! Which serial ports there are, by names that stay, what the kernel knows of each, and who may open it.
//!
//! All of it is read from files: `/sys/class/tty`, `/dev/serial`, `/etc/group`, `/proc`. No port is opened.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::io::Errno;

#[cfg(test)]
mod tests;

/// Ports that are listed.
const PORTS_MAX: usize = 64;
/// Characters kept of what a USB device says of itself.
const TEXT_CHARS_MAX: usize = 64;
/// Of a serial number, so many characters are shown: enough to tell two adapters from each other.
const SERIAL_CHARS: usize = 4;
/// How far above a port its USB device is, at most.
const USB_LEVELS: usize = 6;
/// Ports that an error names.
const NAMED_MAX: usize = 8;
/// Processes that are asked what they have open.
const PROCESSES_MAX: usize = 4_096;

/// A serial port of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SerialPort {
    /// The name to configure: by id, else by path, else the kernel's own, which changes when it is replugged.
    pub(crate) path: String,
    /// The kernel's name: `ttyUSB0`.
    pub(crate) name: String,
    /// What is plugged in; none for a port on the board.
    pub(crate) usb: Option<Usb>,
    /// Why this process may not open it, and what to do about it.
    pub(crate) denied: Option<String>,
}

/// What a USB device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usb {
    /// Who made it.
    pub(crate) vendor: u16,
    /// What it is, in its maker's count.
    pub(crate) product: u16,
    /// The maker's name.
    pub(crate) manufacturer: Option<String>,
    /// What the maker calls it.
    pub(crate) called: Option<String>,
    /// The last characters of its serial number.
    pub(crate) serial_ends: Option<String>,
}

impl Usb {
    /// `10c4:85a7`, as `lsusb` writes it.
    pub(crate) fn id(&self) -> String {
        format!("{:04x}:{:04x}", self.vendor, self.product)
    }

    /// The device that `device`, a folder of sysfs, is a part of.
    fn of(device: &Path) -> Option<Self> {
        let device = fs::canonicalize(device).ok()?;
        let folder = device.ancestors().take(USB_LEVELS).find(|folder| folder.join("idVendor").exists())?;
        let text = |file: &str| {
            let text = fs::read_to_string(folder.join(file)).ok()?;
            let plain = text.trim().chars().filter(|letter| !letter.is_control());
            let text: String = plain.take(TEXT_CHARS_MAX).collect();
            (!text.is_empty()).then_some(text)
        };
        let id = |file: &str| u16::from_str_radix(&text(file)?, 16).ok();
        let serial: Vec<char> = text("serial").unwrap_or_default().chars().collect();
        let hidden = serial.len().checked_sub(SERIAL_CHARS).filter(|hidden| *hidden > 0);
        Some(Self {
            vendor: id("idVendor")?,
            product: id("idProduct")?,
            manufacturer: text("manufacturer"),
            called: text("product"),
            serial_ends: hidden.map(|hidden| serial[hidden..].iter().collect()),
        })
    }
}

/// The serial ports of the machine whose file system begins at `root`, what is plugged in first.
pub(crate) fn list(root: &Path) -> Vec<SerialPort> {
    let class = root.join("sys/class/tty");
    let stable = stable_names(root);
    let port = |name: String| {
        let plain = || root.join("dev").join(&name);
        let path = stable.iter().find(|(to, _)| *to == name).map_or_else(plain, |(_, path)| path.clone());
        let usb = Usb::of(&class.join(&name).join("device"));
        SerialPort { denied: denied(root, &path), path: path.to_string_lossy().into_owned(), usb, name }
    };
    let names = names_in(&class).into_iter().filter(|name| is_port(&class.join(name)));
    let (mut ports, on_board): (Vec<_>, Vec<_>) = names.take(PORTS_MAX).map(port).partition(|port| port.usb.is_some());
    ports.extend(on_board);
    ports
}

/// What an error says of the ports that are there.
pub(super) fn named(root: &Path) -> String {
    let paths: Vec<String> = list(root).into_iter().take(NAMED_MAX).map(|port| port.path).collect();
    match paths.as_slice() {
        [] => "this machine has no serial port now".to_owned(),
        paths => format!("there is {}", paths.join(", ")),
    }
}

/// How whoever runs this process comes to be allowed to open `path`.
pub(super) fn how_to_be_let_in(root: &Path, path: &Path) -> String {
    let Ok(metadata) = fs::metadata(path) else {
        return "the agent's user may not enter the folder that it is in".to_owned();
    };
    let mode = metadata.mode() & 0o777;
    if mode & 0o060 == 0o060 {
        let group = group_name(root, metadata.gid());
        return format!(
            "the agent's user is to be in the group `{group}`: `usermod -aG {group} USER`, then start the agent anew"
        );
    }
    format!(
        "its mode is {mode:03o}, which lets no group in: a udev rule with GROUP=\"dialout\", MODE=\"0660\" changes that"
    )
}

/// Who has `path` open, as far as this process may see, and as far as can be seen `until` then.
pub(super) fn holder(path: &Path, until: Instant) -> Option<String> {
    let target = fs::canonicalize(path).ok()?;
    let processes = names_in(Path::new("/proc")).into_iter().filter_map(|name| name.parse::<u32>().ok());
    let has_it_open = |process: &u32| {
        let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|to| to == target))
    };
    let mut looked_at = processes.take(PROCESSES_MAX).take_while(|_| Instant::now() < until);
    let process = looked_at.find(has_it_open)?;
    if process == std::process::id() {
        return Some("this agent itself, for another source".to_owned());
    }
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("{} (process {process})", name.trim()))
}

/// Why this process may not open `path`, and what to do about it; none where it may.
fn denied(root: &Path, path: &Path) -> Option<String> {
    match rustix::fs::access(path, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK) {
        Ok(()) => None,
        Err(Errno::ACCESS | Errno::PERM) => Some(how_to_be_let_in(root, path)),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether a folder of `/sys/class/tty` is a port with something behind it.
fn is_port(folder: &Path) -> bool {
    // Those on the board are there by the dozen, most without a chip: their type is then 0.
    let is_empty = fs::read_to_string(folder.join("type")).is_ok_and(|of| of.trim() == "0");
    folder.join("device").exists() && !is_empty
}

/// The kernel's name and the stable one of each port that has one, the better one first.
fn stable_names(root: &Path) -> Vec<(String, PathBuf)> {
    let folders = ["dev/serial/by-id", "dev/serial/by-path"].map(|folder| root.join(folder));
    let links = folders.iter().flat_map(|folder| names_in(folder).into_iter().map(|name| folder.join(name)));
    let named = |link: PathBuf| {
        let name = fs::read_link(&link).ok()?.file_name()?.to_str()?.to_owned();
        Some((name, link))
    };
    links.filter_map(named).collect()
}

/// The names in a folder, in order; none where there is no such folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// The group's name in `/etc/group`, else its number.
fn group_name(root: &Path, id: u32) -> String {
    let groups = fs::read_to_string(root.join("etc/group")).unwrap_or_default();
    let mut named = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = named.find(|fields| fields.get(2).is_some_and(|field| field.parse() == Ok(id)));
    found.map_or_else(|| id.to_string(), |fields| fields[0].to_owned())
}
