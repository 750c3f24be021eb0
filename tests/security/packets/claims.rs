//! Packets that claim to be large, and those that are deep: what is not there takes no memory.

use super::{DEVICE, Line};
use crate::part::{Found, Plan};
use crate::site::wait_for_connections;
use crate::wire::{Heard, Wire, publish, subscribe};

/// What a thousand claims of 256 MiB may cost, in KiB.
const CLAIMS_KIB_MAX: u64 = 16 * 1024;

pub(super) fn run(plan: &Plan, line: &mut Line, found: &mut Found) -> anyhow::Result<()> {
    let count = plan.amount(100, 1_000);
    // The same number of good connections first, so that what is measured is what the claims cost.
    line.warm_up(count)?;
    let (before, mut most) = (line.site.resident_kib(), 0);
    let mut open = Vec::new();
    for place in 0..count {
        let first = [0x10, 0x30, 0x82, 0xFF][place % 4];
        let mut wire = Wire::open(line.site.port(), &line.config)?;
        let _ = wire.send(&[&[first, 0xFF, 0xFF, 0xFF, 0x7F][..], &[7; 200]].concat());
        found.check(wire.hear() == Heard::End, || format!("claims: 0x{first:02x} of 256 MiB is not refused"));
        open.push(wire);
        if place.is_multiple_of(50) {
            most = most.max(line.site.resident_kib());
            line.site.others_go_on()?;
        }
    }
    let grown = most.max(line.site.resident_kib()).saturating_sub(before);
    drop(open);
    wait_for_connections(&line.site, 1);
    found.check(grown <= CLAIMS_KIB_MAX, || format!("claims: {grown} KiB for {count} claims of 256 MiB"));
    found.count("length_claims", count);
    found.measured("length_claims_growth_kib", grown);
    deep(line, found)
}

/// A topic of as many levels as are read at all: of MQTT 5 the publish is refused, for whose it is, and the connection goes
/// on. Deeper ones are among the table's cases.
fn deep(line: &mut Line, found: &mut Found) -> anyhow::Result<()> {
    let topic = "/".repeat(15);
    let mut wire = Wire::connect(line.site.port(), &line.config, 5, DEVICE)?;
    for (bytes, wanted) in [
        (publish(5, &topic, Some(5), false, b"x"), Heard::Packet(0x40, vec![0, 5, 0x87])),
        (subscribe(5, 9, &[topic]), Heard::Packet(0x90, vec![0, 9, 0, 0x87])),
        (vec![0xC0, 0], Heard::Packet(0xD0, vec![])),
    ] {
        wire.send(&bytes)?;
        let heard = wire.hear();
        found.check(heard == wanted, || format!("a topic of 16 levels: {heard:02x?}, where {wanted:02x?} is due"));
    }
    wire.leave();
    found.count("deep_topics", 1);
    Ok(())
}
