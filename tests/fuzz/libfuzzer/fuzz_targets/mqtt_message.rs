//! See `fuzz::mqtt_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::mqtt_message(bytes));
