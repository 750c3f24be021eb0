//! Who is cut off: what the registry says of devices and certificates, and which connections were ended for it.
//!
//! A device that the operator revoked is out with every certificate that it had then, whoever issued it and whatever list
//! names it. What it has been issued since is good.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use proto::{DeviceId, Instant};

use crate::ingest::ConnectionId;

/// Connections that are remembered, latest first: what they had sent may still wait in the pipeline.
const CONNECTIONS_MAX: usize = 65_536;

/// What this gateway knows of who is cut off. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cuts(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    devices: CutOff,
    connections: BTreeSet<ConnectionId>,
}

/// What the registry says, by device.
pub type CutOff = HashMap<DeviceId, Standing>;

/// What the registry says against one device's certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Serial numbers of those that are revoked, as `certs::identity::serial` writes them.
    pub revoked: BTreeSet<String>,
    /// Since when the whole device is cut off, if it is.
    pub cut: Option<Cut>,
}

/// A device that was revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// When. Certificates whose life begins later are others than those that were meant.
    pub since: Instant,
    /// The serial numbers of what it was issued here since.
    pub good: BTreeSet<String>,
}

impl Standing {
    /// Whether a certificate of this serial number, whose life begins at `from` (seconds since 1970), counts no more.
    fn condemns(&self, serial: &str, from: i64) -> bool {
        let is_older = |cut: &Cut| !cut.good.contains(serial) && from.saturating_mul(1_000_000) <= cut.since.0;
        self.revoked.contains(serial) || self.cut.as_ref().is_some_and(is_older)
    }

    /// Whether the device has nothing by which it could be here.
    fn is_barred(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.good.is_empty())
    }
}

impl Cuts {
    /// From now on the registry says this. None if it said so before; else which devices are barred that were not.
    pub fn set(&self, said: CutOff) -> Option<Vec<DeviceId>> {
        let mut known = self.write();
        if known.devices == said {
            return None;
        }
        let before = std::mem::replace(&mut known.devices, said);
        let is_new = |device: &DeviceId| !before.get(device).is_some_and(Standing::is_barred);
        let barred = known.devices.iter().filter(|(device, standing)| standing.is_barred() && is_new(device));
        Some(barred.map(|(device, _)| device.clone()).collect())
    }

    /// A certificate of `device` was issued here just now: it need not wait until the registry is read again.
    pub fn issued(&self, device: &DeviceId, serial: &str) {
        if let Some(cut) = self.write().devices.get_mut(device).and_then(|standing| standing.cut.as_mut()) {
            cut.good.insert(serial.to_owned());
        }
    }

    /// Whether a certificate of `device` counts no more: of this serial number, whose life begins at `from` (seconds since
    /// 1970).
    #[must_use]
    pub fn condemns(&self, device: &DeviceId, serial: &str, from: i64) -> bool {
        self.read().devices.get(device).is_some_and(|standing| standing.condemns(serial, from))
    }

    /// The same of a DER certificate. One that names no device is for others to refuse.
    #[must_use]
    pub fn condemns_der(&self, certificate: &[u8]) -> bool {
        if self.read().devices.is_empty() {
            return false;
        }
        let named = certs::identity::device_id(certificate).ok().and_then(|name| name.parse().ok());
        let serial = certs::identity::serial(certificate).ok();
        let Some(((device, serial), (from, _))) = named.zip(serial).zip(certs::life(certificate)) else { return false };
        self.condemns(&device, &serial, from)
    }

    /// Whether nothing of `device` goes in or out, whatever it comes by: it was revoked, and was issued nothing since.
    #[must_use]
    pub fn is_barred(&self, device: &DeviceId) -> bool {
        self.read().devices.get(device).is_some_and(Standing::is_barred)
    }

    /// A connection is ended because of its certificate: what it has sent and nobody has committed counts no more.
    pub fn end(&self, connection: ConnectionId) {
        let mut known = self.write();
        known.connections.insert(connection);
        if known.connections.len() > CONNECTIONS_MAX {
            known.connections.pop_first();
        }
    }

    /// Nothing of `connection` is under way any more.
    pub fn forget(&self, connection: ConnectionId) {
        if self.read().connections.contains(&connection) {
            self.write().connections.remove(&connection);
        }
    }

    /// Whether what `device` sent by `connection` is not to be taken.
    #[must_use]
    pub fn is_over(&self, device: &DeviceId, connection: ConnectionId) -> bool {
        let known = self.read();
        known.connections.contains(&connection) || known.devices.get(device).is_some_and(Standing::is_barred)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    fn cut(since_s: i64, good: &[&str]) -> Standing {
        let good = good.iter().map(|serial| (*serial).to_owned()).collect();
        Standing { revoked: ["07".to_owned()].into(), cut: Some(Cut { since: Instant(since_s * 1_000_000), good }) }
    }

    #[test]
    fn a_device_that_was_cut_off_is_out_with_all_that_it_had_and_in_by_what_it_was_issued_since() {
        let (cuts, meter) = (Cuts::default(), device("meter-7"));
        assert_eq!(cuts.set([(meter.clone(), cut(100, &[]))].into()), Some(vec![meter.clone()]));
        assert!(cuts.is_barred(&meter) && !cuts.is_barred(&device("meter-8")));
        assert!(cuts.condemns(&meter, "07", 0), "it is known");
        assert!(cuts.condemns(&meter, "99", 100), "another authority issued it, in the same second");
        assert!(!cuts.condemns(&meter, "99", 101), "another authority issued it since");
        assert!(!cuts.condemns(&device("meter-8"), "07", 0), "another device's, of another authority");
        cuts.issued(&meter, "0a");
        assert!(!cuts.condemns(&meter, "0a", 0) && cuts.condemns(&meter, "99", 0) && !cuts.is_barred(&meter));
        assert_eq!(cuts.set([(meter.clone(), cut(100, &["0a"]))].into()), None, "nothing new");
        assert_eq!(cuts.set([(meter.clone(), cut(200, &[]))].into()), Some(vec![meter.clone()]), "once more");
        assert_eq!(cuts.set(CutOff::new()), Some(vec![]));
        assert!(!cuts.condemns(&meter, "99", 0));
    }

    #[test]
    fn connections_that_were_ended_are_remembered_within_a_bound() {
        let (cuts, meter) = (Cuts::default(), device("meter-7"));
        (1..=CONNECTIONS_MAX as u64 + 1).for_each(|id| cuts.end(ConnectionId(id)));
        assert!(!cuts.is_over(&meter, ConnectionId(1)) && cuts.is_over(&meter, ConnectionId(2)));
        cuts.forget(ConnectionId(2));
        assert!(!cuts.is_over(&meter, ConnectionId(2)));
    }
}
