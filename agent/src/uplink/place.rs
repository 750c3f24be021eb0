//! Where a connection's task runs: beside everything else, or on a thread of its own.
//!
//! A key in a token makes a handshake wait, in the middle of the TLS library, for as long as the token takes. On the one
//! thread that serves all sources and every other connection that would stop them all. The client's own event loop does
//! the handshake, so it cannot be handed to a pool of threads and back; but all that the connection shares with the rest
//! are channels, so that the whole of it can live on a thread with a small runtime of its own, from dialling to its end.
//! There it waits alone. A key in a file signs in a fraction of a millisecond and needs no thread.

use std::future::Future;

use tokio_util::sync::{CancellationToken, DropGuard};

/// A task that runs somewhere, and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Asks it to end.
    _stop: DropGuard,
    over: CancellationToken,
}

impl Place {
    /// Beside the caller, in the runtime that is there.
    pub(super) fn beside(task: impl Future<Output = ()> + Send + 'static) -> Self {
        let (place, guarded) = Self::guard(task);
        drop(tokio::spawn(guarded)); // it ends with this place, which says when it has
        place
    }

    /// On a thread of its own. Where there is none to be had, the task is over at once.
    pub(super) fn own(name: &str, task: impl Future<Output = ()> + Send + 'static) -> Self {
        let (place, guarded) = Self::guard(task);
        let run = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(guarded),
            Err(error) => tracing::error!(%error, "no runtime for a connection"),
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
            tracing::error!(%error, "no thread for a connection");
        }
        place
    }

    /// Once it has ended.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// The task, ended by this place and saying so when it is.
    fn guard(task: impl Future<Output = ()> + Send + 'static) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (stop, over) = (CancellationToken::new(), CancellationToken::new());
        let (asked, ending) = (stop.clone(), over.clone().drop_guard());
        let guarded = async move {
            let _ending = ending;
            tokio::select! {
                () = task => {}
                () = asked.cancelled() => {}
            }
        };
        (Self { _stop: stop.drop_guard(), over }, guarded)
    }
}
