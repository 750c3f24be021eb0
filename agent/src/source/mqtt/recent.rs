//! What was taken last, so that a message which the broker sends again is not taken twice.
//!
//! A message is acknowledged once it is stored, and the acknowledgement may get lost with the connection or with this
//! process. The broker then sends the message again, with its packet id and the mark DUP. The last ones are kept as id and
//! hash, in the commit that stores them: this is the source's cursor.
//!
//! An id alone says little, since it may be given to another message once it is free, and two messages of one content are
//! both to be taken. Most brokers count ids up to 65535 before one comes again; what is kept is far less, so that id,
//! content and DUP together are proof. Some give the lowest free id. They are known by an id that comes again soon; with
//! them, and while too few ids were seen to tell, only that counts which this process has not acknowledged yet.
//!
//! Brokers do not answer acknowledgements, but they answer pings, in order: what was acknowledged before a ping that is
//! answered was heard, and need not be kept for long.

use std::collections::VecDeque;

/// Ids after which a broker that gives the lowest free one would have given one again: so many are always kept. Also, so
/// many that may not have been heard are worth a ping.
const TELLING: usize = 32;
/// Messages that are kept: some brokers send all they have at once, and hear acknowledgements late (Mosquitto 2.0.11).
const KEPT_MAX: usize = 1_024;
/// Retained messages that are kept: the broker sends them again with each new subscription.
const RETAINED_MAX: usize = 64;
/// The first byte of what is written.
const VERSION: u8 = 1;

/// The messages that were taken last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recent {
    /// Of the filters that the broker knows of; 0 before it knows any.
    pub(super) filters: u64,
    /// Whether it has been seen to give an id again soon.
    reuses: bool,
    taken: VecDeque<Taken>,
    retained: VecDeque<u64>,
    /// Pings over this connection that were sent, and that were answered.
    pings: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    id: u16,
    hash: u64,
    /// Over this connection.
    here: bool,
    told: Told,
}

/// What the broker knows of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It is not acknowledged yet by this process.
    Not,
    /// It was acknowledged, which may have got lost.
    Perhaps,
    /// The same, and that ping was sent after it.
    Before(u64),
    /// The broker has heard it.
    Heard,
}

impl Recent {
    /// What is kept of a message.
    pub(super) fn hash(parts: &[&[u8]]) -> u64 {
        // FNV-1a (Fowler, Noll, Vo): the same in each version of this program. Whoever makes two messages of one hash
        // loses one of their own.
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let part = |hash: u64, part: &&[u8]| {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
            part.iter().chain(&length).fold(hash, step)
        };
        parts.iter().fold(0xcbf2_9ce4_8422_2325, part)
    }

    /// A connection was made to the session that was there before.
    pub(super) fn connected(&mut self) {
        self.pings = (0, 0);
        for taken in &mut self.taken {
            taken.here = false;
            if let Told::Before(_) = taken.told {
                taken.told = Told::Perhaps;
            }
        }
    }

    /// The broker has a new session, in which ids mean other messages.
    pub(super) fn forget(&mut self) {
        *self = Self { retained: std::mem::take(&mut self.retained), pings: self.pings, ..Self::default() };
    }

    /// Whether a message that the broker sends again was taken before.
    pub(super) fn knows(&self, id: u16, hash: u64) -> bool {
        let certain = !self.reuses && self.taken.len() >= TELLING;
        let is_it = |taken: &Taken| taken.id == id && taken.hash == hash && (certain || taken.told == Told::Not);
        self.taken.iter().any(is_it)
    }

    /// A message is taken. One that the broker does not send again tells how it gives ids.
    pub(super) fn take(&mut self, id: u16, hash: u64, again: bool) {
        if let Some(place) = self.taken.iter().position(|taken| taken.id == id)
            && let Some(before) = self.taken.remove(place)
        {
            self.reuses |= before.here && !again;
        }
        if self.taken.len() == KEPT_MAX {
            self.taken.pop_front();
        }
        self.taken.push_back(Taken { id, hash, here: true, told: Told::Not });
    }

    /// These have been acknowledged.
    pub(super) fn said(&mut self, ids: &[u16]) {
        let are_they = |taken: &&mut Taken| taken.told == Told::Not && ids.contains(&taken.id);
        self.taken.iter_mut().filter(are_they).for_each(|taken| taken.told = Told::Perhaps);
    }

    /// Whether a ping would tell that much was heard.
    pub(super) fn wants_ping(&self) -> bool {
        let (sent, answered) = self.pings;
        sent == answered && self.taken.iter().filter(|taken| taken.told == Told::Perhaps).count() >= TELLING
    }

    /// A ping was sent.
    pub(super) fn pinged(&mut self) {
        self.pings.0 += 1;
        let all = self.taken.iter_mut().filter(|taken| taken.told == Told::Perhaps);
        all.for_each(|taken| taken.told = Told::Before(self.pings.0));
    }

    /// A ping was answered.
    pub(super) fn ponged(&mut self) {
        self.pings.1 += 1;
        let heard = |told: Told| matches!(told, Told::Before(ping) if ping <= self.pings.1);
        self.taken.iter_mut().filter(|taken| heard(taken.told)).for_each(|taken| taken.told = Told::Heard);
        while self.taken.len() > TELLING && self.taken.front().is_some_and(|taken| taken.told == Told::Heard) {
            self.taken.pop_front();
        }
    }

    /// Whether a retained message comes for the first time, as far as is known; then it is kept.
    pub(super) fn is_new(&mut self, retained: u64) -> bool {
        if self.retained.contains(&retained) {
            return false;
        }
        if self.retained.len() == RETAINED_MAX {
            self.retained.pop_front();
        }
        self.retained.push_back(retained);
        true
    }

