//! See `fuzz::dsmr`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::dsmr(bytes));
