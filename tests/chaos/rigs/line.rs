//! What the rigs with an agent behind a proxy share.

use harness::Outpost;
use std::time::Duration;

use crate::rig::{Fault, Found};

/// Numbers that only have to differ: Xorshift (Marsaglia, 2003).
pub(super) struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of `0 .. bound`; of nothing, 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(bound).unwrap_or(0)
    }

    /// `items` in another order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}

/// The faults are over: the backlog must reach zero within `deadline`, and the database must hold just what was
/// offered, without a gap or an alarm.
pub(super) fn conclude(outpost: &mut Outpost, deadline: Duration, how: &str, found: &mut Found) -> anyhow::Result<()> {
    let settled = outpost.settles(deadline)?;
    let verdict = outpost.judge()?;
    let device = outpost.agent.device.clone();
    let say = || format!("{device}, {how}: {verdict}{}", if settled { "" } else { "; the backlog never ended" });
    found.fault(Fault::Lost, verdict.lost as u64, say);
    found.fault(Fault::Doubled, verdict.doubled as u64, say);
    found.fault(Fault::Phantom, verdict.phantom as u64, say);
    let notes = outpost.notes()?;
    found.fault(Fault::WrongGap, notes.len() as u64, || format!("{device}, {how}: {}", notes.join(", ")));
    Ok(())
}
