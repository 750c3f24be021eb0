//! The methods of an open file: what changes something is noted or fails, the rest is handed on.

use std::ffi::{c_int, c_void};
use std::mem::size_of;
use std::{ptr, slice};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use crate::fault::{Call, What};
use crate::tape::Operation;
use crate::watch::Watched;

/// What SQLite takes for its file. The real one lies right behind it.
#[repr(C, align(8))]
pub(super) struct Shim {
    base: sqlite3_file,
    /// A leaked box, taken back when the file is closed.
    watched: *mut Watched,
}

impl Shim {
    /// The real file behind `file`.
    ///
    /// # Safety
    /// `file` points to `szOsFile` bytes of the shim's VFS.
    pub(super) unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
        // SAFETY: there is room for both, by contract; a multiple of 8 keeps the alignment.
        unsafe { file.byte_add(size_of::<Self>()) }
    }

    /// Makes `file`, whose real part is open, a watched one.
    ///
    /// # Safety
    /// As [`Shim::real`].
    pub(super) unsafe fn write(file: *mut sqlite3_file, watched: Watched, methods: *const sqlite3_io_methods) {
        let shim = Self { base: sqlite3_file { pMethods: methods }, watched: Box::into_raw(Box::new(watched)) };
        // SAFETY: by contract there is room for it; nothing that must be dropped is overwritten.
        unsafe { file.cast::<Self>().write(shim) };
    }

    /// Who watches `file`.
    ///
    /// # Safety
    /// `file` was written by [`Shim::write`], and is open for all of `'a`.
    unsafe fn watched<'a>(file: *mut sqlite3_file) -> &'a Watched {
        // SAFETY: the box lives until xClose, which SQLite calls last. It is only ever shared.
        unsafe { &*(*file.cast::<Self>()).watched }
    }
}

/// Methods that hand on what they are asked.
macro_rules! hand_on {
    ($($name:ident = $method:ident($($argument:ident: $type:ty),*) or $otherwise:expr;)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file, $($argument: $type),*) -> c_int {
            // SAFETY: SQLite calls this just for an open file of ours, whose real part `xOpen` of the real VFS has opened;
            // the arguments are handed on as they came.
            unsafe {
                let real = Shim::real(file);
                match (*(*real).pMethods).$method {
                    Some(method) => method(real, $($argument),*),
                    None => $otherwise,
                }
            }
        }
    )*};
}

hand_on! {
    real_read = xRead(to: *mut c_void, length: c_int, offset: sqlite3_int64) or ffi::SQLITE_IOERR_READ;
    real_write = xWrite(from: *const c_void, length: c_int, offset: sqlite3_int64) or ffi::SQLITE_IOERR_WRITE;
    real_truncate = xTruncate(length: sqlite3_int64) or ffi::SQLITE_IOERR_TRUNCATE;
    real_sync = xSync(flags: c_int) or ffi::SQLITE_IOERR_FSYNC;
    real_close = xClose() or ffi::SQLITE_OK;
    file_size = xFileSize(size: *mut sqlite3_int64) or ffi::SQLITE_IOERR_FSTAT;
    lock = xLock(level: c_int) or ffi::SQLITE_IOERR_LOCK;
    unlock = xUnlock(level: c_int) or ffi::SQLITE_IOERR_UNLOCK;
    check_reserved_lock = xCheckReservedLock(out: *mut c_int) or ffi::SQLITE_IOERR_CHECKRESERVEDLOCK;
    file_control = xFileControl(what: c_int, argument: *mut c_void) or ffi::SQLITE_NOTFOUND;
    sector_size = xSectorSize() or 0;
    device_characteristics = xDeviceCharacteristics() or 0;
    real_shm_map = xShmMap(region: c_int, size: c_int, extend: c_int, to: *mut *mut c_void) or ffi::SQLITE_IOERR_SHMMAP;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) or ffi::SQLITE_IOERR_SHMLOCK;
    shm_unmap = xShmUnmap(delete: c_int) or ffi::SQLITE_OK;
    fetch = xFetch(offset: sqlite3_int64, length: c_int, to: *mut *mut c_void) or ffi::SQLITE_OK;
    unfetch = xUnfetch(offset: sqlite3_int64, page: *mut c_void) or ffi::SQLITE_OK;
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once and does not use it afterwards, so the box is taken back once.
    unsafe {
        let code = real_close(file);
        drop(Box::from_raw((*file.cast::<Shim>()).watched));
        (*file).pMethods = ptr::null();
        code
    }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, length: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: an open file of ours; the buffer goes on as it came.
    unsafe {
        match Shim::watched(file).state.strike(Call::Read) {
            Some(_) => ffi::SQLITE_IOERR_READ,
            None => real_read(file, to, length, offset),
        }
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: an open file of ours; `from` points to `length` bytes, of which a part may be taken.
    unsafe {
        let watched = Shim::watched(file);
        watched.state.before();
        let (length, code) = match watched.state.strike(Call::Write) {
            None => (length, ffi::SQLITE_OK),
            Some(What::Write) => return ffi::SQLITE_IOERR_WRITE,
            Some(What::Short) => (length / 2, ffi::SQLITE_FULL),
            Some(_) => return ffi::SQLITE_FULL,
        };
        let wrote = real_write(file, from, length, offset);
        if wrote != ffi::SQLITE_OK {
            return wrote;
        }
        let bytes = slice::from_raw_parts(from.cast::<u8>(), usize::try_from(length).unwrap_or(0));
        watched.state.note(Operation::Write(watched.file, offset.cast_unsigned(), bytes.to_vec()));
        code
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    // SAFETY: an open file of ours.
    unsafe {
        let watched = Shim::watched(file);
        watched.state.before();
        if watched.state.strike(Call::Truncate).is_some() {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        let code = real_truncate(file, length);
        if code == ffi::SQLITE_OK {
            watched.state.note(Operation::Truncate(watched.file, length.cast_unsigned()));
        }
        code
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: an open file of ours; what is written back lives until the call returns.
    unsafe {
        let watched = Shim::watched(file);
        watched.state.before();
        if watched.state.strike(Call::Sync).is_some() {
            let left = watched.state.lose(watched.file);
            let length = c_int::try_from(left.len()).unwrap_or(c_int::MAX);
            let _ = real_truncate(file, length.into());
            let _ = real_write(file, left.as_ptr().cast(), length, 0);
            return ffi::SQLITE_IOERR_FSYNC;
        }
        let code = real_sync(file, flags);
        if code == ffi::SQLITE_OK {
            watched.synced();
        }
        code
    }
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    to: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open file of ours; `to` is where SQLite wants the address.
    unsafe {
        if Shim::watched(file).state.strike(Call::Map).is_some() {
            *to = ptr::null_mut();
            return ffi::SQLITE_IOERR_SHMMAP;
        }
        real_shm_map(file, region, size, extend, to)
    }
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: as for the methods that hand on.
    unsafe {
        let real = Shim::real(file);
        if let Some(barrier) = (*(*real).pMethods).xShmBarrier {
            barrier(real);
        }
    }
}

/// All methods, those for memory maps included.
pub(super) static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};
