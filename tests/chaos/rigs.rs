//! All rigs, in the order in which they run: quick and telling first.

use crate::rig::Rig;

mod broker;
mod clocks;
mod commitcut;
mod cuts;
mod damage;
mod database;
mod diskfull;
mod drill;
mod gateways;
mod iofaults;
mod kills;
mod line;
mod links;
mod machine;
mod offers;
mod powercut;
mod replay;
mod restore;
mod ruled;
mod sensitivity;
mod simulate;

/// Each by its name.
pub(crate) const ALL: &[(&str, Rig)] = &[
    ("powercut", powercut::run),
    ("commitcut", commitcut::run),
    ("iofaults", iofaults::run),
    ("simulate", simulate::run),
    ("damage", damage::run),
    ("replay", replay::run),
    ("broker", broker::run),
    ("cuts", cuts::run),
    ("clocks", clocks::run),
    ("kills", kills::run),
    ("links", links::run),
    ("diskfull", diskfull::run),
    ("restore", restore::run),
    ("drill", drill::run),
    ("gateways", gateways::run),
    ("database", database::run),
    ("sensitivity", sensitivity::run),
    ("machine", machine::run),
];
