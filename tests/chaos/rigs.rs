//! All rigs, in the order in which they run: quick and telling first.

use crate::rig::Rig;

mod cuts;
mod line;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] = &[("cuts", cuts::run)];
