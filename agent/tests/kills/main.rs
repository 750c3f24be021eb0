//! Sources with a memory of what was taken, read by an agent that is killed at any moment.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says its seed")]

mod rig;

#[cfg(all(feature = "files", feature = "programs"))]
mod local;
#[cfg(all(feature = "energy", feature = "glucose", feature = "vitals"))]
mod meters;
#[cfg(all(feature = "energy", feature = "glucose", feature = "vitals"))]
mod ports;
#[cfg(feature = "nightscout")]
mod site;
