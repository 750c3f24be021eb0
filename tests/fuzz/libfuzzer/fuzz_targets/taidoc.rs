//! See `fuzz::taidoc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::taidoc(bytes));
