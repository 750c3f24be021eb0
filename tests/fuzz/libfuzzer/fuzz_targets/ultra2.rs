//! See `fuzz::ultra2`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::ultra2(bytes));
