//! Bytes that belong to no frame.

use super::Out;

/// Bytes kept of them: enough to recognise a wrong baud rate.
const KEPT_BYTES: usize = 64;
/// So many belong to no frame for long enough.
#[cfg(any(feature = "energy", feature = "environment"))]
const MUCH_BYTES: u64 = 1_024;

/// Gathers bytes that belong to no frame, so that they become one reject and not one each.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    kept: Vec<u8>,
    count: u64,
}

impl Noise {
    /// These belong to nothing.
    pub(crate) fn skip(&mut self, bytes: &[u8]) {
        let room = KEPT_BYTES - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.count += bytes.len() as u64;
    }

    /// Takes off `buffer` what comes before the first byte that a frame can begin with.
    pub(crate) fn skip_until(&mut self, buffer: &mut Vec<u8>, begins: impl Fn(&u8) -> bool) {
        let start = buffer.iter().position(begins).unwrap_or(buffer.len());
        self.skip(&buffer[..start]);
        buffer.drain(..start);
    }

    /// Tells of it before a frame begins, where that may never be, as with a wrong baud rate.
    #[cfg(any(feature = "energy", feature = "environment"))]
    pub(crate) fn tell_much(&mut self, out: &mut Out) {
        if self.count >= MUCH_BYTES {
            self.tell(out);
        }
    }

    /// Tells of what was gathered, when the next frame has begun or nothing more came.
    pub(crate) fn tell(&mut self, out: &mut Out) {
        if self.count > 0 {
            let reason = format!("{} bytes belong to no frame; check the settings, cable and ground", self.count);
            out.reject("between frames", reason, &self.kept);
            *self = Self::default();
        }
    }
}
