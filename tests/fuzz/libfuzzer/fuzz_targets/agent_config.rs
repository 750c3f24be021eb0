//! See `fuzz::agent_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::agent_config(bytes));
