//! Whether a reading could be stored now: what the watchdog is fed on.
//!
//! A pulse goes the way of a reading: to the sealer, from there to the thread that writes, behind all that it was given
//! before, and back. A commit that hangs, a thread that is gone, a sealer that waits for an uplink that stands still, a
//! runtime that is blocked: each leaves it without an answer. A disk that refuses what it is given does not: to start
//! anew would help nobody then, and cost what is in memory. Nor does a network that is away.

use std::sync::Arc;

use service::Manager;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::buffer::Handle;

/// Asked for a beat; whoever drops it has none.
pub type Pulse = oneshot::Sender<Beat>;

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// So many readings were stored since the start.
    Stores(u64),
    /// So many were, and the disk takes nothing now: sources wait.
    Waits(u64),
    /// The sealer has ended: no source has anything more.
    Ended,
}

impl Beat {
    /// A line for people.
    pub(crate) fn words(self, sources: usize) -> String {
        match self {
            Self::Stores(readings) => format!("sources: {sources}; readings stored since the start: {readings}"),
            Self::Waits(readings) => {
                format!(
                    "the disk takes nothing; sources that wait: {sources}; readings stored since the start: {readings}"
                )
            }
            Self::Ended => "no source has anything more; what is not confirmed is still sent".to_owned(),
        }
    }
}

/// Tells `manager`, if there is one, how it goes until `stop`: by way of the sealer, and, where that has ended because no
/// source has anything more, of the buffer's thread alone.
pub(crate) async fn feed(
    manager: Option<Arc<Manager>>,
    sources: usize,
    sealer: mpsc::Sender<Pulse>,
    buffer: Handle,
    stop: CancellationToken,
) {
    let Some(manager) = manager else { return };
    let telling = manager.keep_told(|| {
        let (sealer, buffer) = (sealer.clone(), buffer.clone());
        async move {
            match beat(&sealer, &buffer).await {
                Some(beat) => beat.words(sources),
                None => std::future::pending().await, // a thread that is gone beats no more
            }
        }
    });
    tokio::select! {
        () = telling => {}
        () = stop.cancelled() => {}
    }
}

/// None where the buffer's thread is gone.
async fn beat(sealer: &mpsc::Sender<Pulse>, buffer: &Handle) -> Option<Beat> {
    let (pulse, answer) = oneshot::channel();
    if sealer.send(pulse).await.is_ok()
        && let Ok(beat) = answer.await
    {
        return Some(beat);
    }
    let (pulse, answer) = oneshot::channel();
    buffer.pulse(Beat::Ended, pulse).await.ok()?;
    answer.await.ok()
}
