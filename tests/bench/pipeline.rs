//! The gateway's pipeline, fed from memory: decode, judge, ledger, readings, receipts. Beside it the store alone, given
//! the same rows for the same table in as many commits by a bare client.

mod copy;
mod fed;
mod load;
pub(crate) mod postgres;
pub(crate) mod sqlite;
