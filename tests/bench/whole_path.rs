//! The whole path: devices in another process, TLS, MQTT, decode, ledger, commit, receipt, all on the same processors.

use harness::servers::Missing;

use crate::Bench;
use crate::load::{Run, Site};
use crate::rounds::{median, quantile};
use crate::stores::Store;
use crate::table::{Limit, Measure, Table};

/// Devices, each with a certificate and a series of its own.
pub(crate) const DEVICES: usize = 1_000;
/// Readings of a message's one batch.
pub(crate) const READINGS: usize = 100;
/// Messages of one device, a round: two million readings in all.
const MESSAGES: usize = 20;
/// Messages that a device may have under way: the agent's window holds more.
pub(crate) const WINDOW: usize = 4;
const ROUNDS: usize = 5;
/// Readings a second that the design wants.
const WANTED: f64 = 200_000.0;

/// Takes the measures of this group.
///
/// # Errors
/// When something does not arrive.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    for (name, store) in Store::all() {
        let name = format!("whole_path_{name}");
        if !bench.wants(&name) {
            continue;
        }
        match of_store(bench, table, &name, store) {
            Err(error) if error.is::<Missing>() => table.skip(&name, &error.to_string()),
            done => done?,
        }
    }
    Ok(())
}

fn of_store(bench: &Bench, table: &mut Table, name: &str, store: Store) -> anyhow::Result<()> {
    let mut site = Site::open(bench, name, store, DEVICES)?;
    let messages = bench.size(MESSAGES);
    site.publish(READINGS, 1, WINDOW, None)?; // each device's first batch makes its row, its series, its epoch
    let rounds = if bench.quick { 1 } else { ROUNDS };
    let runs =
        (0..rounds).map(|_| site.publish(READINGS, messages, WINDOW, None)).collect::<anyhow::Result<Vec<_>>>()?;
    let rates: Vec<f64> = runs.iter().map(Run::rate).collect();
    let (least, most) = (quantile(rates.clone(), 0.0), quantile(rates.clone(), 1.0));
    let mut measure = Measure::new(name, median(rates), "readings/s")
        .limit(Limit::AtLeast(WANTED))
        .note(format!(
            "{DEVICES} devices over TLS 1.3 with a certificate each, {messages} messages of one batch of {READINGS} readings \
             each, window {WINDOW}; {rounds} rounds, {least:.0} to {most:.0}"
        ))
        .note(site.proof()?);
    for run in runs.iter().take(1).chain(runs.iter().skip(1).last()) {
        measure = measure.note(run.shares());
    }
    table.add(
        &measure
            .note(format!("until the last receipt; {} sessions came up in {:.1} s", site.up.sessions, site.up.seconds)),
    );
    Ok(())
}
