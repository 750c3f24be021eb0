//! What messages gave that came together, and is handed over together.

use proto::Lane;

use super::super::{INTAKE_SAMPLES_MAX, Reject, Sample};

/// Messages in one batch: far fewer than are kept of them, see [`super::recent`].
const MESSAGES_MAX: usize = 64;
/// Messages that wait to be acknowledged, from which on their batch must not linger: brokers send only so many before
/// they wait (Mosquitto 20).
const ACKS_URGENT: usize = 8;

/// Readings, rejects, and what the broker is to be told once they are safe.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Of the present.
    pub(super) live: Vec<Sample>,
    /// What a device says that it kept from before.
    pub(super) past: Vec<Sample>,
    pub(super) rejects: Vec<Reject>,
    pub(super) urgent: bool,
    /// Messages to acknowledge, in the order they came.
    pub(super) acks: Vec<u16>,
    /// Whether there is something new to be kept in the cursor though nothing was read.
    pub(super) note: bool,
}

impl Batch {
    /// Whether nothing in it is to be stored.
    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.past.is_empty() && self.rejects.is_empty() && !self.note
    }

    /// Whether it is to be handed over before another message of `more` readings at most is taken in.
    pub(super) fn is_full(&self, more: usize) -> bool {
        let room = |samples: &Vec<Sample>| samples.len() + more <= INTAKE_SAMPLES_MAX;
        self.acks.len() >= MESSAGES_MAX || self.rejects.len() >= MESSAGES_MAX || !room(&self.live) || !room(&self.past)
    }

    /// Whether the broker waits for it.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent || self.acks.len() >= ACKS_URGENT
    }

    /// Where readings of that lane go.
    pub(super) fn lane(&mut self, lane: Lane) -> &mut Vec<Sample> {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Backfill => &mut self.past,
        }
    }

    /// Something that became no reading.
    pub(super) fn reject(&mut self, topic: &str, reason: impl Into<String>, payload: &[u8]) {
        let place: String = format!("topic {topic}").escape_debug().take(PLACE_CHARS_MAX).collect();
        self.rejects.push(Reject::new(place, reason.into(), payload));
    }
}

/// Characters told of a topic.
const PLACE_CHARS_MAX: usize = 160;
