//! What a device has before it has a certificate: a code, or a certificate that many share.

use std::path::{Path, PathBuf};

use anyhow::Context;
use certs::claim::Code;
use certs::key_file;
use proto::DeviceId;
use proto::enrol::is_claim;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a new device may ask with.
pub enum Claim {
    /// A code that only this device was told.
    Code(Code),
    /// A certificate and its key, as many devices of one make have it.
    Shared {
        /// PEM.
        certificate_file: PathBuf,
        /// PEM, mode 0600.
        key_file: PathBuf,
    },
}

impl Claim {
    /// Of a claim file: a code in its first line, and then perhaps the certificates of whom to trust, which are answered
    /// too, as they are.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it has no code.
    pub fn read(path: &Path) -> anyhow::Result<(Self, Option<String>)> {
        let bytes = key_file::read_private(path)?;
        let text = std::str::from_utf8(&bytes).ok().with_context(|| format!("{} is no text", path.display()))?;
        let (code, anchors) = text.trim_start().split_once('\n').unwrap_or((text, ""));
        let code: Code = code.trim().parse().with_context(|| format!("the first line of {}", path.display()))?;
        let anchors = anchors.trim();
        Ok((Self::Code(code), (!anchors.is_empty()).then(|| format!("{anchors}\n"))))
    }

    /// The name in a shared claim's certificate, by which a broker knows it; none of a code.
    #[must_use]
    pub fn name(&self) -> Option<DeviceId> {
        let Self::Shared { certificate_file, .. } = self else { return None };
        let chain = certs::read_certificates(certificate_file).ok()?;
        let name: DeviceId = certs::dns_name(chain.first()?)?.parse().ok()?;
        is_claim(&name).then_some(name)
    }

    /// What is shown to the gateway.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn identity(&self) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        match self {
            Self::Code(code) => {
                let (certificate, key) = code.identity()?;
                Ok((vec![certificate], key))
            }
            Self::Shared { certificate_file, key_file } => {
                Ok((certs::read_certificates(certificate_file)?, certs::read_private_key(key_file)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_file_has_a_code_and_perhaps_whom_to_trust() {
        let folder = tempfile::tempdir().unwrap();
        let code = Code::draw().unwrap();
        let cases = [
            (format!("{}\n", &*code.text()), None),
            (code.text().to_string(), None),
            (format!("\n{}\n-----BEGIN\nx\n", &*code.text()), Some("-----BEGIN\nx\n".to_owned())),
        ];
        for (place, (text, anchors)) in cases.into_iter().enumerate() {
            let path = folder.path().join(place.to_string());
            key_file::create_private(&path, text.as_bytes()).unwrap();
            let (claim, found) = Claim::read(&path).unwrap();
            let Claim::Code(read) = claim else { panic!("a code") };
            assert_eq!((read.public_key().unwrap(), found), (code.public_key().unwrap(), anchors));
        }
        let path = folder.path().join("wrong");
        key_file::create_private(&path, b"hello").unwrap();
        let error = format!("{:#}", Claim::read(&path).err().unwrap());
        assert!(error.contains("wrong") && error.contains("34 letters"), "{error}");
    }
}
