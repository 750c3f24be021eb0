//! What is fed hostile bytes.

use jiff::tz::TimeZone;

use super::export::{Export, Vendor};
use super::memory::Memory;

/// A cursor that can be read is written and read again to the same. For `crate::source::fuzzing` alone.
pub(in crate::source) fn fuzz_cursor(bytes: &[u8]) {
    if let Ok(memory) = Memory::decode(bytes) {
        assert_eq!(Memory::decode(&memory.encode()).ok(), Some(memory));
    }
}

/// Any lines are readings of an export or what is wrong with them; how many. For `crate::source::fuzzing` alone.
pub(in crate::source) fn fuzz_export(clarity: bool, bytes: &[u8]) -> usize {
    let vendor = if clarity { Vendor::Clarity } else { Vendor::Libreview };
    let mut export = Export::new(vendor, None, TimeZone::UTC);
    let lines = || bytes.split(|byte| *byte == b'\n');
    for line in lines() {
        match export.has_header() {
            true => export.weigh(line),
            false => export.look_for_header(line),
        }
    }
    let decided = export.decide().is_ok();
    let read = lines().filter_map(|line| export.read(line).ok().flatten());
    let readings = read.map(|exported| exported.samples.len()).sum();
    assert!(export.has_header() || readings == 0, "nothing is read of columns that are not known");
    assert!(decided || readings == 0 || readings <= bytes.len(), "a reading takes a byte at least");
    readings
}
