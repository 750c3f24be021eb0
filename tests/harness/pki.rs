//! A throwaway authority, and certificates from it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use certs::Authority;

/// An authority in a folder of its own.
pub struct Pki {
    folder: PathBuf,
    authority: Authority,
}

/// The files of one certificate.
#[derive(Clone, Debug)]
pub struct Files {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key, mode 0600.
    pub key: PathBuf,
}

impl Pki {
    /// A new authority in `folder`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn create(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("make a folder for the authority");
        let authority =
            Authority::create(&folder.join("authority"), "throwaway", 60, now()).expect("make an authority");
        Self { folder: folder.into(), authority }
    }

    /// Key and certificate for `device`.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn device(&self, device: &str) -> Files {
        let made = self.authority.issue_device(device, 30, now()).expect("issue a device's certificate");
        self.write(device, &made.leaf.pem, made.key_pem.as_bytes())
    }

    /// Key and certificate for a gateway on loopback.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn server(&self) -> Files {
        let made = self.authority.issue_server(&["localhost", "127.0.0.1"], 30, now()).expect("issue a certificate");
        self.write("gateway", &made.leaf.pem, made.key_pem.as_bytes())
    }

    /// The revocation list, written anew.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn crl(&self) -> PathBuf {
        self.authority.crl(7, now()).expect("write a revocation list");
        self.authority.crl_path()
    }

    /// Revokes `device`, and writes the list.
    ///
    /// # Panics
    /// When it cannot be done.
    pub fn revoke(&self, device: &str) {
        let which = certs::authority::Which::Device(device);
        self.authority.revoke(which, certs::authority::Reason::KeyCompromise, now()).expect("revoke a device");
    }

    fn write(&self, name: &str, certificate: &str, key: &[u8]) -> Files {
        let path = |ending: &str| self.folder.join(format!("{name}.{ending}"));
        std::fs::write(path("crt"), certificate).expect("write a certificate");
        certs::key_file::create_private(&path("key"), key).expect("write a key");
        Files { authority: self.folder.join("authority/ca.crt"), certificate: path("crt"), key: path("key") }
    }
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "certificates are made for now")]
    SystemTime::now()
}
