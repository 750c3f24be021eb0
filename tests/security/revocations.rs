//! Devices that are cut off while they are connected, by the operator's command or by their authority's list alone: each in
//! time, wherever it is connected, and then it hears nothing more and says nothing more, its last will included, nothing
//! of what it had under way is stored, and it does not come in again.

use std::time::Duration;

use crate::part::{Found, Plan};

mod device;
mod listed;
mod two;

/// From the beginning of the command to the end of the connection.
const CUT_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    two::run(plan, &mut found)?;
    listed::run(plan, &mut found)?;
    Ok(found)
}

/// How long they stayed connected, by these names.
fn summary(mut times: Vec<Duration>, names: [&'static str; 4], found: &mut Found) -> anyhow::Result<()> {
    times.sort();
    let count = times.len();
    let in_time = times.iter().filter(|time| **time <= CUT_WITHIN).count();
    let [all, of_them, p50, max] = names;
    found.count(all, count);
    found.count(of_them, in_time);
    found.check(in_time == count && count > 0, || format!("{in_time} of {count} were cut within {CUT_WITHIN:?}"));
    let at = |place: usize| u64::try_from(times.get(place).copied().unwrap_or_default().as_millis());
    found.measured(p50, at(count / 2)?);
    found.measured(max, at(count.saturating_sub(1))?);
    Ok(())
}
