//! A throwaway authority, and certificates from it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use certs::Authority;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::load::Member;

/// 365 days.
pub const YEAR_S: i64 = 365 * 86_400;

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

    /// An authority for those whose clocks are wrong: valid from some eight years ago for twenty years.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn create_for_years(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("make a folder for the authority");
        let dir = folder.join("authority");
        let authority = Authority::create(&dir, "throwaway", 7_300, at(-8 * YEAR_S)).expect("make an authority");
        Self { folder: folder.into(), authority }
    }

    /// Key and certificate for `device`.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn device(&self, device: &str) -> Files {
        self.device_at(device, 0)
    }

    /// The same, valid for a month from `seconds` from now.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn device_at(&self, device: &str, seconds: i64) -> Files {
        let made = self.authority.issue_device(device, 30, at(seconds)).expect("issue a device's certificate");
        self.write(&named(device, seconds), &made.leaf.pem, made.key_pem.as_bytes())
    }

    /// Names (`fleet-0`, `fleet-1`, …), certificates and keys for `count` devices in one file, for
    /// [`crate::load::Job::fleet`].
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn fleet(&self, count: usize) -> PathBuf {
        let names: Vec<String> = (0..count).map(|place| format!("fleet-{place}")).collect();
        let made =
            self.authority.issue_devices(names.iter().map(String::as_str), 30, now()).expect("issue for a fleet");
        let member = |(name, made): (String, certs::authority::LeafWithKey)| -> Member {
            let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).expect("a key in PEM");
            (name, made.leaf.der.to_vec(), key.secret_der().to_vec())
        };
        let members: Vec<Member> = names.into_iter().zip(made).map(member).collect();
        let path = self.folder.join(format!("fleet-{count}"));
        let bytes = postcard::to_allocvec(&members).expect("a list is written");
        certs::key_file::create_private(&path, &bytes).expect("write a fleet's certificates and keys");
        path
    }

    /// The authority's certificate.
    #[must_use]
    pub fn anchor(&self) -> PathBuf {
        self.folder.join("authority/ca.crt")
    }

    /// Key and certificate for a gateway on loopback.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn server(&self) -> Files {
        self.server_at(0)
    }

    /// The same, valid for a month from `seconds` from now.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn server_at(&self, seconds: i64) -> Files {
        self.server_named(&["localhost", "127.0.0.1"], seconds)
    }

    /// The same, valid since `days` ago, and for a month to come.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn server_since(&self, days: u32) -> Files {
        self.server_for(&["localhost", "127.0.0.1"], -86_400 * i64::from(days), days + 30)
    }

    /// The same for a gateway that has other names.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn server_named(&self, names: &[&str], seconds: i64) -> Files {
        self.server_for(names, seconds, 30)
    }

    fn server_for(&self, names: &[&str], seconds: i64, days: u32) -> Files {
        let made = self.authority.issue_server(names, days, at(seconds)).expect("issue a certificate");
        self.write(&named("gateway", seconds), &made.leaf.pem, made.key_pem.as_bytes())
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

    /// The revocation list as it was if it was written `seconds` from now, for `days`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn crl_at(&self, days: u32, seconds: i64) -> PathBuf {
        self.authority.crl(days, at(seconds)).expect("write a revocation list");
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

/// A name for the files of what is valid at another time.
fn named(name: &str, seconds: i64) -> String {
    if seconds == 0 { name.to_owned() } else { format!("{name}{seconds:+}") }
}

fn at(seconds: i64) -> SystemTime {
    let span = std::time::Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { now() - span } else { now() + span }
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "certificates are made for now")]
    SystemTime::now()
}
