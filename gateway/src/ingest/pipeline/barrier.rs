//! What those who are cut off have sent goes no further: it is neither stored nor kept aside, nobody has a receipt for it,
//! and a broker is told that it is done with.

use proto::DeviceId;

use super::recording::Gathered;
use crate::audit::Auditor;
use crate::audit::entry::{Detail, Event};
use crate::enrol::Cuts;
use crate::ingest::totals::Totals;
use crate::ingest::{ConnectionId, RefusalCode, Verdict};

/// What the audit trail says of it.
pub const CUT_OFF: &str = "the device was cut off";

/// Who is cut off, and the trail of what they tried all the same.
#[derive(Clone, Debug)]
pub struct Barrier {
    cuts: Cuts,
    auditor: Auditor,
}

impl Default for Barrier {
    /// One that everybody passes.
    fn default() -> Self {
        Self { cuts: Cuts::default(), auditor: Auditor::none() }
    }
}

impl Barrier {
    /// Before those whom `cuts` knows.
    #[must_use]
    pub fn new(cuts: Cuts, auditor: Auditor) -> Self {
        Self { cuts, auditor }
    }

    pub(super) fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    pub(super) fn is_barred(&self, device: &DeviceId) -> bool {
        self.cuts.is_barred(device)
    }

    pub(super) fn forget(&self, connection: ConnectionId) {
        self.cuts.forget(connection);
    }

    /// Takes out what comes from those who are cut off by now, as far as nothing of it has been `settled`, which is how many
    /// items have their outcome.
    pub(super) fn sift(&self, gathered: &mut Gathered, settled: usize, totals: &Totals) {
        let is_out = |(message, range): &(super::Message, std::ops::Range<usize>)| {
            range.start >= settled && self.cuts.is_over(&message.device, message.connection)
        };
        if !gathered.messages.iter().any(is_out) {
            return;
        }
        let mut gone = 0;
        for (message, mut range) in std::mem::take(&mut gathered.messages) {
            (range.start, range.end) = (range.start - gone, range.end - gone);
            let is_open = range.start >= settled;
            if is_open && self.cuts.is_over(&message.device, message.connection) {
                gone += range.len();
                gathered.items.drain(range);
                totals.cut_off.add(1);
                self.auditor.denied(Event::DeniedPublish, &message.device, Detail::none().text("why", CUT_OFF));
                message.ticket.settle(Verdict::Refused(RefusalCode::NotAuthorized));
            } else {
                gathered.messages.push((message, range));
            }
        }
    }
}
