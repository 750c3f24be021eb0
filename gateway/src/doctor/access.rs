//! Whether whom the gateway runs as can go on with its own authority, whoever used that before.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::finding::{Finding, or_well};
use super::gather;
use crate::config::Config;

const CHECK: &str = "files";
const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
const SEARCH: u32 = 0o1;
/// What the gateway does with each part of the folder, which is the first.
const PARTS: [(&str, u32); 8] = [
    ("", READ | WRITE | SEARCH),
    ("ca.key", READ),
    ("ca.crt", READ),
    ("root.crt", READ),
    ("root.crl", READ),
    ("index", READ | WRITE),
    ("ca.crl", READ | WRITE),
    ("lock", READ | WRITE),
];

/// Looks at the bits of each file, as the system does for that user and group.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let (Some(folder), Some(who)) = (gather::authority(config), gather::runs_as(config)) else { return Vec::new() };
    let path = |name: &str| if name.is_empty() { folder.to_owned() } else { folder.join(name) };
    let found = PARTS.into_iter().filter_map(|(name, wanted)| judge(&path(name), wanted, who, folder)).collect();
    or_well(found, CHECK, || {
        format!("user {}, whose the gateway's state is, can go on with {}", who.0, folder.display())
    })
}

fn judge(path: &Path, wanted: u32, (user, group): (u32, u32), folder: &Path) -> Option<Finding> {
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        // Whoever needs it says so.
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            let error = anyhow::Error::new(error).context(format!("look at {}", path.display()));
            return Some(Finding::unknown(CHECK, &error));
        }
    };
    let bits = match (found.uid() == user, found.gid() == group) {
        (true, _) => found.mode() >> 6,
        (false, true) => found.mode() >> 3,
        (false, false) => found.mode(),
    };
    if user == 0 || bits & wanted == wanted {
        return None;
    }
    let what = format!(
        "{} belongs to user {} with mode {:04o}, and user {user}, whose the gateway's state is, cannot {} it: no device gets a \
         certificate, and once the revocation list has run out nobody is let in",
        path.display(),
        found.uid(),
        found.mode() & 0o7777,
        if wanted & WRITE == 0 { "read" } else { "read and write" },
    );
    Some(Finding::fault(CHECK, what, format!("chown -R {user}:{group} {0} && chmod -R u+rwX {0}", folder.display())))
}
