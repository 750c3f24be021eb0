//! See `fuzz::lifescan`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::lifescan(bytes));
