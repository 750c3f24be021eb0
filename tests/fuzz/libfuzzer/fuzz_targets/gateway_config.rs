//! See `fuzz::gateway_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::gateway_config(bytes));
