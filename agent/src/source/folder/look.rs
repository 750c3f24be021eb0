//! What is in the folder.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::memory::{FILES_MAX, hash};
use super::{After, Order};

/// Names in a folder that are looked at.
const NAMES_MAX: usize = 10_000;
/// Names tried for a file that is moved where others of its name are already.
const COPIES_MAX: u32 = 1_000;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// A hash of its name.
    pub(super) name: u64,
    /// Its size and the time it was last written, as one number; never 0.
    pub(super) stamp: u64,
    /// When it was last written, nanoseconds since the Unix epoch.
    pub(super) modified: u128,
}

/// The files of `folder` whose names end so, in order, and whether there are more than that. Names that begin with a dot are
/// for those who are still writing.
pub(super) fn list(folder: &Path, ending: &str, order: Order) -> io::Result<(Vec<Found>, bool)> {
    let (mut found, mut more) = (Vec::new(), false);
    for (count, entry) in std::fs::read_dir(folder)?.enumerate() {
        let (entry, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        let ends = path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
        let is_ours = ends && !entry.as_encoded_bytes().starts_with(b".");
        if count >= NAMES_MAX || (is_ours && found.len() == FILES_MAX) {
            more = true;
            break;
        }
        if !is_ours {
            continue;
        }
        match stamp(&path) {
            Ok(Some((stamp, modified))) => {
                found.push(Found { path, name: hash(entry.as_encoded_bytes()), stamp, modified });
            }
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // gone meanwhile
            Err(error) => return Err(error),
        }
    }
    match order {
        Order::Name => found.sort_by(|one, other| one.path.cmp(&other.path)),
        Order::Modified => found.sort_by(|one, other| (one.modified, &one.path).cmp(&(other.modified, &other.path))),
    }
    Ok((found, more))
}

/// A plain file's stamp and time; none for what is no plain file, links included.
fn stamp(path: &Path) -> io::Result<Option<(u64, u128)>> {
    let about = std::fs::symlink_metadata(path)?;
    about.is_file().then(|| stamp_of(&about)).transpose()
}

/// The same of a file that is open.
pub(super) fn stamp_of(about: &Metadata) -> io::Result<(u64, u128)> {
    let modified = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let bytes = [about.len().to_le_bytes().as_slice(), &modified.to_le_bytes()].concat();
    Ok((hash(&bytes).max(1), modified))
}

/// Takes a file away that was read, if it is still what was read.
pub(super) fn put_away(found: &Found, after: After) -> io::Result<bool> {
    if stamp(&found.path)?.is_none_or(|(stamp, _)| stamp != found.stamp) {
        return Ok(false);
    }
    let (Some(folder), Some(name)) = (found.path.parent(), found.path.file_name()) else { return Ok(false) };
    match after {
        After::Keep => return Ok(false),
        After::Remove => std::fs::remove_file(&found.path)?,
        After::Move => {
            let done = folder.join("done");
            match std::fs::create_dir(&done) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let free = |copy: &u32| {
                let mut name = name.to_owned();
                if *copy > 0 {
                    name.push(format!(".{copy}"));
                }
                let place = done.join(name);
                matches!(place.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
                    .then_some(place)
            };
            let place = (0..COPIES_MAX).find_map(|copy| free(&copy)).ok_or(io::ErrorKind::AlreadyExists)?;
            std::fs::rename(&found.path, place)?;
        }
    }
    Ok(true)
}

/// How a file is named in rejects and logs: as it is, or without letters where its name may say whose it is.
pub(super) fn label(path: &Path, redacted: bool) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !redacted {
        return name.chars().take(100).collect();
    }
    let mut label = String::new();
    for letter in name.chars().take(100) {
        if letter.is_ascii_digit() || "-_.".contains(letter) {
            label.push(letter);
        } else if !label.ends_with('…') {
            label.push('…');
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_of_people_are_in_no_label() {
        let label_of = |redacted| label(Path::new("/in/Jane Doe_glucose_5-11-2026.csv"), redacted);
        assert_eq!(label_of(true), "…_…_5-11-2026.…");
        assert_eq!(label_of(false), "Jane Doe_glucose_5-11-2026.csv");
    }

    #[test]
    fn only_plain_files_of_that_ending_are_found_in_the_order_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["b.csv", "a.CSV", ".hidden.csv", "c.csv.part", "d.txt"] {
            std::fs::write(path(name), name).unwrap();
        }
        std::fs::create_dir(path("dir.csv")).unwrap();
        std::os::unix::fs::symlink(path("b.csv"), path("link.csv")).unwrap();
        let old = std::fs::File::options().write(true).open(path("b.csv")).unwrap();
        old.set_modified(UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
        let names = |order| {
            let (found, _) = list(folder.path(), "csv", order).unwrap();
            found.iter().map(|file| label(&file.path, false)).collect::<Vec<_>>()
        };
        assert_eq!(names(Order::Name), ["a.CSV", "b.csv"]);
        assert_eq!(names(Order::Modified), ["b.csv", "a.CSV"]);
    }

    #[test]
    fn a_file_that_is_moved_replaces_no_other_and_one_that_changed_stays() {
        let folder = tempfile::tempdir().unwrap();
        for round in ["", ".1"] {
            std::fs::write(folder.path().join("a.csv"), round).unwrap();
            let (found, _) = list(folder.path(), "csv", Order::Name).unwrap();
            assert!(put_away(&found[0], After::Move).unwrap());
            assert_eq!(std::fs::read_to_string(folder.path().join(format!("done/a.csv{round}"))).unwrap(), round);
        }
        std::fs::write(folder.path().join("a.csv"), "before").unwrap();
        let (found, _) = list(folder.path(), "csv", Order::Name).unwrap();
        std::fs::write(folder.path().join("a.csv"), "behind it").unwrap();
        assert!(!put_away(&found[0], After::Remove).unwrap());
        assert!(folder.path().join("a.csv").exists());
    }
}
