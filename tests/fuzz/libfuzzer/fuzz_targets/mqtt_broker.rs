//! See `fuzz::mqtt_broker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::mqtt_broker(bytes));
