//! All devices at once have asked for everything; then each is told something. Only its own comes to each.

use proto::message::{Hello, Notice, Receipt};
use proto::{Channel, Epoch, Nonce, VERSION};

use super::{Matrix, NAMES, topic};
use crate::site::PATIENCE;
use crate::wire::{Heard, Wire, publish, subscribe};

pub(super) fn run(matrix: &mut Matrix) -> anyhow::Result<()> {
    let everything: Vec<String> = (0..NAMES.len())
        .map(|owner| topic(owner, Channel::Receipt))
        .chain(["#", "trib/1/+/receipt", "$share/g/trib/1/+/receipt"].map(str::to_owned))
        .collect();
    let mut wires = Vec::new();
    for (me, name) in NAMES.iter().enumerate() {
        let version = if me.is_multiple_of(2) { 5 } else { 4 };
        let mut wire = Wire::connect(matrix.port(), &matrix.configs[me], version, name)?;
        wire.send(&subscribe(version, 1, &everything))?;
        let heard = wire.hear();
        anyhow::ensure!(matches!(heard, Heard::Packet(0x90, _)), "{name} has no answer: {heard:02x?}");
        wires.push((version, wire));
    }
    for (me, (version, wire)) in wires.iter_mut().enumerate() {
        let epochs = vec![harness::speaker::held(Epoch(nonce(me).0), [], 1)];
        let hello = Notice::Hello(Hello { nonce: nonce(me), versions: (1, VERSION), epochs });
        let payload = hello.encode();
        wire.send(&publish(*version, &topic(me, Channel::Hello), Some(2), false, &payload))?;
    }
    for (me, (version, wire)) in wires.into_iter().enumerate() {
        receipt(matrix, me, version, wire)?;
    }
    Ok(())
}

fn nonce(me: usize) -> Nonce {
    Nonce((0xBEEF_0000_u64 + me as u64).to_be_bytes())
}

/// One device hears its own receipt, and until a last ping is answered nothing of anybody else.
fn receipt(matrix: &mut Matrix, me: usize, version: u8, mut wire: Wire) -> anyhow::Result<()> {
    let (mut own, mut foreign, mut pinged, mut acknowledged) = (0, Vec::new(), false, false);
    let began = std::time::Instant::now();
    while began.elapsed() < PATIENCE {
        match wire.hear() {
            Heard::Packet(0x30, body) => match told(version, &body) {
                Some((to, nonce_said)) if to == topic(me, Channel::Receipt) && nonce_said == Some(nonce(me)) => {
                    own += 1;
                }
                other => foreign.push(format!("{other:?}")),
            },
            Heard::Packet(0x40, _) => acknowledged = true,
            Heard::Packet(0xD0, _) => break,
            other => anyhow::bail!("{} hears {other:02x?}", NAMES[me]),
        }
        if own > 0 && acknowledged && !pinged {
            pinged = true;
            wire.send(&[0xC0, 0])?;
        }
    }
    let name = NAMES[me];
    matrix.cell("rights_read", own == 1 && foreign.is_empty(), || format!("{name}: {own} receipts, and {foreign:?}"));
    wire.send(&[0xE0, 0])?;
    wire.leave();
    Ok(())
}

/// The topic of a PUBLISH at QoS 0, and the nonce of the receipt in it.
fn told(version: u8, body: &[u8]) -> Option<(String, Option<Nonce>)> {
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let topic = String::from_utf8(body.get(2..2 + length)?.to_vec()).ok()?;
    let payload = body.get(2 + length + usize::from(version == 5)..)?;
    Some((topic, Receipt::decode(payload).ok()?.nonce))
}
