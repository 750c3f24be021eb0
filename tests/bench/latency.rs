//! From publish to receipt, over TLS and MQTT, from devices in another process, at half of what the gateway takes.

use std::time::Duration;

use crate::Bench;
use crate::load::Site;
use crate::stores::Store;
use crate::table::{Limit, Measure, Table};
use crate::whole_path::{DEVICES, READINGS, WINDOW};

/// Messages of one device with which the full load is found.
const MESSAGES: usize = 20;
/// How long half of it lasts.
const HALF_LOAD_FOR: Duration = Duration::from_secs(10);
/// At half load no device should need more than one; what is late must not hold up what is due.
const WINDOW_OPEN: usize = 32;

/// Takes the measures of this group.
///
/// # Errors
/// When the gateway does not answer.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let mut site = Site::open(bench, "latency", Store::Sqlite, DEVICES)?;
    site.publish(READINGS, 1, WINDOW, None)?;
    let full = site.publish(READINGS, MESSAGES, WINDOW, None)?.messages();
    let devices = u32::try_from(DEVICES)?;
    let every = Duration::from_secs_f64(2.0 * f64::from(devices) / full);
    let lasts = if bench.quick { HALF_LOAD_FOR / 5 } else { HALF_LOAD_FOR };
    let messages = usize::try_from((lasts.as_micros() / every.as_micros().max(1)).max(1))?;
    let half = site.publish(READINGS, messages, WINDOW_OPEN, Some(every))?;
    let words = format!(
        "{} messages of {READINGS} readings from {DEVICES} devices, {:.0}/s; without a pause it was {full:.0}/s",
        half.done.messages,
        half.messages()
    );
    for (name, value, most) in [("receipt_p50", half.done.p50_ms, 15.0), ("receipt_p99", half.done.p99_ms, 150.0)] {
        let measure = Measure::new(name, value, "ms").limit(Limit::AtMost(most)).note(&words).note(format!(
            "counted from when a message was due; the slowest {:.0} ms; devices, in a process of their own, and gateway \
             share the processors",
            half.done.most_ms
        ));
        table.add(&measure.note(half.shares()).note(site.proof()?));
    }
    Ok(())
}
