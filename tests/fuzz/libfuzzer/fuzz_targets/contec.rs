//! See `fuzz::contec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::contec(bytes));
