//! All rigs, in the order in which they run: quick and telling first.

use crate::rig::Rig;

mod commitcut;
mod damage;
mod iofaults;
mod offers;
mod powercut;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] =
    &[("powercut", powercut::run), ("commitcut", commitcut::run), ("iofaults", iofaults::run), ("damage", damage::run)];
