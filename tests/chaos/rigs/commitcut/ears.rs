//! What the gateway says, and how long the tape was when it said it.

use gateway::ingest::{Messages, Verdict};
use proto::message::{Receipt, Settlement};
use tokio::sync::oneshot;

use super::feed::Identity;

/// Something the gateway said, and how long the tape was at the latest when it did.
pub(super) struct Heard {
    pub(super) mark: usize,
    pub(super) claims: Vec<(Identity, Claim)>,
}

/// What it said of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Stored,
    Quarantined,
    /// Settled, one way or another.
    Settled,
}

/// What can be heard. It is asked before everything that reaches the disk, on the very thread that commits: what was said
/// ahead of a commit is heard ahead of it.
#[derive(Default)]
pub(super) struct Ears {
    pub(super) links: Vec<(&'static str, Messages)>,
    pub(super) verdicts: Vec<(Vec<Identity>, oneshot::Receiver<Verdict>)>,
    pub(super) heard: Vec<Heard>,
}

impl Ears {
    /// Takes in all that was said, at the latest when the tape was as long as `mark`.
    pub(super) fn listen(&mut self, mark: usize) {
        for (device, link) in &mut self.links {
            while let Ok((_, payload)) = link.try_recv() {
                let claims = Receipt::decode(&payload).map(|receipt| claims(device, &receipt)).unwrap_or_default();
                self.heard.push(Heard { mark, claims });
            }
        }
        let heard = &mut self.heard;
        self.verdicts.retain_mut(|(identities, verdict)| match verdict.try_recv() {
            Ok(verdict) => {
                let settled = identities.iter().map(|identity| (*identity, Claim::Settled));
                let claims = if verdict == Verdict::Settled { settled.collect() } else { Vec::new() };
                heard.push(Heard { mark, claims });
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => false,
        });
    }
}

fn claims(device: &'static str, receipt: &Receipt) -> Vec<(Identity, Claim)> {
    let of = |settled: &proto::message::Settled| {
        let claim = match settled.state {
            Settlement::Stored => Claim::Stored,
            Settlement::Quarantined => Claim::Quarantined,
            Settlement::Gap => Claim::Settled,
        };
        let epoch = receipt.epoch.0;
        (settled.range.first..=settled.range.last).map(move |number| ((device, epoch, number), claim))
    };
    receipt.ranges.iter().flat_map(of).collect()
}
