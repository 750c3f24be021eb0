//! See `fuzz::meter_cursor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::meter_cursor(bytes));
