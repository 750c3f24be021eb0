//! The authorities that the gateway trusts or not, their keys and their revocation lists.

use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::pki::Files;

use super::der;
use super::draft::{Draft, List};
use super::keys::{Key, Kind};
use crate::site::now_s;

/// The root that is trusted.
pub(crate) const ROOT: &str = "security root";
/// Its issuing authority.
pub(crate) const ISSUING: &str = "security issuing";
/// The device that all certificates but those of other names are for.
pub(crate) const DEVICE: &str = "meter-7";
/// Serial numbers on the root's and on the issuing authority's list.
pub(crate) const REVOKED_BY_ROOT: u64 = 113;
pub(crate) const REVOKED_BY_ISSUING: u64 = 213;

/// The file of revocation lists.
const LISTS: &str = "lists.crl";

/// Keys, and everything that the gateway is to trust.
pub(crate) struct Workshop {
    pub(crate) folder: PathBuf,
    pub(crate) now: i64,
    /// The root's.
    pub(crate) root: Key,
    /// The issuing authority's.
    pub(crate) issuing: Key,
    /// Of somebody who may not sign.
    pub(crate) stranger: Key,
    /// The device's.
    pub(crate) device: Key,
    /// The issuing authority's certificate, good.
    pub(crate) issuing_der: Vec<u8>,
    anchors: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
    last_serial: u64,
}

impl Workshop {
    /// A root and an issuing authority with good lists.
    ///
    /// # Errors
    /// When `openssl` is missing.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let now = i64::try_from(now_s())?;
        let key = |name| Key::new(folder, name, Kind::Ec("P-256"));
        let (root, issuing, stranger, device) = (key("root")?, key("issuing")?, key("stranger")?, key("device")?);
        let anchor = Draft::authority(ROOT, ROOT, &root, now, 1, None).sign(&root)?;
        let issuing_der = Draft::authority(ISSUING, ROOT, &issuing, now, 2, Some(0)).sign(&root)?;
        let lists = vec![
            List::of(ROOT, now, &[REVOKED_BY_ROOT]).sign(&root)?,
            List::of(ISSUING, now, &[REVOKED_BY_ISSUING]).sign(&issuing)?,
        ];
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            now,
            root,
            issuing,
            stranger,
            device,
            issuing_der,
            anchors: vec![anchor],
            lists,
            last_serial: 1_000,
        })
    }

    /// A new key.
    ///
    /// # Errors
    /// When `openssl` does not make one.
    pub(crate) fn key(&self, name: &str, kind: Kind) -> anyhow::Result<Key> {
        Key::new(&self.folder, name, kind)
    }

    /// A serial number that nothing else has.
    pub(crate) fn serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    /// The root's certificate.
    pub(crate) fn anchor(&self) -> Vec<u8> {
        self.anchors.first().cloned().unwrap_or_default()
    }

    /// A good leaf of the issuing authority, to be changed.
    pub(crate) fn leaf(&mut self) -> Draft {
        let serial = self.serial();
        Draft::leaf(DEVICE, ISSUING, &self.device, self.now, serial)
    }

    /// `draft` signed by the issuing authority, and that one's certificate.
    ///
    /// # Errors
    /// When `openssl` does not sign.
    pub(crate) fn issue(&self, draft: &Draft) -> anyhow::Result<Vec<Vec<u8>>> {
        Ok(vec![draft.sign(&self.issuing)?, self.issuing_der.clone()])
    }

    /// An authority below the root, of `key`: its certificate as `change` made it. `listed` gives it an empty revocation
    /// list, signed by itself.
    ///
    /// # Errors
    /// When `openssl` does not sign.
    pub(crate) fn below_root(
        &mut self,
        name: &str,
        key: &Key,
        change: impl FnOnce(Draft) -> Draft,
    ) -> anyhow::Result<Vec<u8>> {
        let serial = self.serial();
        let draft = change(Draft::authority(name, ROOT, key, self.now, serial, Some(0)));
        self.list(&List::of(name, self.now, &[]), key)?;
        draft.sign(&self.root)
    }

    /// A root that the gateway trusts too.
    ///
    /// # Errors
    /// When `openssl` does not sign.
    pub(crate) fn trust(&mut self, name: &str, key: &Key) -> anyhow::Result<()> {
        let serial = self.serial();
        self.anchors.push(Draft::authority(name, name, key, self.now, serial, None).sign(key)?);
        Ok(())
    }

    /// A revocation list that the gateway gets.
    ///
    /// # Errors
    /// When `openssl` does not sign.
    pub(crate) fn list(&mut self, list: &List, key: &Key) -> anyhow::Result<()> {
        self.lists.push(list.sign(key)?);
        Ok(())
    }

    /// Puts a list of the issuing authority in the place of the one it had, in the file too.
    ///
    /// # Errors
    /// When it cannot be signed or written.
    pub(crate) fn replace_list(&mut self, list: &List) -> anyhow::Result<()> {
        let signed = list.sign(&self.issuing)?;
        *self.lists.get_mut(1).context("the issuing authority's list is the second")? = signed;
        let text: String = self.lists.iter().map(|der| der::pem("X509 CRL", der)).collect();
        certs::files::replace(&self.folder.join(LISTS), text.as_bytes(), 0o644).context("write lists")
    }

    /// The files that the gateway is to read: whom to trust, and all revocation lists.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn trusted(&self) -> anyhow::Result<(PathBuf, PathBuf)> {
        let write = |name: &str, label: &str, all: &[Vec<u8>]| {
            let path = self.folder.join(name);
            let text: String = all.iter().map(|der| der::pem(label, der)).collect();
            std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok((write("trusted.crt", "CERTIFICATE", &self.anchors)?, write(LISTS, "X509 CRL", &self.lists)?))
    }

    /// The files of a device that is as it should be, which trusts `authority`.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn neighbour(&mut self, device: &str, authority: &Path) -> anyhow::Result<Files> {
        let serial = self.serial();
        let chain = self.issue(&Draft::leaf(device, ISSUING, &self.device, self.now, serial))?;
        let certificate = self.folder.join(format!("{device}.crt"));
        let text: String = chain.iter().map(|der| der::pem("CERTIFICATE", der)).collect();
        std::fs::write(&certificate, text)?;
        Ok(Files { authority: authority.to_owned(), certificate, key: self.device.file.clone() })
    }
}
