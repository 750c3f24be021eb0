//! What the doctor says: one line a finding, for people; the same as JSON, for programs.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Looked at, and well.
    Ok,
    /// To be seen to before long.
    Warning,
    /// It could not be looked at: nothing is known.
    Unknown,
    /// To be seen to now.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What sort of thing was looked at: one word.
    pub check: &'static str,
    /// What was found.
    pub what: String,
    /// What to do about it; none where nothing is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, what: what.into(), remedy: None }
    }

    /// To be seen to before long.
    pub(super) fn warning(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, check, what: what.into(), remedy: Some(remedy.into()) }
    }

    /// To be seen to now.
    pub(super) fn fault(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fault, check, what: what.into(), remedy: Some(remedy.into()) }
    }

    /// It could not be looked at.
    pub(super) fn unknown(check: &'static str, why: &anyhow::Error) -> Self {
        Self { level: Level::Unknown, check, what: format!("could not be examined: {why:#}"), remedy: None }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Fault => "fault",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, check, what, remedy } = self;
        let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        // A name in a certificate, or an error's text, must not begin a line of its own.
        let line = format!("{what}{remedy}").replace(char::is_control, " ");
        write!(f, "{level:<7}  {check:<12}  {line}")
    }
}

/// Of the findings of one check: as they are, or that all is well, in these words.
pub(super) fn or_well(found: Vec<Finding>, check: &'static str, well: impl FnOnce() -> String) -> Vec<Finding> {
    if found.is_empty() { vec![Finding::ok(check, well())] } else { found }
}
