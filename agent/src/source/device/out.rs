//! What a codec answers with.

use proto::Instant;

use crate::source::{INTAKE_SAMPLES_MAX, Reject, Sample};

/// Readings, rejects, bytes to write, and when to be called again. The shell takes all of it after each call.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(super) parts: Vec<Part>,
    pub(super) write: Vec<u8>,
    pub(super) wake_at: Option<Instant>,
    pub(super) hang_up: Option<String>,
    pub(super) well: bool,
}

/// What is committed at once.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) samples: Vec<Sample>,
    pub(super) rejects: Vec<Reject>,
    pub(super) urgent: bool,
    pub(super) cursor: Option<Vec<u8>>,
}

impl Out {
    /// Bytes for the device. They are sent once everything that was read so far has been handed over.
    #[cfg(any(feature = "energy", feature = "environment", feature = "glucose", feature = "vitals"))]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.write.extend_from_slice(bytes);
    }

    /// When [`super::Codec::due`] is to be called, since boot; a later call takes the place of an earlier one.
    pub(crate) fn wake_at(&mut self, at: Instant) {
        self.wake_at = Some(at);
    }

    /// No deadline.
    #[cfg(feature = "glucose")]
    pub(crate) fn wake_never(&mut self) {
        self.wake_at = None;
    }

    /// A reading.
    #[cfg(any(feature = "energy", feature = "environment", feature = "glucose", feature = "vitals"))]
    pub(crate) fn sample(
        &mut self,
        series: &std::sync::Arc<proto::Series>,
        basis: proto::Basis,
        reading: proto::Reading,
    ) {
        self.take(Sample { series: std::sync::Arc::clone(series), basis, reading });
    }

    /// The same, where it is one already.
    pub(crate) fn take(&mut self, sample: Sample) {
        self.well = true;
        self.part(1).samples.push(sample);
    }

    /// What was read since the last commit must not linger.
    pub(crate) fn urgent(&mut self) {
        self.part(0).urgent = true;
    }

    /// Where to resume once everything before it is stored.
    #[cfg(any(feature = "energy", feature = "glucose"))]
    pub(crate) fn commit(&mut self, cursor: Vec<u8>) {
        self.part(0).cursor = Some(cursor);
    }

    /// Input that became no reading; `place` is seen from the port: `line 17`. The reason repeats no values.
    pub(crate) fn reject(&mut self, place: impl Into<String>, reason: impl Into<String>, bytes: &[u8]) {
        self.part(0).rejects.push(Reject::new(place.into(), reason.into(), bytes));
    }

    /// The device has been understood: the next trouble with it is a first one.
    pub(crate) fn well(&mut self) {
        self.well = true;
    }

    /// Closes the port and opens it again after a while; `problem` says why, once.
    pub(crate) fn hang_up(&mut self, problem: impl Into<String>) {
        self.hang_up = Some(problem.into());
    }

    /// What is to be written, for who has no port. For `super::fuzzing` and tests.
    pub(crate) fn take_write(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.write)
    }

    /// The deadline, for the same.
    pub(crate) fn take_deadline(&mut self) -> Option<Instant> {
        self.wake_at.take()
    }

    /// How many readings are in it, for the same.
    pub(crate) fn readings(&self) -> usize {
        self.parts.iter().map(|part| part.samples.len()).sum()
    }

    /// The part that is not committed yet, with room for `more` readings.
    fn part(&mut self, more: usize) -> &mut Part {
        let full = |part: &Part| part.cursor.is_some() || part.samples.len() + more > INTAKE_SAMPLES_MAX;
        if self.parts.last().is_none_or(full) {
            self.parts.push(Part::default());
        }
        self.parts.last_mut().expect("one was pushed")
    }
}

#[cfg(test)]
impl Out {
    /// All readings that are in it.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.parts.iter().flat_map(|part| &part.samples)
    }

    /// How many readings each commit has, and its cursor.
    pub(crate) fn committed(&self) -> Vec<(usize, Option<Vec<u8>>)> {
        self.parts.iter().map(|part| (part.samples.len(), part.cursor.clone())).collect()
    }
}
