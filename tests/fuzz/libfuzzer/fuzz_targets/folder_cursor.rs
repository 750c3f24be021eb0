//! See `fuzz::folder_cursor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::folder_cursor(bytes));
