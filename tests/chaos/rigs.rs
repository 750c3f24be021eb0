//! All rigs, in the order in which they run: quick and telling first.

use crate::rig::Rig;

mod machine;
mod sensitivity;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] = &[("sensitivity", sensitivity::run), ("machine", machine::run)];
mod simulate;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] = &[("simulate", simulate::run)];
mod broker;
mod cuts;
mod line;
mod links;
mod replay;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] =
    &[("broker", broker::run), ("cuts", cuts::run), ("links", links::run), ("replay", replay::run)];
mod commitcut;
mod damage;
mod iofaults;
mod offers;
mod powercut;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] =
    &[("powercut", powercut::run), ("commitcut", commitcut::run), ("iofaults", iofaults::run), ("damage", damage::run)];
