//! Sinks that fail on purpose.

use std::sync::{Arc, Mutex};

use gateway::store::sink::{Record, Refused, Sink, SinkError};

/// Where a write comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Before the first record.
    Before,
    /// In the middle.
    Halfway,
    /// After the last record; but nobody hears of it.
    After,
}

/// A sink through which writes fail when it is told so.
pub(super) struct Cutting<S> {
    sink: S,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl<S> Cutting<S> {
    /// Also gives the switch.
    pub(super) fn new(sink: S) -> (Self, Arc<Mutex<Option<Cut>>>) {
        let cut = Arc::<Mutex<Option<Cut>>>::default();
        (Self { sink, cut: cut.clone() }, cut)
    }
}

impl<S: Sink> Sink for Cutting<S> {
    fn write(&mut self, records: &[Record]) -> Result<Vec<Refused>, SinkError> {
        let cut = *self.cut.lock().unwrap();
        let reach = match cut {
            None => return self.sink.write(records),
            Some(Cut::Before) => 0,
            Some(Cut::Halfway) => records.len() / 2,
            Some(Cut::After) => records.len(),
        };
        self.sink.write(&records[..reach])?;
        // Not `Away`: that would be tried again at once.
        Err(SinkError::Unfit(format!("cut {cut:?}")))
    }
}
