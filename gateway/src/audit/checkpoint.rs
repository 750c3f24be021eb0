//! Where a chain has ended, written down in a second place: so that what is cut off at its end, or made anew from some
//! place on, is found. A file of lines that is only ever added to.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use proto::Instant;

use super::chain::{Hash, Head};

/// Ends a line that was cut short by a power cut, once the next one is written: such a line says nothing.
const TORN: &str = " torn";
/// No line is longer.
const LINE_BYTES_MAX: u16 = 256;

/// The file, open to be added to.
#[derive(Debug)]
pub struct Checkpoints {
    file: File,
    /// What the last line says, if there is one.
    last: Option<Head>,
    /// The last line was not written whole.
    is_torn: bool,
}

/// One line: the number of an entry, its hash, and when it was the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where the chain ended.
    pub head: Head,
    /// When, in microseconds since the Unix epoch.
    pub time_us: i64,
}

impl Checkpoints {
    /// Opens the file at `path`, or makes it, for its owner alone.
    ///
    /// # Errors
    /// Its folder is not there, it belongs to somebody else, or the disk.
    pub fn open(path: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let mut file = File::options().read(true).append(true).create(true).mode(0o600).open(path)?;
        if file.metadata()?.permissions().mode() & 0o777 != 0o600 {
            file.set_permissions(PermissionsExt::from_mode(0o600))?;
        }
        if is_new {
            file.sync_all()?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
        }
        let end = end_of(&mut file)?;
        let (whole, torn) = end.rsplit_once('\n').unwrap_or(("", &end));
        let last = whole.rsplit('\n').next().and_then(parse).map(|checkpoint| checkpoint.head);
        Ok(Self { last, is_torn: !torn.is_empty(), file })
    }

    /// What was written down last.
    #[must_use]
    pub fn last(&self) -> Option<Head> {
        self.last
    }

    /// Writes down where the chain ends. When this returns, it is on the disk.
    ///
    /// # Errors
    /// The disk. The next one may be tried all the same.
    pub fn add(&mut self, head: Head, time: Instant) -> io::Result<()> {
        let Head { sequence, hash } = head;
        let torn = if self.is_torn { format!("{TORN}\n") } else { String::new() };
        // Until it is known to be whole.
        self.is_torn = true;
        // At once, so that lines of two gateways never mix.
        let line = format!("{torn}{sequence} {hash} {}\n", time.0);
        let written = self.file.write(line.as_bytes())?;
        if written < line.len() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "only part of a line was written"));
        }
        self.is_torn = false;
        self.file.sync_data()?;
        self.last = Some(head);
        Ok(())
    }
}

/// The last bytes, as text.
fn end_of(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(u64::from(LINE_BYTES_MAX) * 2)))?;
    let mut end = Vec::new();
    file.take(u64::from(LINE_BYTES_MAX) * 2).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// Reads the file at `path` and shows each line that says something, with its number.
///
/// # Errors
/// The file cannot be read, or one of its lines is none that a gateway writes.
pub fn read(path: &Path, mut each: impl FnMut(u64, Checkpoint)) -> io::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if file.by_ref().take(LINE_BYTES_MAX.into()).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let Some(text) = text.strip_suffix('\n') else {
            // A line that is being written, or was when the power went. One that is merely too long is neither.
            if line.len() < LINE_BYTES_MAX.into() {
                break;
            }
            return Err(foreign(number));
        };
        if text.ends_with(TORN) {
            continue;
        }
        each(number, parse(text).ok_or_else(|| foreign(number))?);
    }
    Ok(())
}

fn foreign(number: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("line {number} is none that a gateway has written: it was edited"),
    )
}

fn parse(line: &str) -> Option<Checkpoint> {
    let mut words = line.split(' ');
    let sequence = words.next()?.parse().ok().filter(|sequence| *sequence > 0)?;
    let hash: Hash = words.next()?.parse().ok()?;
    let time_us = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Checkpoint { head: Head { sequence, hash }, time_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &Path) -> io::Result<Vec<(u64, Checkpoint)>> {
        let mut lines = Vec::new();
        read(path, |number, checkpoint| lines.push((number, checkpoint)))?;
        Ok(lines)
    }

    fn head(sequence: i64) -> Head {
        Head { sequence, hash: Hash([7; 32]) }
    }

    #[test]
    fn lines_are_added_for_the_owner_alone_and_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.audit");
        let mut file = Checkpoints::open(&path).unwrap();
        assert_eq!(file.last(), None);
        file.add(head(3), Instant(-5)).unwrap();
        file.add(head(4), Instant(6)).unwrap();
        drop(file);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let again = Checkpoints::open(&path).unwrap();
        assert_eq!(again.last(), Some(head(4)));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let checkpoint = |sequence, time_us| Checkpoint { head: head(sequence), time_us };
        assert_eq!(all(&path).unwrap(), [(1, checkpoint(3, -5)), (2, checkpoint(4, 6))]);
    }

    #[test]
    fn a_line_that_a_power_cut_left_unfinished_says_nothing_wherever_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.audit");
        let mut file = Checkpoints::open(&path).unwrap();
        (1..3).for_each(|sequence| file.add(head(sequence), Instant(0)).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.find('\n').unwrap() + 1;
        for end in first..text.len() {
            std::fs::write(&path, &text[..end]).unwrap();
            assert_eq!(all(&path).unwrap().len(), 1, "{end}");
            let mut file = Checkpoints::open(&path).unwrap();
            assert_eq!(file.last(), Some(head(1)), "{end}");
            file.add(head(9), Instant(0)).unwrap();
            let sequences: Vec<i64> = all(&path).unwrap().iter().map(|(_, line)| line.head.sequence).collect();
            assert_eq!(sequences, [1, 9], "{end}");
        }
    }

    #[test]
    fn a_line_that_was_edited_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.audit");
        for wrong in [
            "",
            "1",
            "0 07 1",
            &format!("-1 {} 0", Hash::default()),
            &format!("1 {} 0 0", Hash::default()),
            &"x".repeat(999),
        ] {
            let good = format!("1 {} 0\n", Hash::default());
            std::fs::write(&path, format!("{good}{wrong}\n{good}")).unwrap();
            let error = all(&path).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{wrong}: {error}");
        }
    }
}
