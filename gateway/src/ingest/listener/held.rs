//! What one connection has sent and the pipeline has no room for yet, in its order.
//!
//! As long as the store commits, that is nothing for long. While it is away the pipeline is full, and what devices have
//! under way waits here, so that their connections are still read and their pings answered: a device whose pings are not
//! is right to leave.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::ingest::{Event, Intake};

/// What an event takes beside its payload, about.
const EVENT_BYTES: usize = 512;

/// Events that wait, oldest first.
#[derive(Default)]
pub(super) struct Held {
    waiting: VecDeque<Waiting>,
    place: Option<Pin<Box<dyn Future<Output = Permit> + Send>>>,
}

struct Waiting {
    event: Event,
    /// Its share of what all connections may hold. None if there was not enough: then it is the last.
    share: Option<OwnedSemaphorePermit>,
}

/// A place in the pipeline.
pub(super) type Permit = Result<mpsc::OwnedPermit<Event>, mpsc::error::SendError<()>>;

/// The pipeline has ended.
#[derive(Debug)]
pub(super) struct PipelineGone;

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether another event may come: not while `count_max` wait, nor behind one that had no share.
    pub(super) fn has_room(&self, count_max: usize) -> bool {
        self.waiting.len() < count_max && self.waiting.back().is_none_or(|last| last.share.is_some())
    }

    /// Gives `event` to the pipeline, or keeps it until there is room. `shares` counts bytes, of all connections together.
    pub(super) fn hand_on(
        &mut self,
        event: Event,
        intake: &Intake,
        shares: &Arc<Semaphore>,
    ) -> Result<(), PipelineGone> {
        let event = if self.waiting.is_empty() {
            match intake.try_send(event) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(event)) => event,
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(PipelineGone),
            }
        } else {
            event
        };
        let share = Arc::clone(shares).try_acquire_many_owned(bytes_of(&event)).ok();
        self.waiting.push_back(Waiting { event, share });
        if self.place.is_none() {
            // One place in the queue for as long as it takes, so that no other connection overtakes for ever.
            self.place = Some(Box::pin(intake.clone().reserve_owned()));
        }
        Ok(())
    }

    /// A place for the oldest, once there is one; never, while nothing waits. Cancel safe.
    pub(super) async fn room(&mut self) -> Permit {
        match &mut self.place {
            Some(place) => place.as_mut().await,
            None => pending().await,
        }
    }

    /// The place is there: the oldest takes it, and others what else there is.
    pub(super) fn handed_on(&mut self, place: Permit) -> Result<(), PipelineGone> {
        self.place = None;
        let mut place = place.map_err(|_| PipelineGone)?;
        while let Some(Waiting { event, .. }) = self.waiting.pop_front() {
            let intake = place.send(event);
            if self.waiting.is_empty() {
                break;
            }
            place = match intake.try_reserve_owned() {
                Ok(place) => place,
                Err(mpsc::error::TrySendError::Full(intake)) => {
                    self.place = Some(Box::pin(intake.reserve_owned()));
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(PipelineGone),
            };
        }
        Ok(())
    }
}

fn bytes_of(event: &Event) -> u32 {
    let payload = if let Event::Arrived(arrival) = event { arrival.payload.len() } else { 0 };
    u32::try_from(payload + EVENT_BYTES).unwrap_or(u32::MAX)
}
