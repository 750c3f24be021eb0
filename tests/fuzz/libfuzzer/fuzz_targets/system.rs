//! See `fuzz::system`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::system(bytes));
