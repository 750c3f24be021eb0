//! The next certificate of whom this authority has given one already: once a year for a server.

use std::path::Path;
use std::time::SystemTime;

use rcgen::SubjectPublicKeyInfo;

use super::index::Role;
use super::kind;
use super::profile::Profile;
use super::{Authority, AuthorityError, Leaf};
use crate::{identity, pem_file};

impl Authority {
    /// The next certificate for the key and the names of the first one in `file`, for as long as its role allows unless
    /// `days` says otherwise. The file stays as it is, and so does that certificate.
    ///
    /// The key stays, so that there is one file to be replaced, and no moment at which key and certificate are not of each
    /// other. Fails unless this authority issued it, its index still knows it, and it is not revoked.
    pub fn issue_next(&self, file: &Path, days: Option<u32>, now: SystemTime) -> Result<Leaf, AuthorityError> {
        let refused = |why| AuthorityError::NotForThis { path: file.into(), why };
        let chain = pem_file::read_certificates(file)?;
        let leaf = chain.first().ok_or_else(|| refused("holds no certificate"))?;
        kind::examine_issued(leaf, &self.certificate).map_err(refused)?;
        let unknown = || refused("holds a certificate that the index does not know any more: issue a new one");
        let serial = identity::serial(leaf).ok().and_then(|serial| serial.parse().ok()).ok_or_else(unknown)?;
        let record = self.list()?.into_iter().find(|record| record.serial == serial).ok_or_else(unknown)?;
        if record.revoked.is_some() {
            return Err(refused("holds a certificate that is revoked: issue one for a key of its own"));
        }
        let names: Vec<&str> = record.subject.split(',').collect();
        let profile = match record.role {
            Role::Device => Profile::device(&record.subject)?,
            Role::Server => Profile::server(&names)?,
            Role::Authority => {
                return Err(refused("holds the certificate of an authority: have the root sign another"));
            }
        };
        let parsed = kind::parse(leaf).map_err(refused)?;
        let key = SubjectPublicKeyInfo::from_der(parsed.public_key().raw)
            .map_err(|_| refused("has a key that cannot be read"))?;
        self.issue(&profile, &key, days.unwrap_or(profile.days_max()), now)
    }
}
