//! See `fuzz::senml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::senml(bytes));
