//! The audit trail: what is written of it, and what is found when it is not what was written.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says so, and its seed")]

mod kills;
mod tampering;
mod trail;
mod writing;
