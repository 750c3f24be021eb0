//! The agent: from sources to the buffer, from the buffer to the gateway.

pub mod buffer;
pub mod clock;
pub mod source;
pub mod uplink;
