//! Good conversations, spoiled at random: whatever comes of each, it ends, and the gateway and others live on.

use harness::world::Random;

use super::{DEVICE, Line};
use crate::part::{Found, Plan};
use crate::site::wait_for_connections;
use crate::wire::{Wire, connect, packet, publish, subscribe, text};

pub(super) fn run(plan: &Plan, line: &mut Line, found: &mut Found) -> anyhow::Result<()> {
    let count = plan.amount(200, 3_000);
    for place in 0..count {
        let seed = plan.seed.wrapping_add(place as u64);
        let mut random = Random::new(seed);
        let bytes = conversation(&mut random);
        let mut wire = Wire::open(line.site.port(), &line.config)?;
        let _ = wire.send(&bytes); // it may be closed before it has all
        found.check(wire.leave(), || format!("mutation of seed {seed}: no end after {bytes:02x?}"));
        if place.is_multiple_of(20) {
            line.site.others_go_on()?;
        }
    }
    wait_for_connections(&line.site, 1);
    found.count("mutated_packets", count);
    Ok(())
}

/// CONNECT, mostly good, and up to five packets of which each is spoiled or not.
fn conversation(random: &mut Random) -> Vec<u8> {
    let version = if random.one_in(2) { 4 } else { 5 };
    let mut all = connect(version, DEVICE, None);
    if random.one_in(4) {
        spoil(random, &mut all);
    }
    for _ in 0..=random.index(5) {
        let mut bytes = good(random, version);
        if !random.one_in(4) {
            spoil(random, &mut bytes);
        }
        all.extend(bytes);
    }
    all
}

fn good(random: &mut Random, version: u8) -> Vec<u8> {
    // Nothing of it is a reading: whatever is taken in by chance is set aside, and none of it is stored.
    let topic =
        ["trib/1/meter-7/batch", "trib/1/meter-7/hello", "trib/1/meter-8/batch", "$SYS/x", "x"][random.index(5)];
    let payload: Vec<u8> = (0..random.index(60)).map(|_| u8::try_from(random.below(256)).unwrap_or(0)).collect();
    match random.index(7) {
        0 => publish(version, topic, None, false, &payload),
        1 | 2 => publish(version, topic, u16::try_from(random.below(4)).ok(), random.one_in(3), &payload),
        3 => subscribe(version, 3, &["trib/1/meter-7/receipt".to_owned(), "#".to_owned()]),
        4 => packet(0xA2, &[&[0, 4][..], if version == 5 { &[0] } else { &[] }, &text(b"x")].concat()),
        5 => vec![0xC0, 0],
        _ => vec![0xE0, 0],
    }
}

/// One to four changes.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.index(4) {
        let at = random.index(bytes.len().max(1));
        let byte = u8::try_from(random.below(256)).unwrap_or(0);
        match random.index(6) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|it| *it ^= 1 << (byte % 8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|it| *it = byte),
            2 => bytes.iter_mut().skip(at).take(1).for_each(|it| *it = [0, 0x7F, 0x80, 0xFF][usize::from(byte % 4)]),
            3 => bytes.truncate(at),
            4 => bytes.insert(at, byte),
            _ => drop(bytes.drain(at..(at + 1 + random.index(4)).min(bytes.len()))),
        }
    }
}
