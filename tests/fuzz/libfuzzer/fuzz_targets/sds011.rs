//! See `fuzz::sds011`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sds011(bytes));