    /// For the buffer.
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes();
        let mut bytes = vec![VERSION, u8::from(self.reuses)];
        bytes.extend(count(self.taken.len()));
        bytes.extend(count(self.retained.len()));
        bytes.extend(self.filters.to_be_bytes());
        for Taken { id, hash, .. } in &self.taken {
            bytes.extend(id.to_be_bytes());
            bytes.extend(hash.to_be_bytes());
        }
        self.retained.iter().for_each(|hash| bytes.extend(hash.to_be_bytes()));
        bytes
    }

    /// From the buffer; none where it is nothing that was written here.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[VERSION, reuses @ (0 | 1), t0, t1, r0, r1], rest) = bytes.split_first_chunk()? else { return None };
        let (filters, rest) = rest.split_first_chunk()?;
        let count = |bytes: [u8; 2]| usize::from(u16::from_be_bytes(bytes));
        let (taken, retained) = (count([t0, t1]), count([r0, r1]));
        if taken > KEPT_MAX || retained > RETAINED_MAX || rest.len() != taken * 10 + retained * 8 {
            return None;
        }
        let (first, last) = rest.split_at(taken * 10);
        let hash = |bytes: &[u8]| bytes.iter().fold(0, |hash: u64, byte| hash << 8 | u64::from(*byte));
        let entry = |bytes: &[u8]| {
            let id = u16::from_be_bytes([bytes[0], bytes[1]]);
            Taken { id, hash: hash(&bytes[2..]), here: false, told: Told::Perhaps }
        };
        Some(Self {
            filters: u64::from_be_bytes(*filters),
            reuses: reuses == 1,
            taken: first.chunks_exact(10).map(entry).collect(),
            retained: last.chunks_exact(8).map(hash).collect(),
            pings: (0, 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_known_again_and_what_is_may_be_another() {
        let mut recent = Recent::default();
        recent.take(1, 10, false);
        assert!(recent.knows(1, 10) && !recent.knows(1, 11) && !recent.knows(2, 10));
        recent.said(&[1]);
        assert!(!recent.knows(1, 10), "too few to tell how ids are given");
        recent.take(2, 10, false);
        assert!(recent.knows(2, 10) && !recent.knows(1, 10));
    }

    #[test]
    fn a_broker_that_counts_is_believed_after_a_while_also_by_another_process() {
        let mut recent = Recent::default();
        for id in 1..=200 {
            recent.take(id, u64::from(id) * 7, false);
            recent.said(&[id]);
        }
        let kept = Recent::decode(&recent.encode()).unwrap();
        for recent in [recent, kept] {
            assert!(recent.knows(200, 1_400) && recent.knows(1, 7) && !recent.knows(1, 8));
        }
    }

    #[test]
    fn a_broker_that_gives_the_lowest_free_id_is_never_believed() {
        let mut recent = Recent::default();
        for round in 0..50 {
            for id in 1..=3 {
                recent.take(id, round, false);
            }
            recent.said(&[1, 2, 3]);
        }
        for id in 4..=60 {
            recent.take(id, 0, false);
            recent.said(&[id]);
        }
        assert!(recent.reuses && !recent.knows(60, 0));
        assert!(!Recent::decode(&recent.encode()).unwrap().knows(60, 0));
        recent.forget();
        assert_eq!(recent, Recent::default());
    }

    #[test]
    fn an_id_that_comes_again_over_a_new_connection_tells_nothing() {
        let mut recent = Recent::default();
        recent.take(1, 10, false);
        recent.connected();
        recent.take(1, 11, false);
        assert!(!recent.reuses);
        recent.take(1, 12, true);
        assert!(!recent.reuses, "sent again");
        recent.take(1, 13, false);
        assert!(recent.reuses);
    }

    #[test]
    fn a_retained_message_is_new_once_and_what_is_kept_is_bounded() {
        let mut recent = Recent::default();
        assert!(recent.is_new(1) && !recent.is_new(1));
        for hash in 2..=100 {
            recent.is_new(hash);
        }
        for id in 0..5_000 {
            recent.take(id, 0, false);
        }
        let bytes = recent.encode();
        assert_eq!(bytes.len(), 14 + KEPT_MAX * 10 + RETAINED_MAX * 8);
        for wrong in [&bytes[1..], &bytes[..bytes.len() - 1], &[], &[2; 14]] {
            assert_eq!(Recent::decode(wrong), None);
        }
    }

    #[test]
    fn what_the_broker_has_heard_is_kept_no_longer_than_it_tells_something() {
        let mut recent = Recent::default();
        let take = |recent: &mut Recent, ids: std::ops::Range<u16>| {
            for id in ids {
                recent.take(id, 7, false);
                recent.said(&[id]);
            }
        };
        take(&mut recent, 0..31);
        assert!(!recent.wants_ping());
        take(&mut recent, 31..100);
        assert!(recent.wants_ping());
        recent.pinged();
        take(&mut recent, 100..200);
        assert!(!recent.wants_ping(), "one is on its way");
        recent.ponged();
        assert_eq!(recent.taken.len(), 100, "only what was acknowledged before it");
        // An answer to an earlier ping says nothing of a later one, and none is taken over to another connection.
        recent.pinged();
        recent.connected();
        recent.pinged();
        take(&mut recent, 200..201);
        recent.pinged();
        recent.ponged();
        assert_eq!((recent.taken.len(), recent.knows(200, 7)), (32, true));
        recent.take(201, 7, false);
        recent.pinged();
        recent.ponged();
        recent.ponged();
        assert_eq!(recent.taken.back().map(|taken| taken.told), Some(Told::Not), "it was not acknowledged");
    }
}
