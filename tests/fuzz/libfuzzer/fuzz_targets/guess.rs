//! See `fuzz::guess`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::guess(bytes));
