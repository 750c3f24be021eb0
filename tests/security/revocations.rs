//! Devices whose certificates are taken back while they are connected: each is cut off in time, hears nothing more and
//! says nothing more, its last will included, and does not come in again.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::Pki;
use harness::pki::Files;
use rustls::ClientConfig;

use crate::certificates::{Outcome, attempt};
use crate::part::{Found, Plan};
use crate::site::{Counts, NEIGHBOUR, PATIENCE, Site};
use crate::wire::{self, Heard, Wire, connect, publish, subscribe};

/// From the beginning of the command to the end of the connection.
const CUT_WITHIN: Duration = Duration::from_secs(5);
/// Between two commands.
const EVERY: Duration = Duration::from_millis(70);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let pki = Pki::create(&plan.folder.join("pki"));
    let neighbour = pki.device(NEIGHBOUR);
    let count = plan.amount(20, 100);
    let names: Vec<String> = (0..count).map(|place| format!("taken-{place}")).collect();
    let files: Vec<Files> = names.iter().map(|name| pki.device(name)).collect();
    let mut site = Site::start(&plan.folder, pki.server(), Some(pki.crl()), neighbour)?;
    let (mut found, authority) = (Found::default(), plan.folder.join("pki/authority"));
    let configs: Vec<Arc<ClientConfig>> = files.iter().map(wire::config).collect::<Result<_, _>>()?;
    let wires: Vec<Wire> = configs
        .iter()
        .zip(&names)
        .enumerate()
        .map(|(place, (config, name))| enter(site.port(), config, name, version(place)))
        .collect::<Result<_, _>>()?;
    site.others_go_on()?;
    let before = site.counted()?;
    let cuts = cut(&mut site, wires, &names, &authority, &mut found)?;
    let neighbours = found.figures.remove("neighbours").unwrap_or(0);
    let since = Counts::between(&before, &site.counted()?);
    found.check(since.publishes == neighbours, || {
        format!("{} of {count} last wills went out", since.publishes.saturating_sub(neighbours))
    });
    come_again(&site, &configs, &names, &mut found)?;
    summary(cuts, count, &mut found)?;
    while_the_store_is_away(site, &pki, &authority, &mut found)?;
    Ok(found)
}

fn version(place: usize) -> u8 {
    if place.is_multiple_of(2) { 5 } else { 4 }
}

/// Connected, with a last will, and listening.
fn enter(port: u16, config: &Arc<ClientConfig>, name: &str, version: u8) -> anyhow::Result<Wire> {
    let mut wire = Wire::open(port, config)?;
    wire.send(&connect(version, name, Some((&format!("trib/1/{name}/status"), "gone"))))?;
    let heard = wire.hear();
    anyhow::ensure!(matches!(heard, Heard::Packet(0x20, _)), "{name}: {heard:02x?}");
    wire.send(&subscribe(version, 1, &[format!("trib/1/{name}/receipt")]))?;
    let heard = wire.hear();
    anyhow::ensure!(matches!(heard, Heard::Packet(0x90, _)), "{name}: {heard:02x?}");
    Ok(wire)
}

/// Revokes one after the other with the command that people use; how long each stayed connected.
fn cut(
    site: &mut Site,
    wires: Vec<Wire>,
    names: &[String],
    authority: &Path,
    found: &mut Found,
) -> anyhow::Result<Vec<Duration>> {
    let mut waiting = Vec::new();
    for (place, (mut wire, name)) in wires.into_iter().zip(names).enumerate() {
        let began = Instant::now();
        revoke(authority, name)?;
        let version = version(place);
        waiting.push(std::thread::spawn(move || {
            let heard = [wire.hear(), wire.hear()];
            let due = if version == 5 { Heard::Packet(0xE0, vec![0x87]) } else { Heard::End };
            (began.elapsed(), heard.contains(&Heard::End) && heard[0] == due, heard)
        }));
        if place.is_multiple_of(10) {
            site.others_go_on()?;
            found.count("neighbours", 1);
        }
        std::thread::sleep(EVERY);
    }
    let mut times = Vec::new();
    for (handle, name) in waiting.into_iter().zip(names) {
        let (time, is_right, heard) = handle.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        found.check(is_right, || format!("{name} heard {heard:02x?}"));
        times.push(time);
    }
    Ok(times)
}

fn revoke(authority: &Path, device: &str) -> anyhow::Result<()> {
    let mut command = Command::new(harness::binary("tributary-certs"));
    command.args(["revoke", "--reason", "key-compromise", "--device", device, "--dir"]).arg(authority);
    let output = command.output().context("run tributary-certs")?;
    anyhow::ensure!(output.status.success(), "revoke {device}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Each tries to come in again, and is refused in the handshake.
fn come_again(site: &Site, configs: &[Arc<ClientConfig>], names: &[String], found: &mut Found) -> anyhow::Result<()> {
    for (config, name) in configs.iter().zip(names) {
        let outcome = attempt(site.port(), ClientConfig::clone(config), &connect(5, name, None))?;
        found.check(outcome == Outcome::Alert(44), || format!("{name} comes again: {outcome}"));
        found.count("revoked_refused", usize::from(outcome == Outcome::Alert(44)));
    }
    Ok(())
}

fn summary(mut times: Vec<Duration>, count: usize, found: &mut Found) -> anyhow::Result<()> {
    times.sort();
    let in_time = times.iter().filter(|time| **time <= CUT_WITHIN).count();
    found.count("revocations", count);
    found.count("revocations_cut_in_time", in_time);
    found.check(in_time == count, || format!("{in_time} of {count} were cut within {CUT_WITHIN:?}"));
    let at = |place: usize| u64::try_from(times.get(place).copied().unwrap_or_default().as_millis());
    found.measured("revocation_cut_p50_ms", at(count / 2)?);
    found.measured("revocation_cut_max_ms", at(count.saturating_sub(1))?);
    Ok(())
}

/// A store that takes nothing holds no revocation up: what the device has under way is not acknowledged to it any more.
fn while_the_store_is_away(mut site: Site, pki: &Pki, authority: &Path, found: &mut Found) -> anyhow::Result<()> {
    let name = "taken-while-away";
    let config = wire::config(&pki.device(name))?;
    let mut wire = enter(site.port(), &config, name, 5)?;
    let db = rusqlite::Connection::open(site.gateway.database()).context("open the gateway's database")?;
    db.busy_timeout(PATIENCE)?;
    db.execute_batch("begin immediate")?;
    for id in 1..40 {
        wire.send(&publish(5, &format!("trib/1/{name}/senml"), Some(id), false, b"no pack"))?;
    }
    let began = Instant::now();
    revoke(authority, name)?;
    let heard = [wire.hear(), wire.hear()];
    let took = began.elapsed();
    db.execute_batch("rollback")?;
    let is_right = heard == [Heard::Packet(0xE0, vec![0x87]), Heard::End] || heard[0] == Heard::End;
    found.check(is_right && took <= CUT_WITHIN, || format!("while the store is away: {took:?}, {heard:02x?}"));
    found.measured("revocation_cut_store_away_ms", u64::try_from(took.as_millis())?);
    site.others_go_on()?;
    site.conclude(&[])?;
    Ok(())
}
