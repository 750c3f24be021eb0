//! What a device says within a message of its own. A pack that bears another device's name is acknowledged like anything that
//! is settled, and lies in quarantine; nothing of it is stored, for either, and it is alarmed and in the audit trail.

use std::time::Instant;

use anyhow::Context;
use harness::Pki;
use serde_json::Value;

use super::{Matrix, NAMES};
use crate::site::PATIENCE;
use crate::wire::{Heard, Wire, publish};

/// Who speaks: a device that was denied nothing before.
pub(super) const SENDER: &str = "speaker-1";
/// In whose name: a place among the names.
const OTHER: usize = 15;

/// Answers how many readings of the sender are to be stored.
pub(super) fn run(matrix: &mut Matrix, pki: &Pki) -> anyhow::Result<u64> {
    let (me, other, mut stored) = (SENDER, NAMES[OTHER], 0);
    let (config, to) = (crate::wire::config(&pki.device(me))?, format!("trib/1/{me}/senml"));
    let misnamed = [
        format!("{other}/power"),
        format!("{other}:power"),
        format!("trib/1/{other}/power"),
        format!("urn:dev:os:32473-{other}:power"),
        format!("urn:dev:ops:32473-pump-{other}:power"),
    ];
    // Its own name, a sensor behind it, a place: names like any other.
    let free = [
        format!("{me}/power"),
        format!("urn:dev:os:32473-{me}:power"),
        "urn:dev:mac:0024befffe804ff1/in".to_owned(),
        "hall:power".to_owned(),
        format!("{other}-power"),
    ];
    for version in [4, 5] {
        let mut wire = Wire::connect(matrix.port(), &config, version, me)?;
        for (name, is_free) in misnamed.iter().map(|name| (name, false)).chain(free.iter().map(|name| (name, true))) {
            let reading = String::from_utf8(matrix.reading())?;
            // The name in two parts, as a base name and the rest; a good record before it does not save the pack.
            let (base, rest) = name.split_at(name.len() - "power".len().min(name.len()));
            let good = reading.trim_matches(['[', ']']).to_owned();
            let bad = good.replace(r#""n":"cell""#, &format!(r#""bn":"{base}","n":"{rest}""#));
            let pack = format!("[{good},{bad}]");
            wire.send(&publish(version, &to, Some(7), false, pack.as_bytes()))?;
            let heard = wire.hear();
            let is_settled = heard == Heard::Packet(0x40, vec![0, 7]);
            matrix.cell("rights_payload", is_settled, || format!("{name}, version {version}: {heard:02x?}"));
            stored += if is_free { 2 } else { 0 };
        }
        wire.send(&[0xE0, 0])?;
        wire.leave();
    }
    matrix.site.others_go_on()?;
    let quarantined = matrix.site.gateway.get(&format!("/api/v1/quarantine?device={me}"))?;
    let entries = quarantined["entries"].as_array().context("no entries")?;
    let named = format!("identity: its names are those of {other}, and its certificate is {me}'s");
    let right = entries.iter().filter(|entry| entry["reason"] == named.as_str()).count();
    let due = misnamed.len() * 2;
    matrix.cell("rights_payload", right == due && entries.len() == due, || {
        format!("{right} of {} entries are about the name, where {due} are due: {quarantined}", entries.len())
    });
    let ledger = matrix.site.gateway.get(&format!("/api/v1/devices/{me}/ledger"))?;
    let raised = ledger["alarms"].as_array().context("no alarms")?;
    let is_raised = |alarm: &Value| alarm["kind"] == "identity_mismatch" && alarm["count"] == due;
    matrix.cell("rights_payload", raised.iter().any(is_raised), || format!("alarms: {}", ledger["alarms"]));
    let is_told = told(matrix, me)?;
    matrix.cell("rights_payload", is_told, || "it is not in the audit trail".to_owned());
    Ok(stored)
}

/// Whether the audit trail says, soon, that `device` was kept from it.
fn told(matrix: &Matrix, device: &str) -> anyhow::Result<bool> {
    let began = Instant::now();
    loop {
        let listed = matrix.site.gateway.ask(&["audit", "list", "--json", "--limit", "10000", "--device", device]);
        anyhow::ensure!(listed.status.success(), "{listed:?}");
        let text = String::from_utf8(listed.stdout)?;
        let is_it =
            |line: &str| line.contains("denied_publish") && line.contains("identity: its names are those of another");
        if text.lines().any(is_it) {
            return Ok(true);
        }
        if began.elapsed() > PATIENCE {
            return Ok(false);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
