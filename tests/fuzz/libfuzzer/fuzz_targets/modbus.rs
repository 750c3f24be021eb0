//! See `fuzz::modbus`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::modbus(bytes));
