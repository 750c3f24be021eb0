//! Questions to the store, off the async threads, few at a time, and each with a deadline.

use std::time::{Duration, Instant};

use super::State;
use super::problem::Problem;
use crate::store::{ReadError, View};

/// The longest that any request takes, live views aside.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

impl State {
    /// Answers what `question` asks of one moment's view of the store.
    pub(super) async fn ask<T, Q>(&self, question: Q) -> Result<T, Problem>
    where
        T: Send + 'static,
        Q: FnOnce(View<'_>) -> Result<T, ReadError> + Send + 'static,
    {
        self.ask_within(DEADLINE, question).await
    }

    /// The same, in less time.
    pub(super) async fn ask_within<T, Q>(&self, time: Duration, question: Q) -> Result<T, Problem>
    where
        T: Send + 'static,
        Q: FnOnce(View<'_>) -> Result<T, ReadError> + Send + 'static,
    {
        let deadline = Instant::now() + time;
        let permit = tokio::time::timeout(time, self.0.reads.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Problem::busy("too many questions at once; ask again")) };
        let reader = self.0.reader.clone();
        let answer = tokio::task::spawn_blocking(move || reader.view(deadline, question)).await;
        Ok(answer.map_err(|_| Problem::busy("the question was given up"))??)
    }
}
