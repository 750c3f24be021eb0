//! The listener against real sockets, real TLS and real clients.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod pki;
mod rig;

mod abuse;
mod audit;
mod clients;
mod elsewhere;
mod ends;
mod locked;
mod messages;
mod quota;
mod trust;
