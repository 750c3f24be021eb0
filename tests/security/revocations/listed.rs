//! One gateway on a file, and the authority's own tool: all that tells is the list that the gateway reads again.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::Pki;

use super::device::devices;
use super::{CUT_WITHIN, summary};
use crate::part::{Found, Plan};
use crate::site::{NEIGHBOUR, PATIENCE, Site};
use crate::wire::Heard;

/// Between two commands.
const EVERY: Duration = Duration::from_millis(70);

pub(super) fn run(plan: &Plan, found: &mut Found) -> anyhow::Result<()> {
    let folder = plan.folder.join("listed");
    let pki = Pki::create(&folder.join("pki"));
    let authority = folder.join("pki/authority");
    let mut site = Site::start(&folder, pki.server(), Some(pki.crl()), pki.device(NEIGHBOUR))?;
    let all = devices(&pki, "listed", plan.amount(4, 20))?;
    let mut talking = Vec::new();
    for device in &all {
        let wire = device.enter(site.port())?;
        talking.push(device.clone().talk(wire));
    }
    site.others_go_on()?;
    let mut begun = Vec::new();
    for device in &all {
        begun.push(Instant::now());
        revoke(&authority, &device.name)?;
        std::thread::sleep(EVERY);
    }
    let mut times = Vec::new();
    for ((handle, device), began) in talking.into_iter().zip(&all).zip(&begun) {
        let end = handle.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        found.check(end.at.is_some(), || format!("{} was never cut", device.name));
        times.extend(end.at.map(|at| at.saturating_duration_since(*began)));
    }
    let names = ["listed", "listed_cut_in_time", "listed_cut_p50_ms", "listed_cut_max_ms"];
    summary(times, names, found)?;
    all.iter().zip(begun).try_for_each(|(device, began)| device.comes_again(site.port(), began, found))?;
    while_the_store_is_away(site, &pki, &authority, found)
}

fn revoke(authority: &Path, device: &str) -> anyhow::Result<()> {
    let mut command = Command::new(harness::binary("tributary-certs"));
    command.args(["revoke", "--reason", "key-compromise", "--device", device, "--dir"]).arg(authority);
    let output = command.output().context("run tributary-certs")?;
    anyhow::ensure!(output.status.success(), "revoke {device}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A file that another holds: what the device has under way is not stored when it is free again.
fn while_the_store_is_away(mut site: Site, pki: &Pki, authority: &Path, found: &mut Found) -> anyhow::Result<()> {
    let device = devices(pki, "locked", 1)?.remove(0);
    let mut wire = device.enter(site.port())?;
    let db = rusqlite::Connection::open(site.gateway.database()).context("open the gateway's database")?;
    db.busy_timeout(PATIENCE)?;
    db.execute_batch("begin immediate")?;
    (0..40).try_for_each(|number| wire.send(&device.reading(number, u16::try_from(10 + number).unwrap_or(0))))?;
    let began = Instant::now();
    revoke(authority, &device.name)?;
    let heard = [wire.hear(), wire.hear()];
    let took = began.elapsed();
    // What was tried before it was known that the device is cut off has come to nothing.
    let failures = || -> anyhow::Result<u64> { Ok(site.counted()?.get("store_failures_total")) };
    let known = failures()?;
    while failures()? <= known {
        anyhow::ensure!(began.elapsed() < PATIENCE * 2, "the store was not tried again");
        std::thread::sleep(Duration::from_millis(20));
    }
    db.execute_batch("rollback")?;
    let is_right = heard == [Heard::Packet(0xE0, vec![0x87]), Heard::End] || heard[0] == Heard::End;
    found.check(is_right && took <= CUT_WITHIN, || format!("while the file is held: {took:?}, {heard:02x?}"));
    found.measured("listed_cut_store_away_ms", u64::try_from(took.as_millis())?);
    site.others_go_on()?;
    site.conclude(&[(device.name, 0)])?;
    Ok(())
}
