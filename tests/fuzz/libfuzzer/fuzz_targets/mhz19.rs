//! See `fuzz::mhz19`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::mhz19(bytes));
