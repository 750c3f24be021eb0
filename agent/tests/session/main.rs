//! The session against a gateway of a few lines, over a network that does what networks do, in invented time.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod chance;
mod gaps;
mod pace;
mod patience;
mod poison;
mod world;
