//! See `fuzz::nightscout_cursor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::nightscout_cursor(bytes));
