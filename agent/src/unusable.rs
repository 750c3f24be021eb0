//! A file that a setting names and that cannot be used: which setting, which file, why, and what to do about it.

use std::error::Error;
use std::io::{self, ErrorKind};

/// Such a file. Its message says all of it, and each cause once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {what}")]
pub struct Unusable {
    setting: &'static str,
    what: String,
}

impl Unusable {
    /// The file of `setting`, which `error` names. `missing` is what to do where there is none.
    pub(crate) fn new(setting: &'static str, error: &(dyn Error + 'static), missing: &str) -> Self {
        Self { setting, what: explained(error, missing) }
    }
}

/// `error` with all that is behind it and what to do about it; `missing` is that where there is no such file. Errors whose
/// words say what to do already are left as they are.
pub(crate) fn explained(error: &(dyn Error + 'static), missing: &str) -> String {
    let (mut causes, mut next) = (Vec::new(), Some(error));
    while let Some(error) = next {
        causes.push(error);
        next = error.source();
    }
    let said = causes.iter().map(ToString::to_string).collect::<Vec<_>>().join(": ");
    match causes.iter().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(ErrorKind::NotFound) => format!("{said}; {missing}"),
        Some(ErrorKind::PermissionDenied) => {
            let user = rustix::process::geteuid().as_raw();
            format!("{said}; it is to be readable by the user that runs this, number {user}: see its owner and mode")
        }
        _ => said,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_missing_or_not_to_be_read_is_said_once_with_what_to_do() {
        let error = certs::read_certificates(Path::new("/nowhere/device.crt")).unwrap_err();
        let said = Unusable::new("uplink.certificate_file", &error, "run `enrol` first").to_string();
        assert_eq!(
            said,
            "`uplink.certificate_file`: cannot open /nowhere/device.crt: No such file or directory (os error 2); run `enrol` first"
        );
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        assert!(explained(&denied, "no").contains("readable by the user that runs this"));
        let folder = tempfile::tempdir().unwrap();
        let error = certs::read_certificates(folder.path()).unwrap_err();
        assert!(explained(&error, "no").ends_with("is not a regular file"), "it says all by itself");
    }
}
