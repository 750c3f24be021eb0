//! See `fuzz::nonin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::nonin(bytes));
