//! See `fuzz::topic`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::topic(bytes));
