//! How much a batch saves: 1, 10, 100 and 1 000 readings a message, over the whole path into SQLite.

use crate::Bench;
use crate::load::Site;
use crate::stores::Store;
use crate::table::{Measure, Table};
use crate::whole_path::{DEVICES, WINDOW};

/// Readings a message, and messages of one device.
const CURVE: [(&str, usize, usize); 4] =
    [("single_messages", 1, 100), ("batching_10", 10, 60), ("batching_100", 100, 20), ("batching_1000", 1_000, 4)];

/// Takes the measures of this group.
///
/// # Errors
/// When something does not arrive.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let mut site = Site::open(bench, "batching", Store::Sqlite, DEVICES)?;
    site.publish(1, 1, WINDOW, None)?;
    for (name, readings, messages) in CURVE {
        let run = site.publish(readings, bench.size(messages), WINDOW, None)?;
        let proof = site.proof()?;
        let measure = if readings == 1 {
            // The design wants 20 000 on four processors, and that two say what they give.
            Measure::new(name, run.messages(), "messages/s").against("the design's wish for four processors", 20_000.0)
        } else {
            Measure::new(name, run.rate(), "readings/s")
        };
        let note =
            format!("{DEVICES} devices, {:.0} messages/s of {readings}, {:.0} readings/s", run.messages(), run.rate());
        table.add(&measure.note(note).note(run.shares()).note(proof));
    }
    Ok(())
}
