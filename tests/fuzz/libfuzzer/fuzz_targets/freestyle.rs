//! See `fuzz::freestyle`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::freestyle(bytes));
