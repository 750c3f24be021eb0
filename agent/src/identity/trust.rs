//! What an answer about a certificate says beside it: whom the gateway would have the device trust, and what signs its receipts.
//!
//! The first certificate is asked for with a claim that a person brought, and what comes with it is kept. What comes with a
//! later one is compared with what the files say, told, and **not** taken over: the answer is not signed, and a broker that
//! carries it could have written it. Who runs that broker could make the device believe another server for good, or let go of
//! readings that nobody stored.

use std::path::{Path, PathBuf};

use proto::enrol::{Certificate, Issued};
use tracing::error;

use super::receipts::ReceiptKey;
use crate::uplink::Settings;

/// Where what the device trusts is written.
#[derive(Clone, Debug)]
pub struct Trust {
    authority_file: PathBuf,
    receipt_key_file: Option<PathBuf>,
}

impl Trust {
    /// As `settings` say.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self::at(&settings.authority_file, settings.receipt_key_file.as_deref())
    }

    /// In these files.
    pub(super) fn at(authority_file: &Path, receipt_key_file: Option<&Path>) -> Self {
        Self { authority_file: authority_file.into(), receipt_key_file: receipt_key_file.map(Into::into) }
    }

    /// Whether the gateway names an authority that the file of them does not.
    pub(super) fn lacks_an_anchor(&self, issued: &Issued) -> bool {
        let known = std::fs::read_to_string(&self.authority_file).unwrap_or_default();
        let pem = |Certificate(anchor): &Certificate| certs::signing_request::certificate_pem(anchor);
        issued.anchors.iter().any(|anchor| !known.contains(pem(anchor).trim()))
    }

    /// Whether receipts are signed with another key than the one that the device goes by.
    fn has_another_key(&self, issued: &Issued) -> bool {
        let (Some(file), Some(key)) = (&self.receipt_key_file, &issued.receipt_key) else { return false };
        std::fs::read_to_string(file).is_ok_and(|known| known.trim() != ReceiptKey::text(key).trim())
    }

    /// Says what a person has to see to. Reads files. Answers whether there was anything to say.
    pub(super) fn compare(&self, issued: &Issued) -> bool {
        let (anchor, key) = (self.lacks_an_anchor(issued), self.has_another_key(issued));
        if anchor {
            let file = self.authority_file.display();
            error!(
                "the gateway trusts authorities that {file} does not name; add them by hand before the old ones end"
            );
        }
        if key {
            error!("the gateway signs receipts with another key than `uplink.receipt_key_file` has; bring it by hand");
        }
        anchor || key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_files_is_told_and_what_is_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (authority_file, receipts) = (folder.path().join("ca.crt"), folder.path().join("receipts.pub"));
        let pem = |bytes: &[u8]| certs::signing_request::certificate_pem(bytes);
        std::fs::write(&authority_file, pem(b"one") + &pem(b"two")).unwrap();
        std::fs::write(&receipts, ReceiptKey::text(&[7; 32])).unwrap();
        let trust = Trust::at(&authority_file, Some(&receipts));
        let issued = |anchors: &[&[u8]], receipt_key| {
            let anchors = anchors.iter().map(|anchor| Certificate(anchor.to_vec())).collect();
            Issued { chain: Vec::new(), anchors, receipt_key }
        };
        assert!(!trust.compare(&issued(&[], None)));
        assert!(!trust.compare(&issued(&[b"two"], Some([7; 32]))), "one that is named and not used does no harm");
        assert!(trust.compare(&issued(&[b"two", b"three"], Some([7; 32]))));
        assert!(trust.compare(&issued(&[b"one"], Some([8; 32]))));
        let unsigned = Trust { receipt_key_file: None, ..trust };
        assert!(!unsigned.compare(&issued(&[b"one"], Some([8; 32]))), "it goes by none");
    }
}
