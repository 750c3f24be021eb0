//! Folders whose files are recorded, and the way from a file to its folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::fault::{Call, Failure, Faults, What};
use crate::shim;
use crate::tape::{FileId, Operation, Tape};

/// The folders that are watched now.
static WATCHED: RwLock<Vec<Arc<State>>> = RwLock::new(Vec::new());

/// What is called before each operation that changes something, on the thread that asked for it, with the tape's length.
type Before = Box<dyn Fn(usize) + Send + Sync>;

/// A folder, recorded for as long as this lives. Connections that were opened meanwhile are recorded to their end.
pub struct Watch {
    state: Arc<State>,
}

/// What is known of a watched folder.
pub(crate) struct State {
    folder: PathBuf,
    tape: Mutex<Tape>,
    faults: Mutex<Faults>,
    before: Option<Before>,
}

/// A file of a watched folder.
pub(crate) struct Watched {
    pub(crate) state: Arc<State>,
    pub(crate) file: FileId,
    /// Whether its next sync takes the folder along.
    pub(crate) syncs_folder: AtomicBool,
}

impl Watch {
    /// Watches the files that SQLite opens in `folder` from now on. No other folder is affected, nor are those in it.
    ///
    /// # Errors
    /// When the folder is not there, or SQLite does not take the shim.
    pub fn folder(folder: &Path) -> io::Result<Self> {
        Self::start(folder, None)
    }

    /// The same, with `before` called ahead of each operation that changes a file, before it is on the tape, with the
    /// tape's length. It must not use SQLite.
    ///
    /// # Errors
    /// As [`Watch::folder`].
    pub fn folder_with(folder: &Path, before: impl Fn(usize) + Send + Sync + 'static) -> io::Result<Self> {
        Self::start(folder, Some(Box::new(before)))
    }

    fn start(folder: &Path, before: Option<Before>) -> io::Result<Self> {
        shim::install().map_err(|code| io::Error::other(format!("SQLite takes no VFS: {code}")))?;
        let state = State { folder: folder.canonicalize()?, tape: Mutex::default(), faults: Mutex::default(), before };
        let state = Arc::new(state);
        WATCHED.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&state));
        Ok(Self { state })
    }

    /// How many operations are on the tape.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.state.tape().mark()
    }

    /// The tape so far.
    #[must_use]
    pub fn tape(&self) -> Tape {
        self.state.tape().clone()
    }

    /// The tape so far, and an end to watching.
    #[must_use]
    pub fn finish(self) -> Tape {
        std::mem::take(&mut *self.state.tape())
    }

    /// Makes an operation fail from now on; instead of what was to fail before.
    pub fn fail(&self, failure: Failure) {
        self.state.faults().arm(Some(failure));
    }

    /// How many operations the fault of [`Watch::fail`] has let pass.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.state.faults().passed
    }

    /// How many it has struck.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.state.faults().struck
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.state.faults().heal();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = WATCHED.write().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|state| !Arc::ptr_eq(state, &self.state));
    }
}

impl Watched {
    /// Notes that a sync was done.
    pub(crate) fn synced(&self) {
        self.state.note(Operation::Sync(self.file));
        if self.syncs_folder.swap(false, Ordering::Relaxed) {
            self.state.note(Operation::SyncFolder);
        }
    }
}

impl State {
    /// Who watches the file at `path`, and its name there.
    pub(crate) fn of(path: &str) -> Option<(Arc<Self>, &str)> {
        let (folder, name) = path.rsplit_once('/')?;
        let watched = WATCHED.read().unwrap_or_else(PoisonError::into_inner);
        let state = watched.iter().rev().find(|state| state.folder.as_os_str() == folder)?;
        Some((Arc::clone(state), name))
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `call` fails, and how.
    pub(crate) fn strike(&self, call: Call) -> Option<What> {
        self.faults().strike(call)
    }

    /// Called ahead of what changes something.
    pub(crate) fn before(&self) {
        if let Some(before) = &self.before {
            let mark = self.tape().mark();
            before(mark);
        }
    }

    pub(crate) fn note(&self, operation: Operation) {
        self.tape().note(operation);
    }

    /// The file `name`, which is about to be opened; `made` if that makes it.
    pub(crate) fn opens(&self, name: &str, made: bool) -> FileId {
        let mut tape = self.tape();
        let (file, known) = tape.file(name);
        if made {
            tape.note(Operation::Create(file));
        } else if !known {
            let bytes = std::fs::read(self.folder.join(name)).unwrap_or_default();
            tape.note(Operation::Found(file, bytes));
        }
        file
    }

    pub(crate) fn deleted(&self, name: &str, synced: bool) {
        let mut tape = self.tape();
        let (file, _) = tape.file(name);
        tape.note(Operation::Delete(file));
        if synced {
            tape.note(Operation::SyncFolder);
        }
    }

    /// Notes that a sync of `file` failed. Answers what it holds then.
    pub(crate) fn lose(&self, file: FileId) -> Vec<u8> {
        let mut tape = self.tape();
        tape.note(Operation::Lose(file));
        let mut replay = tape.replay();
        replay.advance(tape.mark());
        replay.durable(file).unwrap_or_default().to_vec()
    }
}
