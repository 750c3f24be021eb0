//! See `fuzz::libreview`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::libreview(bytes));
