//! Publishes that wait for their verdict. Their PUBACKs leave in the order in which the publishes came
//! (MQTT-4.6.0-2), whatever the order of the verdicts.

use std::collections::VecDeque;
use std::future::pending;

use tokio::sync::oneshot;

use crate::ingest::Verdict;

/// The publishes in flight of one connection, oldest first.
#[derive(Debug, Default)]
pub(in crate::ingest) struct InFlight(VecDeque<(u16, Waiting)>);

#[derive(Debug)]
enum Waiting {
    For(oneshot::Receiver<Verdict>),
    Over(Verdict),
}

/// A ticket was dropped: nobody will ever give this publish a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ingest) struct Dropped;

impl InFlight {
    pub(in crate::ingest) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::ingest) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::ingest) fn contains(&self, packet_id: u16) -> bool {
        self.0.iter().any(|(id, _)| *id == packet_id)
    }

    /// A publish whose verdict will come.
    pub(in crate::ingest) fn push(&mut self, packet_id: u16, verdict: oneshot::Receiver<Verdict>) {
        self.0.push_back((packet_id, Waiting::For(verdict)));
    }

    /// A publish whose verdict is known, and leaves in its turn all the same.
    pub(in crate::ingest) fn push_over(&mut self, packet_id: u16, verdict: Verdict) {
        self.0.push_back((packet_id, Waiting::Over(verdict)));
    }

    /// The oldest publish's verdict, once it is there; never, while nothing is in flight. Cancel safe.
    pub(in crate::ingest) async fn next(&mut self) -> Result<(u16, Verdict), Dropped> {
        let Some((packet_id, waiting)) = self.0.front_mut() else { return pending().await };
        let packet_id = *packet_id;
        let verdict = match waiting {
            Waiting::For(receiver) => receiver.await.map_err(|_| Dropped),
            Waiting::Over(verdict) => Ok(*verdict),
        };
        self.0.pop_front(); // in either case: a receiver that has answered must not be asked again
        verdict.map(|verdict| (packet_id, verdict))
    }

    /// The oldest publish's verdict if it is there already.
    pub(in crate::ingest) fn ready(&mut self) -> Result<Option<(u16, Verdict)>, Dropped> {
        use oneshot::error::TryRecvError::{Closed, Empty};
        let Some((packet_id, waiting)) = self.0.front_mut() else { return Ok(None) };
        let packet_id = *packet_id;
        let verdict = match waiting {
            Waiting::Over(verdict) => Ok(*verdict),
            Waiting::For(receiver) => match receiver.try_recv() {
                Ok(verdict) => Ok(verdict),
                Err(Empty) => return Ok(None),
                Err(Closed) => Err(Dropped),
            },
        };
        self.0.pop_front();
        verdict.map(|verdict| Some((packet_id, verdict)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::{RefusalCode, Ticket};

    proptest! {
        #[test]
        fn verdicts_leave_in_the_order_of_arrival_and_never_before_they_are_given(
            order in Just((0..24u16).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let mut in_flight = InFlight::default();
            let mut tickets = Vec::new();
            for id in 0..24 {
                let (ticket, verdict) = Ticket::new();
                tickets.push(Some(ticket));
                in_flight.push(id, verdict);
            }
            let (mut given, mut left) = ([false; 24], Vec::new());
            for id in order {
                tickets[usize::from(id)].take().unwrap().settle(Verdict::Settled);
                given[usize::from(id)] = true;
                while let Some((id, _)) = in_flight.ready().unwrap() {
                    left.push(id);
                }
                let prefix = given.iter().take_while(|given| **given).count();
                prop_assert_eq!(left.len(), prefix);
            }
            prop_assert_eq!(left, (0..24).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_verdict_known_at_once_still_waits_its_turn() {
        let mut in_flight = InFlight::default();
        let (ticket, verdict) = Ticket::new();
        let refused = Verdict::Refused(RefusalCode::NotAuthorized);
        in_flight.push(1, verdict);
        in_flight.push_over(2, refused);
        assert_eq!(in_flight.ready(), Ok(None));
        ticket.settle(Verdict::Settled);
        assert_eq!(in_flight.next().await, Ok((1, Verdict::Settled)));
        assert_eq!(in_flight.next().await, Ok((2, refused)));
        assert!(in_flight.is_empty());
    }

    #[tokio::test]
    async fn a_dropped_ticket_is_told() {
        let mut in_flight = InFlight::default();
        for id in [1, 2] {
            in_flight.push(id, Ticket::new().1);
        }
        assert_eq!(in_flight.ready(), Err(Dropped));
        assert_eq!(in_flight.next().await, Err(Dropped));
        assert!(in_flight.is_empty());
    }
}
