//! All rigs, in the order in which they run: quick and telling first.

use crate::rig::Rig;

mod clocks;
mod diskfull;
mod kills;
mod restore;
mod ruled;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] =
    &[("kills", kills::run), ("clocks", clocks::run), ("diskfull", diskfull::run), ("restore", restore::run)];
