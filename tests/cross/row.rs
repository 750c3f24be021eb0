//! A line of the table.

use std::fmt;

use harness::emulated::Target;
use harness::trial;

/// What an agent may weigh: 5 MiB.
const BYTES_MAX: u64 = 5 * 1024 * 1024;

/// What is known of a target.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) target: Target,
    /// The program's size; none: it was not built.
    pub(crate) bytes: Option<u64>,
    /// What an idle agent takes of a virtual machine's memory.
    pub(crate) resident_kib: Option<u64>,
    /// What was done to it.
    pub(crate) tested: Vec<String>,
    /// What could not be done here, and why.
    pub(crate) skipped: Vec<String>,
    /// What was found.
    pub(crate) faults: Vec<String>,
}

impl Row {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, bytes: None, resident_kib: None, tested: Vec::new(), skipped: Vec::new(), faults: Vec::new() }
    }

    pub(crate) fn weighs(&mut self, bytes: u64) {
        self.bytes = Some(bytes);
        if bytes > BYTES_MAX {
            self.faults.push(format!("{bytes} bytes are more than {BYTES_MAX}"));
        }
    }

    /// Whether nothing was found; where `CI=true`, whether nothing was skipped either.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty() && (self.skipped.is_empty() || !trial::must_be_whole())
    }

    fn cells(&self) -> [String; 6] {
        let dash = || "–".to_owned();
        let libc = if self.target.is_static() { "musl, static" } else { "glibc 2.17 or later" };
        let tested = match (self.bytes, self.tested.is_empty()) {
            (None, _) => "not built".to_owned(),
            (Some(_), true) => "built only".to_owned(),
            (Some(_), false) => self.tested.join("; "),
        };
        [
            self.target.name.to_owned(),
            format!("`{}`", self.target.triple),
            libc.to_owned(),
            self.bytes.map_or_else(dash, |bytes| bytes.to_string()),
            self.resident_kib.map_or_else(dash, |kib| kib.to_string()),
            tested,
        ]
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, _, libc, bytes, resident, tested] = self.cells();
        write!(f, "{name}: {libc}, {bytes} bytes, {resident} KiB: {tested}")?;
        self.skipped.iter().try_for_each(|reason| write!(f, "\n    skipped: {reason}"))?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n    FAULT: {fault}"))
    }
}

/// All of them.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| target | Rust's name | C library | bytes | resident idle, KiB | run by QEMU |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows.iter().map(|row| format!("| {} |", row.cells().join(" | "))));
    lines.join("\n") + "\n"
}
