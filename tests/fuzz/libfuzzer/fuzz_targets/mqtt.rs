//! See `fuzz::mqtt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::mqtt(bytes));
