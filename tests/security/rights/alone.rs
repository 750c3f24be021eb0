//! Cells whose refusal ends the connection: each has one of its own.

use harness::world::Random;
use proto::Channel;

use super::{Matrix, NAMES, topic};
use crate::part::Plan;
use crate::wire::{Heard, Wire, connect, publish};

/// MQTT 3.1.1 knows one answer to a forbidden publish: to close. MQTT 5 has it at QoS 0, where there is no PUBACK.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Publish3,
    Retain3,
    PublishQos0,
    Will3,
    Will5,
}

const KINDS: [Kind; 5] = [Kind::Publish3, Kind::Retain3, Kind::PublishQos0, Kind::Will3, Kind::Will5];

/// All of them in full; in short each device's own and one in twelve of the others.
pub(super) fn run(plan: &Plan, matrix: &mut Matrix) -> anyhow::Result<()> {
    let mut random = Random::new(plan.seed);
    for me in 0..NAMES.len() {
        for owner in 0..NAMES.len() {
            for kind in KINDS {
                let wanted = me == owner || !plan.short || random.one_in(12);
                if wanted {
                    one(matrix, kind, me, owner)?;
                }
            }
        }
        matrix.site.others_go_on()?;
    }
    Ok(())
}

fn one(matrix: &mut Matrix, kind: Kind, me: usize, owner: usize) -> anyhow::Result<()> {
    match kind {
        Kind::Publish3 => publishes(matrix, me, owner, 4, Some(1), false),
        Kind::Retain3 => publishes(matrix, me, owner, 4, Some(1), true),
        Kind::PublishQos0 => publishes(matrix, me, owner, 5, None, false),
        Kind::Will3 => wills(matrix, me, owner, 4),
        Kind::Will5 => wills(matrix, me, owner, 5),
    }
}

/// A publish on `owner`'s topic, then a ping: an end, or both taken.
fn publishes(
    matrix: &mut Matrix,
    me: usize,
    owner: usize,
    version: u8,
    id: Option<u16>,
    retain: bool,
) -> anyhow::Result<()> {
    let name = NAMES[me];
    let mut wire = Wire::connect(matrix.port(), &matrix.configs[me], version, name)?;
    let (reading, to) = (matrix.reading(), topic(owner, Channel::Senml));
    // The ping tells at once if the publish was taken after all.
    wire.send(&[publish(version, &to, id, retain, &reading), vec![0xC0, 0]].concat())?;
    let is_own = me == owner && !retain;
    let kind = if retain { "rights_retain" } else { "rights_publish" };
    if is_own {
        let mut heard = vec![wire.hear()];
        if id.is_some() {
            heard.push(wire.hear());
        }
        matrix.stored[me] += 1;
        let taken = heard.contains(&Heard::Packet(0xD0, vec![]))
            && (id.is_none() || heard.contains(&Heard::Packet(0x40, vec![0, 1])));
        matrix.cell(kind, taken, || format!("{name} on {to}: {heard:02x?}"));
        wire.send(&[0xE0, 0])?;
        wire.leave();
        return Ok(());
    }
    let heard = wire.hear();
    let due = if version == 5 { Heard::Packet(0xE0, vec![0x87]) } else { Heard::End };
    matrix.cell(kind, heard == due, || format!("{name} on {to}, version {version}: {heard:02x?}"));
    wire.leave();
    Ok(())
}

/// A last will on `owner`'s status.
fn wills(matrix: &mut Matrix, me: usize, owner: usize, version: u8) -> anyhow::Result<()> {
    let (name, to) = (NAMES[me], topic(owner, Channel::Status));
    let mut wire = Wire::open(matrix.port(), &matrix.configs[me])?;
    wire.send(&connect(version, name, Some((&to, "gone"))))?;
    let heard = wire.hear();
    let is_right = match (&heard, version) {
        (Heard::Packet(0x20, body), _) if me == owner => body.get(1) == Some(&0),
        (Heard::Packet(0x20, body), 4) => *body == [0, 5],
        (Heard::Packet(0x20, body), _) => *body == [0, 0x87, 0],
        _ => false,
    };
    matrix.cell("rights_will", is_right, || format!("{name} on {to}, version {version}: {heard:02x?}"));
    if me == owner {
        wire.send(&[0xE0, 0])?;
    }
    wire.leave();
    Ok(())
}
