//! Any bytes give a frame or an error; a frame that was read is written and read again to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::Frame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(Frame::decode(&frame.encode()).as_ref(), Ok(&frame));
    }
});
