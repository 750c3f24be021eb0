//! Real power cuts in a virtual machine of this machine's kind; `make cross` has those of others.

use harness::binary;
use harness::machine::Parts;
use harness::machine::cuts::Trial;
use harness::servers::Missing;

use crate::rig::{Fault, Found, Plan, Size};

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    if plan.size == Size::Short {
        return Ok(Found::left_out("not run in the short form: a boot takes longer than all the others together"));
    }
    let mut found = Found::default();
    let machine = match Parts::native() {
        Ok(parts) => parts,
        Err(error) if error.is::<Missing>() => {
            found.skip("machine_power_cuts", &error.to_string());
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let trial = Trial {
        folder: &plan.folder,
        machines: &[machine],
        agent: binary("tributary-agent"),
        cuts: plan.amount(0, 3, 50),
        speed: plan.amount(1, 2_500, 200),
        seed: plan.seed,
    };
    let outcome = trial.run()?;
    found.did("machine_power_cuts", outcome.cuts);
    let say = || outcome.to_string();
    let (many, few) = (outcome.replay.1 as u64, outcome.replay.0 as u64);
    found.fault(Fault::Lost, outcome.vanished + outcome.history.lost as u64 + few.saturating_sub(many), say);
    found.fault(Fault::Doubled, outcome.history.doubled as u64 + many.saturating_sub(few), say);
    found.fault(Fault::Phantom, outcome.history.phantom as u64, say);
    found.fault(Fault::Mutated, outcome.changed as u64, say);
    Ok(found)
}
