//! Who else can read or change the files that the gateway goes by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::finding::{Finding, or_well};

const CHECK: &str = "files";
const ROOT: u32 = 0;
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// In a folder with this bit only its owner can remove or rename a file.
const STICKY: u32 = 0o1000;

/// How far a file is others' business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody but its owner's: keys, passwords, readings.
    Secret,
    /// For all to read, and for its owner to write.
    Public,
    /// Holds others: whoever writes it can put other files in their place.
    Folder,
}

/// A file as it was found.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) owner: u32,
    /// Its permission bits.
    pub(super) mode: u32,
}

/// Whose they are and what others may do with them. Files may belong to root and to `owners`.
pub(super) fn examine(found: &[Found], owners: &[u32]) -> Vec<Finding> {
    let findings: Vec<_> = found.iter().flat_map(|found| [bits(found), owner(found, owners)]).flatten().collect();
    or_well(findings, CHECK, || format!("{} files and folders are closed to others as they should be", found.len()))
}

fn bits(Found { path, kind, mode, .. }: &Found) -> Option<Finding> {
    let place = path.display();
    let too_much = match kind {
        Kind::Secret => mode & OTHERS,
        Kind::Folder if mode & STICKY != 0 => 0,
        Kind::Public | Kind::Folder => mode & OTHERS_WRITE,
    };
    if too_much == 0 {
        return None;
    }
    let (what, remedy) = match kind {
        Kind::Secret => (
            "others than its owner can reach what is in it",
            format!(
                "chmod 600 {place}, and replace a key or \
            password that others may have read"
            ),
        ),
        Kind::Public => ("others than its owner can change it", format!("chmod go-w {place}")),
        Kind::Folder => ("others can put other files in the place of those in it", format!("chmod go-w {place}")),
    };
    Some(Finding::fault(CHECK, format!("{place} has mode {mode:04o}: {what}"), remedy))
}

fn owner(Found { path, owner, .. }: &Found, owners: &[u32]) -> Option<Finding> {
    if *owner == ROOT || owners.contains(owner) {
        return None;
    }
    let place = path.display();
    let what = format!("{place} belongs to user {owner}, who is neither root nor the gateway's");
    Some(Finding::fault(
        CHECK,
        what,
        format!("chown it to the gateway's user, unless user {owner} is meant to change it"),
    ))
}

/// Looks at `paths` and at the folders that they are in. Those that are not there are left out: whoever needs them says so.
///
/// # Errors
/// One that is there cannot be looked at.
pub(super) fn look(paths: &[(PathBuf, Kind)]) -> anyhow::Result<Vec<Found>> {
    let mut wanted: BTreeMap<PathBuf, Kind> = BTreeMap::new();
    for (path, kind) in paths {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        wanted.entry(folder.to_owned()).or_insert(Kind::Folder);
        let entry = wanted.entry(path.clone()).or_insert(*kind);
        if *kind == Kind::Secret {
            *entry = Kind::Secret;
        }
    }
    let each = |(path, kind): (PathBuf, Kind)| {
        use std::os::unix::fs::MetadataExt;
        match std::fs::metadata(&path) {
            Ok(metadata) => Some(Ok(Found { kind, owner: metadata.uid(), mode: metadata.mode() & 0o7777, path })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(anyhow::Error::new(error).context(format!("look at {}", path.display())))),
        }
    };
    wanted.into_iter().filter_map(each).collect()
}
