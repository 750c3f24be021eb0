//! See `fuzz::key_value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::key_value(bytes));
