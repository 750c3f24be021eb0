//! `tributary-gateway doctor`: each finding in a situation that makes it, and none of them where all is well.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says so")]

#[allow(dead_code, reason = "each test file uses its part")]
#[path = "../support/batches.rs"]
mod batches;
mod bed;
mod certificates;
mod files;
mod keys;
mod lists;
mod others;
mod roles;
mod samples;
#[path = "../support/postgres.rs"]
mod server;
