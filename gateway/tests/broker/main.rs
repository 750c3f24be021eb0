//! The door to a broker, against a scripted broker on a socket and with the test in the pipeline's place.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod peer;
mod rig;

mod acks;
mod bounds;
mod connections;
mod presence;
