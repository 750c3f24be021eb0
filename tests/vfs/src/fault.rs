//! Which operation fails.

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A read: `EIO`.
    Read,
    /// A write, of which nothing reaches the file: `EIO`.
    Write,
    /// The same: `ENOSPC`.
    Full,
    /// A write, of which the first half reaches the file: `ENOSPC`.
    Short,
    /// A sync: `EIO`. All that was written since the last one is lost, and never comes back, as on Linux.
    Sync,
    /// A truncation: `EIO`.
    Truncate,
    /// Opening a file.
    Open,
    /// Mapping a piece of the shared memory.
    Map,
}

impl What {
    /// Each of them.
    pub const ALL: [Self; 8] =
        [Self::Read, Self::Write, Self::Full, Self::Short, Self::Sync, Self::Truncate, Self::Open, Self::Map];

    fn strikes(self, call: Call) -> bool {
        match self {
            Self::Read => call == Call::Read,
            Self::Write | Self::Full | Self::Short => call == Call::Write,
            Self::Sync => call == Call::Sync,
            Self::Truncate => call == Call::Truncate,
            Self::Open => call == Call::Open,
            Self::Map => call == Call::Map,
        }
    }
}

/// A fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How.
    pub what: What,
    /// After how many operations of that kind that still do their work.
    pub after: u64,
    /// Whether all that follow fail too, until it is healed.
    pub lasting: bool,
}

/// What SQLite asks the shim to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Sync,
    Truncate,
    Open,
    Map,
}

/// The fault to come, and how far it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    armed: Option<Failure>,
    pub(crate) struck: u64,
    /// Operations that the fault to come could have struck.
    pub(crate) passed: u64,
}

impl Faults {
    pub(crate) fn arm(&mut self, failure: Option<Failure>) {
        *self = Self { armed: failure, struck: 0, passed: 0 };
    }

    pub(crate) fn heal(&mut self) {
        self.armed = None;
    }

    /// Whether `call` fails, and how.
    pub(crate) fn strike(&mut self, call: Call) -> Option<What> {
        let failure = self.armed.as_mut().filter(|failure| failure.what.strikes(call))?;
        if let Some(left) = failure.after.checked_sub(1) {
            failure.after = left;
            self.passed += 1;
            return None;
        }
        let what = failure.what;
        if !failure.lasting {
            self.armed = None;
        }
        self.struck += 1;
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_operation_it_names_once() {
        let mut faults = Faults::default();
        faults.arm(Some(Failure { what: What::Sync, after: 1, lasting: false }));
        let calls = [Call::Write, Call::Sync, Call::Write, Call::Sync, Call::Sync];
        assert_eq!(calls.map(|call| faults.strike(call)), [None, None, None, Some(What::Sync), None]);
        assert_eq!(faults.struck, 1);
    }

    #[test]
    fn a_lasting_fault_goes_on_until_it_is_healed() {
        let mut faults = Faults::default();
        faults.arm(Some(Failure { what: What::Full, after: 0, lasting: true }));
        assert_eq!(
            [Call::Write, Call::Read, Call::Write].map(|call| faults.strike(call).is_some()),
            [true, false, true]
        );
        faults.heal();
        assert_eq!(faults.strike(Call::Write), None);
        assert_eq!(faults.struck, 2);
    }
}
