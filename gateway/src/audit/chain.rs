//! How entries hang together: each carries the hash of the one before and one of its own over all that it says.

use std::fmt;

use sha2::{Digest, Sha256};

use super::entry::Entry;

/// Begins what is hashed, so that nothing else that is ever hashed can be taken for an entry.
const DOMAIN: &str = "tributary audit 1";

/// SHA-256 of an entry; 32 zero bytes before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Hash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut hash = Self::default();
        let digits = text.as_bytes();
        // What `Display` does not write is not read: one hash, one text.
        let is_ours = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 64 || !digits.iter().all(is_ours) {
            return Err(());
        }
        for (byte, pair) in hash.0.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| ())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ())?;
        }
        Ok(hash)
    }
}

/// Where a chain ends: the number and the hash of its last entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// 1, 2, 3 … without a hole; 0 while there is none.
    pub sequence: i64,
    /// Its hash.
    pub hash: Hash,
}

/// An entry in its place, as the store keeps it. What is read from a store may be anything that its columns can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whose trail.
    pub tenant: i64,
    /// Its place.
    pub sequence: i64,
    /// When, in microseconds since the Unix epoch.
    pub time_us: i64,
    /// Who.
    pub actor: String,
    /// What.
    pub event: String,
    /// About which device.
    pub subject: Option<String>,
    /// More, as JSON.
    pub detail: String,
    /// The hash of the entry before.
    pub previous: Hash,
    /// The hash of this one.
    pub hash: Hash,
}

impl Link {
    /// `entry` behind `head`.
    #[must_use]
    pub fn after(head: Head, tenant: i64, entry: &Entry) -> Self {
        let mut link = Self {
            tenant,
            sequence: head.sequence.saturating_add(1),
            time_us: entry.time.0,
            actor: entry.actor.to_string(),
            event: entry.event.name().to_owned(),
            subject: entry.subject.as_ref().map(ToString::to_string),
            detail: entry.detail.to_json(),
            previous: head.hash,
            hash: Hash::default(),
        };
        link.hash = link.expected_hash();
        link
    }

    /// The end of a chain that ends with it.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }

    /// The hash that it must have.
    #[must_use]
    pub fn expected_hash(&self) -> Hash {
        Hash(Sha256::digest(self.encode()).into())
    }

    /// What is hashed: numbers of 8 bytes, big-endian; before each text its length; before the subject whether there is
    /// one; the previous hash at the end. So no two entries are the same bytes.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        put(&mut bytes, DOMAIN);
        for number in [self.tenant, self.sequence, self.time_us] {
            bytes.extend(number.to_be_bytes());
        }
        put(&mut bytes, &self.actor);
        put(&mut bytes, &self.event);
        match &self.subject {
            None => bytes.push(0),
            Some(subject) => {
                bytes.push(1);
                put(&mut bytes, subject);
            }
        }
        put(&mut bytes, &self.detail);
        bytes.extend(self.previous.0);
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_be_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proto::Instant;

    use super::super::entry::{Actor, Detail, Event};
    use super::*;

    fn entry() -> Entry {
        let device: proto::DeviceId = "meter-7".parse().unwrap();
        Entry {
            time: Instant(1_772_323_200_000_000),
            actor: Actor::Device(device.clone()),
            event: Event::DeniedPublish,
            subject: Some(device),
            detail: Detail::none().text("topic", "trib/1/meter-8/batch").number("count", 1),
        }
    }

    /// Golden vectors: the bytes were written down by hand from the description of `encode`, and their hashes are those
    /// of sha256sum. They never change: chains that are kept depend on it.
    #[test]
    fn entries_are_encoded_and_hashed_as_they_always_were() {
        let first = Link::after(Head::default(), 1, &entry());
        let text = |text: &str| [&(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat();
        let wanted = [
            text("tributary audit 1"),
            vec![0, 0, 0, 0, 0, 0, 0, 1],
            vec![0, 0, 0, 0, 0, 0, 0, 1],
            vec![0x00, 0x06, 0x4b, 0xeb, 0x26, 0xc3, 0x60, 0x00],
            text("device meter-7"),
            text("denied_publish"),
            vec![1],
            text("meter-7"),
            text(r#"{"topic":"trib/1/meter-8/batch","count":1}"#),
            vec![0; 32],
        ];
        assert_eq!(first.encode(), wanted.concat());
        assert_eq!(first.hash.to_string(), "22a1041b2e00bcba83062e4a688d2ddf039a8eaf099d67e1f5f362967c815fcc");
        let bare = Entry {
            time: Instant(-1),
            actor: Actor::Operator,
            event: Event::Revoked,
            subject: None,
            detail: Detail::none(),
        };
        let second = Link::after(first.head(), 1, &bare);
        assert_eq!((second.sequence, second.previous), (2, first.hash));
        assert_eq!(second.hash.to_string(), "8ec1013deda4e861dabc91cef0284c878472cb2cf5ef08ff6515cb1a4c7c4322");
    }

    #[test]
    fn what_moves_from_one_field_to_another_is_another_entry() {
        let link = Link::after(Head::default(), 1, &entry());
        let shifted = Link { actor: "device meter-".into(), event: "7denied_publish".into(), ..link.clone() };
        let nobody = Link { subject: None, ..link.clone() };
        let empty = Link { subject: Some(String::new()), ..link.clone() };
        let hashes = [&link, &shifted, &nobody, &empty].map(Link::expected_hash);
        assert!((0..4).all(|one| (0..one).all(|other| hashes[one] != hashes[other])));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written_and_in_no_other_way() {
        let hash = Link::after(Head::default(), 1, &entry()).hash;
        let text = hash.to_string();
        assert_eq!(text.parse(), Ok(hash));
        for other in [&text[1..], &text.to_uppercase(), &format!("+{}", &text[1..]), &format!("{text}0"), ""] {
            assert_eq!(other.parse::<Hash>(), Err(()), "{other}");
        }
    }
}
