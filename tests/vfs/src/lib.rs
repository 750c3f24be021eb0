//! An SQLite VFS that records every write, plays power cuts back, and fails on demand.
//!
//! [`Watch::folder`] puts a shim over SQLite's own `unix` VFS, as the default, once in a process. Files outside of
//! watched folders pass it by. Of those inside it keeps a [`Tape`]: each write, truncation, sync and deletion in order. A
//! [`Replay`] of the tape gives [`Image`]s: what a power cut after the first `k` operations could have left on the disk.
//! A [`Failure`] makes an operation fail, as a worn or full disk would.
//!
//! # What a power cut leaves
//! - What a file held when it was last synced is there, and so is the file's name.
//! - Of each write since then, each 512-byte sector or 4 KiB page is there or not, on its own: so writes are dropped,
//!   torn, and seen in another order. What was not written keeps its old bytes ("powersafe overwrite", which SQLite takes
//!   for granted too: sqlite.org/psow.html). A hole reads as zeros.
//! - A truncation, a deletion or a new file that no sync followed may have happened or not. What is in the folder is
//!   durable when SQLite syncs it: with the first sync of a WAL or journal, and after some deletions.
//! - The `-shm` file is not there: it is memory that processes share, and SQLite makes it anew from the WAL.
//!
//! What is not modelled: sectors that rot or that the disk claims to have synced and has not.
//!
//! Recording, replaying and deciding about failures is safe code, which Miri runs (`cargo +nightly miri test -p
//! tributary-vfs`); `shim` is what C calls, and all that is unsafe. Miri cannot run SQLite itself, so its tests are left out
//! there.

mod dice;
mod fault;
mod image;
mod shim;
mod tape;
mod watch;

pub use dice::Dice;
pub use fault::{Failure, What};
pub use image::{Image, Replay};
pub use tape::{FileId, Operation, Tape};
pub use watch::Watch;
