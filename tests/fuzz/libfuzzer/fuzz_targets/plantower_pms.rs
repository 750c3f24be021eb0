//! See `fuzz::plantower_pms`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::plantower_pms(bytes));
