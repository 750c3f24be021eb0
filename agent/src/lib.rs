//! The agent: from sources to the buffer, from the buffer to the gateway.

pub mod source;
