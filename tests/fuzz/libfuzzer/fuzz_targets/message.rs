//! Any bytes give a message, a SenML pack or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::message::{Notice, Receipt, Status};
use proto::{Instant, senml};

fuzz_target!(|bytes: &[u8]| {
    let _ = Notice::decode(bytes);
    let _ = Receipt::decode(bytes);
    let _ = Status::decode(bytes);
    let _ = senml::parse(bytes, Instant(1_790_000_000_000_000));
});
