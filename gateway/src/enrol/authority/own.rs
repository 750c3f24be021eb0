//! Our own authority, in a folder.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use certs::authority::{Reason, Record, Role, Serial, Which};
use proto::{DeviceId, Instant};

use super::{Authority, AuthorityError, Held, Issued, seconds};

/// The authority of a folder that `tributary-certs` made.
pub struct Own {
    folder: PathBuf,
    days: u32,
}

impl Own {
    /// That of `folder`, whose certificates live `days`.
    ///
    /// # Errors
    /// The folder has no authority, or it cannot be used.
    pub fn open(folder: &Path, days: u32) -> Result<Self, certs::AuthorityError> {
        // Now, and not when the first device asks.
        certs::Authority::open(folder)?;
        Ok(Self { folder: folder.into(), days })
    }

    /// Opened for each call: a folder that was changed, or whose key was replaced, needs no restart.
    fn authority(&self) -> Result<certs::Authority, certs::AuthorityError> {
        certs::Authority::open(&self.folder)
    }
}

impl Authority for Own {
    fn issue(&mut self, device: &DeviceId, request: &[u8], now: SystemTime) -> Result<Issued, AuthorityError> {
        let leaf = match self.authority()?.sign_request(request, device.as_str(), self.days, now) {
            Err(certs::AuthorityError::Request(why)) => return Err(AuthorityError::Request(why.to_string())),
            leaf => leaf?,
        };
        let serial = certs::identity::serial(&leaf.der).map_err(|error| AuthorityError::Unreadable(Some(error)))?;
        Ok(Issued { serial, not_after: end(&leaf.record), chain: leaf.pem.into_bytes() })
    }

    fn certificates(&mut self, device: &DeviceId) -> Result<Vec<Held>, AuthorityError> {
        // The index forgets what expired 90 days ago.
        let is_meant = |record: &Record| record.role == Role::Device && record.subject == device.as_str();
        let held = |record: Record| {
            let serial = record.serial.to_string();
            Held { name: serial.clone(), serial, device: device.clone(), not_after: end(&record) }
        };
        Ok(self.authority()?.list()?.into_iter().filter(is_meant).map(held).collect())
    }

    fn revoke(&mut self, held: &Held, reason: Reason, now: SystemTime) -> Result<(), AuthorityError> {
        let serial: Serial = held.name.parse().map_err(|_| AuthorityError::Unreadable(None))?;
        self.authority()?.revoke(Which::Serial(serial), reason, now)?;
        Ok(())
    }
}

fn end(record: &Record) -> Instant {
    seconds(i64::try_from(record.not_after.seconds()).unwrap_or(i64::MAX))
}
