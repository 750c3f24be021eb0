//! What a power cut may leave of one folder: what was synced, and any beginning of what was not.
//!
//! What is written to a file is durable once the file is synced, and a name once its folder is; until then the disk may
//! have all of it, nothing, or half. Changes of names reach it in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::tape::Act;

/// A folder's files: their bytes and permission bits.
pub(crate) type Image = BTreeMap<String, (Vec<u8>, u32)>;

#[derive(Clone, Debug)]
struct File {
    written: Vec<u8>,
    synced: Vec<u8>,
    mode: u32,
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, usize),
    Move(String, String),
    Remove(String),
}

/// A folder on a disk, between two things done to it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// As programs see them.
    names: BTreeMap<String, usize>,
    /// As they are on the disk for certain.
    synced: BTreeMap<String, usize>,
    /// What has been done to names since.
    changes: Vec<Change>,
}

impl Disk {
    /// With these files on it for certain.
    pub(crate) fn of(image: Image) -> Self {
        let (mut files, mut names) = (Vec::new(), BTreeMap::new());
        for (place, (name, (bytes, mode))) in image.into_iter().enumerate() {
            files.push(File { written: bytes.clone(), synced: bytes, mode });
            names.insert(name, place);
        }
        Self { files, synced: names.clone(), names, changes: Vec::new() }
    }

    /// Takes in what was done.
    ///
    /// # Errors
    /// When it is to a file that is not there.
    pub(crate) fn take(&mut self, act: &Act) -> anyhow::Result<()> {
        match act {
            Act::Make { file, mode } => {
                anyhow::ensure!(!self.names.contains_key(file), "{file} was opened for writing and was there");
                self.files.push(File { written: Vec::new(), synced: Vec::new(), mode: *mode });
                self.change(Change::Put(file.clone(), self.files.len() - 1));
            }
            Act::Write { file, bytes } => self.file(file)?.written.extend(bytes),
            Act::SyncFile(file) => {
                let file = self.file(file)?;
                file.synced.clone_from(&file.written);
            }
            Act::Rename { from, to } => self.change(Change::Move(from.clone(), to.clone())),
            Act::Remove(file) => self.change(Change::Remove(file.clone())),
            Act::SyncNames => {
                self.synced.clone_from(&self.names);
                self.changes.clear();
            }
            Act::Speak => {}
        }
        Ok(())
    }

    /// Whatever the disk may have if the power goes now, each once.
    pub(crate) fn images(&self) -> BTreeSet<Image> {
        let mut images = BTreeSet::new();
        let mut names = self.synced.clone();
        for done in 0..=self.changes.len() {
            if let Some(change) = done.checked_sub(1).and_then(|last| self.changes.get(last)) {
                apply(&mut names, change);
            }
            for share in 0..=2 {
                let content = |place: &usize| {
                    let file = self.files.get(*place)?;
                    let unsynced = file.written.len().saturating_sub(file.synced.len());
                    Some((file.written.get(..file.synced.len() + unsynced * share / 2)?.to_vec(), file.mode))
                };
                images.insert(names.iter().filter_map(|(name, place)| Some((name.clone(), content(place)?))).collect());
            }
        }
        images
    }

    fn file(&mut self, name: &str) -> anyhow::Result<&mut File> {
        let place = self.names.get(name).copied();
        place.and_then(|place| self.files.get_mut(place)).ok_or_else(|| anyhow::anyhow!("{name} is not there"))
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Put(name, place) => {
            names.insert(name.clone(), *place);
        }
        Change::Move(from, to) => {
            if let Some(place) = names.remove(from) {
                names.insert(to.clone(), place);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

/// A folder as it is.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Image> {
    use std::os::unix::fs::PermissionsExt;
    let mut image = Image::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let mode = entry.metadata()?.permissions().mode() & 0o7777;
        image.insert(entry.file_name().to_string_lossy().into_owned(), (std::fs::read(entry.path())?, mode));
    }
    Ok(image)
}

/// Writes `image` into an empty folder.
pub(crate) fn write(image: &Image, folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for (name, (bytes, mode)) in image {
        let path = folder.join(name);
        std::fs::write(&path, bytes)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(images: &BTreeSet<Image>) -> BTreeSet<Vec<(&str, &[u8])>> {
        images
            .iter()
            .map(|image| image.iter().map(|(name, (bytes, _))| (name.as_str(), bytes.as_slice())).collect())
            .collect()
    }

    #[test]
    fn what_is_not_synced_is_there_in_part_or_not_and_what_is_stays() {
        let file = |name: &str| name.to_owned();
        let mut disk = Disk::of(Image::from([(file("x"), (b"old".to_vec(), 0o600))]));
        for act in [
            Act::Make { file: file("t"), mode: 0o600 },
            Act::Write { file: file("t"), bytes: b"ab".to_vec() },
            Act::Rename { from: file("t"), to: file("x") },
        ] {
            disk.take(&act).unwrap();
        }
        let without_sync: &[&[(&str, &[u8])]] = &[
            &[("x", b"old")],
            &[("t", b""), ("x", b"old")],
            &[("t", b"a"), ("x", b"old")],
            &[("t", b"ab"), ("x", b"old")],
            &[("x", b"")],
            &[("x", b"a")],
            &[("x", b"ab")],
        ];
        assert_eq!(names(&disk.images()), without_sync.iter().map(|image| image.to_vec()).collect());
        disk.take(&Act::SyncFile(file("x"))).unwrap();
        assert_eq!(disk.images().len(), 3, "old, both, new");
        disk.take(&Act::SyncNames).unwrap();
        assert_eq!(names(&disk.images()), BTreeSet::from([vec![("x", b"ab".as_slice())]]));
    }
}
