//! All rigs, in the order in which they run: quick and telling first.

use crate::rig::Rig;

mod machine;
mod sensitivity;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] = &[("sensitivity", sensitivity::run), ("machine", machine::run)];
mod simulate;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] = &[("simulate", simulate::run)];
