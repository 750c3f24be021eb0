//! Cells that a connection survives: every channel of every device, tried by every device.

use proto::Channel;

use super::{Matrix, NAMES, is_up, topic};
use crate::wire::{Heard, Wire, publish, subscribe};

/// Filters in one SUBSCRIBE: as many as are taken at once.
const FILTERS_MAX: usize = 32;

pub(super) fn run(matrix: &mut Matrix) -> anyhow::Result<()> {
    for (me, name) in NAMES.iter().enumerate() {
        let mut wire = Wire::connect(matrix.port(), &matrix.configs[me], 5, name)?;
        for owner in 0..NAMES.len() {
            for channel in Channel::ALL {
                for retain in [false, true] {
                    publishes(matrix, &mut wire, (me, owner), channel, retain)?;
                }
            }
            for to in strange_topics(owner) {
                let code = puback(&mut wire, &to, false, b"x")?;
                matrix.cell("rights_sys", code == Some(0x87), || format!("{name} on {to}: {code:02x?}"));
            }
        }
        wire.send(&[0xE0, 0])?;
        wire.leave();
        for version in [4, 5] {
            let mut wire = Wire::connect(matrix.port(), &matrix.configs[me], version, name)?;
            for owner in 0..NAMES.len() {
                subscribes(matrix, &mut wire, version, (me, owner))?;
            }
            wire.send(&[0xE0, 0])?;
            wire.leave();
        }
        matrix.site.others_go_on()?;
    }
    Ok(())
}

fn publishes(
    matrix: &mut Matrix,
    wire: &mut Wire,
    (me, owner): (usize, usize),
    channel: Channel,
    retain: bool,
) -> anyhow::Result<()> {
    let to = topic(owner, channel);
    let payload = if channel == Channel::Senml { matrix.reading() } else { b"x".to_vec() };
    let allowed = me == owner && is_up(channel) && (!retain || channel == Channel::Status);
    let code = puback(wire, &to, retain, &payload)?;
    let kind = if retain { "rights_retain" } else { "rights_publish" };
    // What is its own may still be refused for what it says; not for where.
    let is_right = if allowed { code.is_some_and(|code| code != 0x87) } else { code == Some(0x87) };
    let name = NAMES[me];
    matrix.cell(kind, is_right, || format!("{name} on {to}, retained {retain}: {code:02x?}"));
    matrix.stored[me] += u64::from(allowed && channel == Channel::Senml);
    Ok(())
}

/// Publishes at QoS 1 and answers with the reason code.
fn puback(wire: &mut Wire, to: &str, retain: bool, payload: &[u8]) -> anyhow::Result<Option<u8>> {
    wire.send(&publish(5, to, Some(7), retain, payload))?;
    Ok(match wire.hear() {
        Heard::Packet(0x40, body) if body.starts_with(&[0, 7]) => Some(body.get(2).copied().unwrap_or(0)),
        _ => None,
    })
}

fn strange_topics(owner: usize) -> [String; 5] {
    let of = topic(owner, Channel::Senml);
    [format!("$SYS/{of}"), format!("$share/g/{of}"), format!("$aws/rules/x/{of}"), format!("/{of}"), format!("{of}/")]
}

/// Every channel of `owner`, shared, with wildcards, and the server's own topics.
fn subscribes(matrix: &mut Matrix, wire: &mut Wire, version: u8, (me, owner): (usize, usize)) -> anyhow::Result<()> {
    let mut filters: Vec<(&'static str, String, bool)> = Vec::new();
    for channel in Channel::ALL {
        let of = topic(owner, channel);
        filters.push(("rights_share", format!("$share/g/{of}"), false));
        filters.push(("rights_share", format!("$queue/{of}"), false));
        filters.push(("rights_subscribe", of, me == owner && !is_up(channel)));
    }
    let name = NAMES[owner];
    let wild = ["#", "+", "+/+/+/+", "trib/#", "trib/1/#", "trib/1/+/receipt", "trib/+/+/command", "/#", "$share/g/#"];
    filters.extend(wild.map(|filter| ("rights_wildcard", filter.to_owned(), false)));
    for ending in ["#", "+", "+/result", "command/#", "receipt/#", "config/+"] {
        filters.push(("rights_wildcard", format!("trib/1/{name}/{ending}"), false));
        filters.push(("rights_wildcard", format!("+/1/{name}/{ending}"), false));
    }
    for filter in ["$SYS/#", "$SYS/broker/clients/total", "$SYS/+", "$aws/#", "$CONTROL/#"] {
        filters.push(("rights_sys", filter.to_owned(), false));
    }
    let refused = if version == 5 { 0x87 } else { 0x80 };
    for some in filters.chunks(FILTERS_MAX) {
        let texts: Vec<String> = some.iter().map(|(_, filter, _)| filter.clone()).collect();
        wire.send(&subscribe(version, 9, &texts))?;
        let heard = wire.hear();
        let codes = match &heard {
            Heard::Packet(0x90, body) => body.get(if version == 5 { 3 } else { 2 }..).unwrap_or_default().to_vec(),
            _ => Vec::new(),
        };
        for (place, (kind, filter, allowed)) in some.iter().enumerate() {
            let (code, due) = (codes.get(place).copied(), if *allowed { 0 } else { refused });
            let me = NAMES[me];
            matrix.cell(kind, code == Some(due), || format!("{me} to {filter}: {code:02x?}"));
        }
    }
    Ok(())
}
