//! See `fuzz::nmea`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::nmea(bytes));
