//! How values become bytes: postcard behind a version byte, read without trusting a single length.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The wire version that this crate writes. It reads every version up to this one.
pub const VERSION: u8 = 1;

/// A random number drawn at the first seal after every start of an agent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub [u8; 8]);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A batch's place in its epoch: 1, 2, 3 …
pub type Number = u64;

/// What ties a receipt to the hello it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct Nonce(pub [u8; 8]);

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing at all.
    #[error("empty message")]
    Empty,
    /// Written by a newer version, or no message of ours.
    #[error("version {0} is not known here; this reads versions 1 to {VERSION}")]
    Version(u8),
    /// The bytes end within a field.
    #[error("truncated in {0}")]
    Truncated(&'static str),
    /// A field that breaks its own rules.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A bound that was passed.
    #[error("{what}: {found} is more than {max}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much was found.
        found: u64,
        /// How much there may be.
        max: u64,
    },
    /// Bytes after the end.
    #[error("{0} bytes left over")]
    LeftOver(usize),
    /// Sealed with a key that this reader does not have.
    #[error("sealed with key {0}, which is not known here")]
    Key(u32),
}

/// `message` behind its version byte.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.push(VERSION);
    put(&mut bytes, message);
    bytes
}

/// The one message that `bytes` hold, to the last byte.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, DecodeError> {
    let mut reader = Reader::versioned(bytes)?;
    let message = reader.take(what)?;
    reader.finish()?;
    Ok(message)
}

/// Appends `value`'s postcard form.
pub(crate) fn put<T: Serialize + ?Sized>(bytes: &mut Vec<u8>, value: &T) {
    struct Sink<'a>(&'a mut Vec<u8>);
    impl postcard::ser_flavors::Flavor for Sink<'_> {
        type Output = ();
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    postcard::serialize_with_flavor(value, Sink(bytes))
        .expect("a Vec takes every byte and our types have known lengths");
}

/// Reads values from the front of a slice.
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    #[cfg(test)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Takes the version byte off.
    pub(crate) fn versioned(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            None => Err(DecodeError::Empty),
            Some((&VERSION, left)) => Ok(Self { left }),
            Some((&other, _)) => Err(DecodeError::Version(other)),
        }
    }

    pub(crate) fn take<T: Deserialize<'a>>(&mut self, what: &'static str) -> Result<T, DecodeError> {
        match postcard::take_from_bytes(self.left) {
            Ok((value, left)) => {
                self.left = left;
                Ok(value)
            }
            Err(postcard::Error::DeserializeUnexpectedEnd) => Err(DecodeError::Truncated(what)),
            Err(_) => Err(DecodeError::Malformed(what)),
        }
    }

    /// A count of things that take at least one byte each: more than bytes are left is a lie.
    pub(crate) fn count(&mut self, what: &'static str, max: usize) -> Result<usize, DecodeError> {
        let found: u64 = self.take(what)?;
        let count = usize::try_from(found).unwrap_or(usize::MAX);
        if count > max {
            return Err(DecodeError::TooMany { what, found, max: max as u64 });
        }
        if count > self.left.len() {
            return Err(DecodeError::Truncated(what));
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(DecodeError::Truncated(what))?;
        self.left = left;
        Ok(taken)
    }

    /// Everything that is left, for a field whose end only its own decoder finds; see [`Reader::skip`].
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.left
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.left = self.left.get(count..).unwrap_or_default();
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() { Ok(()) } else { Err(DecodeError::LeftOver(self.left.len())) }
    }
}

/// For `#[serde(deserialize_with)]`: a list of at most `MAX`, grown as it is read rather than by its stated length.
pub(crate) fn at_most<'de, const MAX: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct List<T, const MAX: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = items.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::custom("list too long"));
                }
                list.push(item);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(List::<T, MAX>(PhantomData))
}
