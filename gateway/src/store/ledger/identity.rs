//! Whose a SenML pack says that it is. Readings are always their certificate's device's; a pack whose names are another
//! device's was sent with the wrong certificate, or by somebody who has no business there.
//!
//! SenML names are free (RFC 8428, section 4.5.1): `hall:temperature` is a name like any other, and so is the URN of a sensor
//! behind a bridge. What counts is whether a name begins with the id of another device that is known here:
//!
//! | name | ids that it may begin with |
//! |---|---|
//! | `meter-8/power`, `meter-8:power` | `meter-8` |
//! | `trib/1/meter-8/power` | `meter-8` |
//! | `urn:dev:mac:0024befffe804ff1/in` (RFC 9039: `mac`, `ow`, and any other type) | `0024befffe804ff1` |
//! | `urn:dev:os:32473-meter-8:power` (also `org`) | `32473-meter-8`, `meter-8` |
//! | `urn:dev:ops:32473-pump-meter-8:power` | `32473-pump-meter-8`, `pump-meter-8`, `meter-8` |
//!
//! A name that begins with the sender's own id is its own, whatever else it could be read as.

use std::collections::{BTreeSet, HashMap};

use proto::{DeviceId, Instant};

use super::{StoreError, TENANT, Work};
use crate::store::Pack;
use crate::store::sql::{Db, params};

/// How long an id that is no device's is not asked for again: who was enrolled is known everywhere within this.
const STRANGE_US: i64 = 10_000_000;
/// Such ids remembered; beyond it all are forgotten.
const STRANGERS_MAX: usize = 8_192;

/// Ids that are no device's, and since when that is known.
#[derive(Default)]
pub(super) struct Strangers(HashMap<DeviceId, Instant>);

impl Work<'_> {
    /// The other device whose name a pack bears, if there is one.
    pub(super) fn other_device(&mut self, pack: &Pack) -> Result<Option<DeviceId>, StoreError> {
        let mut ids = BTreeSet::new();
        for column in &pack.columns {
            let said = said(column.series.name.as_str());
            if !said.contains(&pack.device) {
                ids.extend(said);
            }
        }
        for id in ids {
            if self.memory.strangers.is_device(self.db, &id, self.now)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

impl Strangers {
    /// Whether `id` is that of a device that was ever heard, is named in the settings, or has a certificate.
    fn is_device(&mut self, db: Db<'_>, id: &DeviceId, now: Instant) -> Result<bool, StoreError> {
        let is_fresh = |since: &Instant| (0..STRANGE_US).contains(&now.0.saturating_sub(since.0));
        if self.0.get(id).is_some_and(is_fresh) {
            return Ok(false);
        }
        let sql = "select 1 from device where tenant = ?1 and name = ?2
                   union all select 1 from certificate where device = ?2 limit 1";
        let found = db.prepare(sql).first(params![TENANT, id.as_str()], |_| Ok(()))?;
        if found.is_none() {
            if self.0.len() >= STRANGERS_MAX {
                self.0.clear();
            }
            self.0.insert(id.clone(), now);
        }
        Ok(found.is_some())
    }
}

/// The ids that a name may begin with.
fn said(name: &str) -> Vec<DeviceId> {
    let ids: Vec<&str> = if let Some(rest) = name.strip_prefix("trib/1/") {
        rest.split('/').take(1).collect()
    } else if let Some((kind, rest)) = name.strip_prefix("urn:dev:").and_then(|rest| rest.split_once(':')) {
        of_urn(kind, rest.split([':', '/', '_']).next().unwrap_or_default())
    } else {
        name.split_once(['/', ':']).map(|(first, _)| first).into_iter().collect()
    };
    ids.into_iter().filter_map(|id| id.to_ascii_lowercase().parse().ok()).collect()
}

/// Of the body of a device's URN: all of it, and what is behind an organization's number and its product's name.
fn of_urn<'a>(kind: &str, body: &'a str) -> Vec<&'a str> {
    let dashes = match kind {
        "os" | "org" => 1,
        "ops" => 2,
        _ => 0,
    };
    let behind = body.match_indices('-').take(dashes).filter_map(|(at, _)| body.get(at + 1..));
    std::iter::once(body).chain(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_an_id_or_with_none() {
        for (name, wanted) in [
            ("glucose", &[][..]),
            ("meter-8", &[]),
            ("power.active", &[]),
            ("meter-8/power", &["meter-8"]),
            ("meter-8:power/a", &["meter-8"]),
            ("Meter_8:power", &[]),
            ("trib/1/meter-8/batch", &["meter-8"]),
            ("trib/1/meter-8", &["meter-8"]),
            ("trib/2/meter-8", &["trib"]),
            ("urn:dev:mac:0024BEFFFE804FF1/in", &["0024befffe804ff1"]),
            ("urn:dev:ow:10e2073a01080063", &["10e2073a01080063"]),
            ("urn:dev:os:32473-meter-8:power", &["32473-meter-8", "meter-8"]),
            ("urn:dev:org:32473-meter-8_pump", &["32473-meter-8", "meter-8"]),
            ("urn:dev:ops:32473-pump-meter-8:power", &["32473-pump-meter-8", "pump-meter-8", "meter-8"]),
            ("urn:dev:", &["urn"]),
            ("urn:uuid:f81d4fae", &["urn"]),
        ] {
            let ids: Vec<String> = said(name).iter().map(ToString::to_string).collect();
            assert_eq!(ids, wanted, "{name}");
        }
    }
}
