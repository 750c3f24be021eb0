//! Bytes that MQTT forbids, packet by packet and field by field, in both versions: each ends its connection with the
//! answer that is due, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::Pki;
use harness::world::Random;
use rustls::ClientConfig;

mod case;
mod claims;
mod connects;
mod limits;
mod mutations;
mod others;
mod properties;
mod publishes;
mod subscribes;
mod texts;

use crate::part::{Found, Plan};
use crate::site::{Counts, NEIGHBOUR, Site, wait_for_connections};
use crate::wire::{Heard, Wire, config};
use case::{Case, Wanted};

/// The device that says all this.
const DEVICE: &str = "meter-7";
/// A packet that never comes whole is waited for as long as a CONNECT, 5 s.
const ANSWERED_WITHIN: Duration = Duration::from_secs(6);
/// What the gateway may grow by, in KiB: allocators keep some of what they were given back.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let pki = Pki::create(&plan.folder.join("pki"));
    let site = Site::start(&plan.folder, pki.server(), None, pki.device(NEIGHBOUR))?;
    let mut line = Line { site, config: config(&pki.device(DEVICE))? };
    let mut found = Found::default();
    line.warm_up(plan.amount(50, 200))?;
    let before = line.site.resident_kib();
    table(plan, &mut line, &mut found)?;
    mutations::run(plan, &mut line, &mut found)?;
    let grown = line.site.resident_kib().saturating_sub(before);
    found.check(grown <= GROWTH_KIB_MAX, || format!("memory: it grew by {grown} KiB"));
    found.measured("packets_growth_kib", grown);
    claims::run(plan, &mut line, &mut found)?;
    line.site.conclude(&[(DEVICE.to_owned(), 0)])?;
    Ok(found)
}

/// All malformed packets there are.
fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in [4, 5] {
        cases.extend(connects::cases(version));
        cases.extend(publishes::cases(version));
        cases.extend(subscribes::cases(version));
        cases.extend(others::cases(version));
        cases.extend(limits::cases(version));
    }
    cases
}

/// Each case on a connection of its own.
fn table(plan: &Plan, line: &mut Line, found: &mut Found) -> anyhow::Result<()> {
    let cases = all();
    let mut random = Random::new(plan.seed);
    let before = line.site.counted()?;
    let mut neighbour = 0;
    let mut distinct = std::collections::BTreeSet::new();
    for (place, case) in cases.iter().enumerate() {
        anyhow::ensure!(
            distinct.insert((case.version, case.is_connected, &case.bytes)),
            "{}: the same bytes are there twice",
            case.name
        );
        // A commit's worth is a third of them, another third each time.
        if plan.short && !random.one_in(3) {
            continue;
        }
        line.try_case(case, found)?;
        if place.is_multiple_of(8) {
            line.site.others_go_on()?;
            neighbour += 1;
        }
    }
    let since = Counts::between(&before, &line.site.counted()?);
    let (publishes, denied) = (since.publishes, since.publishes_denied);
    found.check(publishes == neighbour && denied == 0, || {
        format!("of malformed packets {} publishes were taken in", publishes.saturating_sub(neighbour))
    });
    Ok(())
}

/// A gateway, and a device's TLS.
struct Line {
    site: Site,
    config: Arc<ClientConfig>,
}

impl Line {
    fn try_case(&mut self, case: &Case, found: &mut Found) -> anyhow::Result<()> {
        let port = self.site.port();
        let mut wire = if case.is_connected {
            Wire::connect(port, &self.config, case.version, DEVICE)?
        } else {
            Wire::open(port, &self.config)?
        };
        let _ = wire.send(&case.bytes); // it may be closed before it has all
        let began = Instant::now();
        let heard = wire.hear();
        let took = began.elapsed();
        let answered = case.wanted.is(&heard);
        let ended = matches!(heard, Heard::End) || wire.leave();
        let which = format!("MQTT {}: {}", if case.version == 4 { "3.1.1" } else { "5" }, case.name);
        match case.open {
            None => found.check(answered, || format!("{which}: {heard:02x?}, where {:02x?} is due", case.wanted)),
            Some(why) if !answered => found.open.push(format!("{which}: {heard:02x?}: {why}")),
            Some(_) => found.wrong(format!("{which}: it is not open any more")),
        }
        found.check(ended, || format!("{which}: the connection did not end"));
        found.check(took < ANSWERED_WITHIN, || format!("{which}: the answer took {took:?}"));
        if case.open.is_none() {
            found.count(if case.wanted == Wanted::LetIn { "good_packets" } else { "malformed_packets" }, 1);
        }
        Ok(())
    }

    /// As many good connections as it takes until memory does not grow by what they need.
    fn warm_up(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let mut wire = Wire::connect(self.site.port(), &self.config, 5, DEVICE)?;
            wire.send(&[0xC0, 0])?;
            wire.hear();
            wire.leave();
        }
        wait_for_connections(&self.site, 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_are_five_hundred_malformed_packets_and_no_two_are_alike() {
        let cases = super::all();
        let bad: std::collections::BTreeSet<_> = cases
            .iter()
            .filter(|case| case.open.is_none())
            .map(|case| (case.version, case.is_connected, &case.bytes))
            .collect();
        assert!(bad.len() >= 500, "{}", bad.len());
    }
}
