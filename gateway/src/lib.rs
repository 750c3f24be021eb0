//! The gateway: from devices to the stores, from the stores to people.

pub mod ingest;
pub mod store;
