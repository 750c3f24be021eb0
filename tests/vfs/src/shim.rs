//! What SQLite calls: its own `unix` VFS, with ours before the two methods that open and delete files.

use std::ffi::{CStr, c_char, c_int};
use std::mem::size_of;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::fault::Call;
use crate::watch::{State, Watched};

mod file;

use self::file::{METHODS, Shim};

/// Files with whose first sync the `unix` VFS syncs the folder too (`UNIXFILE_DIRSYNC`), if they may have been made.
const JOURNALS: c_int = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;

/// The VFS that does the work.
struct Real(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's own VFS object is static, and SQLite itself uses it from all threads; nothing here changes it.
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

static REAL: OnceLock<Result<Real, c_int>> = OnceLock::new();

/// Makes the shim the default VFS of this process, once.
///
/// # Errors
/// SQLite's code.
pub(crate) fn install() -> Result<(), c_int> {
    let installed = REAL.get_or_init(|| {
        // SAFETY: plain calls into SQLite. The object that is registered lives for good (leaked below), and its name is
        // static. The rest of it is a copy of the real one: those methods read nothing of the object they are called
        // with but the fields that are alike in both (`pAppData`, `mxPathname`).
        unsafe {
            let code = ffi::sqlite3_initialize();
            if code != ffi::SQLITE_OK {
                return Err(code);
            }
            let real = ffi::sqlite3_vfs_find(c"unix".as_ptr());
            if real.is_null() {
                return Err(ffi::SQLITE_NOTFOUND);
            }
            let mut shim = *real;
            shim.zName = c"tributary-recorder".as_ptr();
            shim.pNext = ptr::null_mut();
            shim.szOsFile += c_int::try_from(size_of::<Shim>()).unwrap_or(c_int::MAX);
            shim.xOpen = Some(open);
            shim.xDelete = Some(delete);
            match ffi::sqlite3_vfs_register(Box::leak(Box::new(shim)), 1) {
                ffi::SQLITE_OK => Ok(Real(real)),
                code => Err(code),
            }
        }
    });
    installed.as_ref().map(|_| ()).map_err(|code| *code)
}

/// The real VFS. It is there whenever SQLite calls, because it was found before the shim was registered.
fn real() -> *mut ffi::sqlite3_vfs {
    match REAL.get() {
        Some(Ok(real)) => real.0,
        // Registering happens inside of `get_or_init`, so another thread may open a file a moment before it is done.
        // SAFETY: a plain call, which takes a static string.
        _ => unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) },
    }
}

/// Who watches the file of that name.
///
/// # Safety
/// `name` is null or a string that lives for `'a`.
unsafe fn watched<'a>(name: *const c_char) -> Option<(std::sync::Arc<State>, &'a str)> {
    if name.is_null() {
        return None; // a temporary file
    }
    // SAFETY: by this function's own contract.
    State::of(unsafe { CStr::from_ptr(name) }.to_str().ok()?)
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over a name that lives as long as the file is open, and `szOsFile` bytes for the file, aligned
    // for any type: room for a `Shim` and behind it for the real one. `xOpen` of the real VFS is there.
    unsafe {
        let real = real();
        let Some(open) = (*real).xOpen else { return ffi::SQLITE_CANTOPEN };
        let Some((state, short)) = watched(name) else { return open(real, name, file, flags, flags_out) };
        (*file).pMethods = ptr::null(); // SQLite does not call xClose on such a file
        if state.strike(Call::Open).is_some() {
            return ffi::SQLITE_CANTOPEN;
        }
        let missing = CStr::from_ptr(name).to_str().is_ok_and(|path| !Path::new(path).exists());
        let made = missing && flags & ffi::SQLITE_OPEN_CREATE != 0;
        let inner = Shim::real(file);
        (*inner).pMethods = ptr::null();
        // Before the real one is open: to read a file lets go of the process's own locks on it (fcntl(2)).
        let id = if missing && !made { None } else { Some(state.opens(short, made)) };
        let code = open(real, name, inner, flags, flags_out);
        match id {
            Some(file_id) if code == ffi::SQLITE_OK => {
                let syncs_folder = (flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & JOURNALS != 0).into();
                Shim::write(file, Watched { state, file: file_id, syncs_folder }, &raw const METHODS);
                code
            }
            _ => code,
        }
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite hands over a string; `xDelete` of the real VFS is there.
    unsafe {
        let real = real();
        let Some(delete) = (*real).xDelete else { return ffi::SQLITE_IOERR_DELETE };
        let watched = watched(name);
        if let Some((state, _)) = &watched {
            state.before();
        }
        let code = delete(real, name, sync_folder);
        if let Some((state, short)) = watched.filter(|_| code == ffi::SQLITE_OK) {
            state.deleted(short, sync_folder != 0);
        }
        code
    }
}

#[cfg(test)]
mod tests;
