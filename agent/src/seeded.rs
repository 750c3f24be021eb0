//! Bugs that the rigs in `tests/chaos` must catch. They are there only in builds with the feature `seeded-bugs`, which no
//! release build can have, and only the one that `TRIBUTARY_SEEDED_BUG` names is on.

#[cfg(all(feature = "seeded-bugs", not(debug_assertions)))]
compile_error!("`seeded-bugs` is for tests of the tests: it cannot be in a release build");

/// A bug, by what it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "seeded-bugs"), allow(dead_code, reason = "some are only where the feature is"))]
pub(crate) enum Bug {
    /// The buffer runs with `synchronous=OFF`.
    SynchronousOff,
    /// The buffer runs with `synchronous=NORMAL`.
    SynchronousNormal,
    /// A batch leaves the buffer when a broker acknowledges it.
    FreeOnPuback,
    /// What was under way when a session was lost is not sent again.
    NoRedrive,
    /// A batch takes its number before the transaction that stores it.
    NumberOutside,
    /// A source's cursor is stored before the batch that it covers.
    CursorFirst,
}

impl Bug {
    /// Whether this build has the bug, and it is switched on.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn is_on(self) -> bool {
        static NAME: std::sync::LazyLock<Option<String>> =
            std::sync::LazyLock::new(|| std::env::var("TRIBUTARY_SEEDED_BUG").ok());
        NAME.as_deref() == Some(self.name())
    }

    /// Never: this build has no bugs of that kind.
    #[cfg(not(feature = "seeded-bugs"))]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    #[cfg(feature = "seeded-bugs")]
    fn name(self) -> &'static str {
        match self {
            Self::SynchronousOff => "synchronous-off",
            Self::SynchronousNormal => "synchronous-normal",
            Self::FreeOnPuback => "free-on-puback",
            Self::NoRedrive => "no-redrive",
            Self::NumberOutside => "number-outside",
            Self::CursorFirst => "cursor-first",
        }
    }
}
