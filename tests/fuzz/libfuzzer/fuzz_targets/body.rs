//! Any bytes give a body or an error; a body that was read is written and read again to the same bits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::Body;

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = Body::decode(bytes) else { return };
    let Ok(again) = body.encode() else { return };
    let back = Body::decode(&again).expect("what we wrote is read");
    let bits = |body: &Body| format!("{:?}", body.columns.iter().map(|c| (&c.series, c.basis, c.readings.len())).collect::<Vec<_>>());
    assert_eq!(bits(&body), bits(&back));
    let same = body.columns.iter().zip(&back.columns).all(|(left, right)| left.readings.iter().zip(&right.readings).all(|(a, b)| a.same_bits(b)));
    assert!(same);
});
