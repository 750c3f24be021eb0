//! Word that what was handed over is stored, for sources that must tell someone: a broker, or a program at a socket.
//!
//! Who does not ask pays nothing. The answer comes from where the buffer's transaction has committed, and a batch that
//! later leaves the buffer for want of room was committed all the same: its gap says what became of it.

use tokio::sync::oneshot;

use super::Stopping;

/// Why what was handed over is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCommitted {
    /// The agent ended first, or could not store it before its end. It was not accepted, and is to be said again.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// No batch takes it, now or later: nothing of it was stored.
    #[error("refused: {0}")]
    Refused(String),
}

/// What waits for word of one intake.
#[derive(Debug)]
pub struct Confirmation(oneshot::Receiver<Result<(), NotCommitted>>);

impl Confirmation {
    /// Waits until the intake is stored. On a full disk that may take until there is room, or until the agent ends.
    ///
    /// # Errors
    /// [`NotCommitted`]: then nothing of it was stored.
    pub async fn wait(self) -> Result<(), NotCommitted> {
        self.0.await.unwrap_or(Err(NotCommitted::Stopping(Stopping)))
    }
}

/// Who is to be told about an intake; mostly nobody. Dropped untold, it says that the intake was not stored.
#[derive(Debug, Default)]
pub struct Confirm(Option<oneshot::Sender<Result<(), NotCommitted>>>);

impl Confirm {
    /// Someone to be told, and where they wait.
    pub(super) fn new() -> (Self, Confirmation) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), Confirmation(receiver))
    }

    /// Whether someone waits.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.is_some()
    }

    /// Tells who waits, if they still do.
    pub(crate) fn tell(self, outcome: Result<(), NotCommitted>) {
        if let Some(sender) = self.0 {
            let _ = sender.send(outcome);
        }
    }
}

/// A copy tells nobody: one intake was handed over, not two.
impl Clone for Confirm {
    fn clone(&self) -> Self {
        Self(None)
    }
}
