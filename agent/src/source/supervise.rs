//! Keeps every source going: one that fails is started again, and costs no other anything.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Configured, Ended, Outlet, SourceClock, run};

/// How long to wait before a source is started again, at first and at most.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// A source that ran this long has recovered: its next failure is a first one.
const STABLE: Duration = Duration::from_secs(60);

/// Runs all sources until each has finished, or `stop` is cancelled and each has ended. `cursors` holds the committed
/// cursor of each source by its name; within this call a source goes on from the last cursor that it handed over, because
/// what the outlet took is committed in order.
pub async fn supervise(
    sources: Vec<Configured>,
    mut cursors: HashMap<String, Vec<u8>>,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) {
    let mut all = JoinSet::new();
    for configured in sources {
        let own = outlet.of_source(configured.priority, cursors.remove(&configured.name));
        all.spawn(keep_going(configured, own, clock.clone(), stop.clone()));
    }
    drop(outlet); // the receiver ends when the last source has
    while all.join_next().await.is_some() {}
}

async fn keep_going(configured: Configured, outlet: Outlet, clock: SourceClock, stop: CancellationToken) {
    let name = configured.name.clone();
    let mut retry = RETRY_MIN;
    while !stop.is_cancelled() {
        let began = Instant::now();
        // A task of its own, so that a panic ends this attempt only; dropping the set would end it too.
        let mut attempt = JoinSet::new();
        let cursor = outlet.last_cursor();
        attempt.spawn(run(configured.clone(), cursor, outlet.clone(), clock.clone(), stop.clone()));
        let problem = match attempt.join_next().await {
            Some(Ok(Ok(Ended::Finished))) => {
                info!(source = name, "{name} has nothing more to read");
                return;
            }
            Some(Ok(Ok(Ended::Stopped))) | None => return,
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(error)) => format!("it broke: {error}; please report this"),
        };
        if began.elapsed() >= STABLE {
            retry = RETRY_MIN;
        }
        error!(source = name, "{name}: {problem}; trying again in {} s", retry.as_secs());
        tokio::select! {
            () = sleep(retry) => {}
            () = stop.cancelled() => return,
        }
        retry = (retry * 2).min(RETRY_MAX);
    }
}

#[cfg(test)]
mod tests;
