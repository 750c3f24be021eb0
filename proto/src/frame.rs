//! What one publish carries: a header, and batches of consecutive numbers.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::FRAME_BYTES_MAX;
use crate::body::BodyHash;
use crate::ranges::Range;
use crate::time::Clock;
use crate::wire::{DecodeError, Epoch, Number, Reader, VERSION, put};

/// Batches one frame may carry.
pub const FRAME_BATCHES_MAX: usize = 1_024;
/// Readings that a frame may carry: as many as one body. A steady series seals to almost nothing, so without a bound of
/// its own a small frame could ask for gigabytes.
pub const FRAME_READINGS_MAX: usize = crate::BODY_READINGS_MAX;
/// Bytes that a frame takes beside its bodies' own: version, header, count.
pub const HEADER_BYTES_MAX: usize = 64;
/// Bytes that a frame takes for each body beside the body itself: hash and length.
pub const PER_BODY_BYTES_MAX: usize = 16 + 3;
/// The largest body that a frame of its own can carry.
pub const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX - HEADER_BYTES_MAX - PER_BODY_BYTES_MAX;

/// Which of two queues a batch leaves by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Lane {
    /// Newest first: what people watch.
    Live,
    /// Oldest first: what was missed. It raises no alerts.
    Backfill,
}

/// What one publish carries. All its batches are of one epoch, hence of one boot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// What holds for all bodies.
    pub header: Header,
    /// The batches, `header.first` and the numbers that follow it.
    pub bodies: Vec<Sealed>,
}

/// What holds for all bodies of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Which epoch.
    pub epoch: Epoch,
    /// The first body's number.
    pub first: Number,
    /// How it left.
    pub lane: Lane,
    /// What the device knows of the time in the boot that the bodies are of.
    pub clock: Clock,
}

/// A body's bytes with the hash they had when they were sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    /// The hash.
    pub hash: BodyHash,
    /// The bytes, as [`crate::Body::encode`] made them.
    pub body: Vec<u8>,
}

impl Sealed {
    /// `body` with its hash.
    #[must_use]
    pub fn new(body: Vec<u8>) -> Self {
        Self { hash: BodyHash::of(&body), body }
    }

    /// Whether the bytes still are what was sealed.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        BodyHash::of(&self.body) == self.hash
    }

    /// Bytes it takes in a frame, at most.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.body.len() + PER_BODY_BYTES_MAX
    }
}

impl Frame {
    /// The numbers of its batches.
    #[must_use]
    pub fn numbers(&self) -> Option<Range> {
        let more = (self.bodies.len() as u64).checked_sub(1)?;
        Range::new(self.header.first, self.header.first.checked_add(more)?)
    }

    /// The bytes to publish.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let size: usize = self.bodies.iter().map(Sealed::frame_bytes).sum();
        let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + size);
        bytes.push(VERSION);
        put(&mut bytes, &(self.header, self.bodies.len() as u64));
        for sealed in &self.bodies {
            put(&mut bytes, &(sealed.hash, sealed.body.as_slice()));
        }
        bytes
    }

    /// The frame in `bytes`; its bodies stay sealed. Fails where a bound is passed, and where the numbers end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > FRAME_BYTES_MAX {
            let (found, max) = (bytes.len() as u64, FRAME_BYTES_MAX as u64);
            return Err(DecodeError::TooMany { what: "bytes of a frame", found, max });
        }
        let mut reader = Reader::versioned(bytes)?;
        let header: Header = reader.take("frame header")?;
        let mut bodies = Vec::new();
        for _ in 0..reader.count("batches", FRAME_BATCHES_MAX)? {
            let hash = reader.take("body hash")?;
            let length = reader.count("body", BODY_BYTES_MAX)?;
            bodies.push(Sealed { hash, body: reader.bytes(length, "body")?.to_vec() });
        }
        reader.finish()?;
        let frame = Self { header, bodies };
        match frame.numbers() {
            Some(range) if range.first > 0 && range.last <= i64::MAX as u64 => Ok(frame),
            _ => Err(DecodeError::Malformed("batch numbers")),
        }
    }
}
