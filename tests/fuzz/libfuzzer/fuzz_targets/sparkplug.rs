//! See `fuzz::sparkplug`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::sparkplug(bytes));
