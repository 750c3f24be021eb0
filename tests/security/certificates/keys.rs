//! Keys of every kind, good and weak, by the `openssl` command: what signs certificates, and what proves in a handshake
//! that a certificate is one's own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use rustls::crypto::ring;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::der;

/// What signs, and with which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alg {
    EcdsaSha256,
    EcdsaSha1,
    RsaSha256,
    RsaSha1,
    RsaMd5,
}

impl Alg {
    /// Its AlgorithmIdentifier.
    pub(crate) fn der(self) -> Vec<u8> {
        let null = || der::tlv(5, &[]);
        match self {
            Self::EcdsaSha256 => der::sequence(&[der::oid(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2])]),
            Self::EcdsaSha1 => der::sequence(&[der::oid(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 1])]),
            Self::RsaSha256 => der::sequence(&[der::oid(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11]), null()]),
            Self::RsaSha1 => der::sequence(&[der::oid(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 5]), null()]),
            Self::RsaMd5 => der::sequence(&[der::oid(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 4]), null()]),
        }
    }

    fn digest(self) -> &'static str {
        match self {
            Self::EcdsaSha256 | Self::RsaSha256 => "-sha256",
            Self::EcdsaSha1 | Self::RsaSha1 => "-sha1",
            Self::RsaMd5 => "-md5",
        }
    }
}

/// A private key in a file, and its public one.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) file: PathBuf,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A named curve.
    Ec(&'static str),
    /// Bits, and how many primes: many are found sooner.
    Rsa(u32, u32),
    Ed25519,
}

impl Key {
    /// A new key in `folder`.
    ///
    /// # Errors
    /// When the `openssl` command is missing or does not make such keys.
    pub(crate) fn new(folder: &Path, name: &str, kind: Kind) -> anyhow::Result<Self> {
        let mut arguments: Vec<String> = ["genpkey", "-algorithm"].map(str::to_owned).to_vec();
        match kind {
            Kind::Ec(curve) => arguments.extend(["EC".into(), "-pkeyopt".into(), format!("ec_paramgen_curve:{curve}")]),
            Kind::Rsa(bits, primes) => {
                arguments.extend(["RSA".into(), "-pkeyopt".into(), format!("rsa_keygen_bits:{bits}")]);
                arguments.extend(["-pkeyopt".into(), format!("rsa_keygen_primes:{primes}")]);
            }
            Kind::Ed25519 => arguments.push("ED25519".into()),
        }
        let pem = openssl(&arguments, &[])?;
        let file = folder.join(format!("{name}.key"));
        certs::key_file::create_private(&file, &pem).context("write a key")?;
        let public = openssl(&["pkey", "-pubout", "-outform", "DER"].map(str::to_owned), &pem)?;
        Ok(Self { file, public, kind })
    }

    /// How this key signs certificates.
    pub(crate) fn alg(&self) -> Alg {
        if matches!(self.kind, Kind::Rsa(..)) { Alg::RsaSha256 } else { Alg::EcdsaSha256 }
    }

    /// Signs `message` for a certificate.
    pub(crate) fn sign(&self, alg: Alg, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        if alg == Alg::EcdsaSha256 && self.kind == Kind::Ec("P-256") {
            return self.sign_here(message); // there are hundreds of them, and a process each takes its time
        }
        let file = self.file.display().to_string();
        openssl(&["dgst", alg.digest(), "-sign", &file].map(str::to_owned), message)
    }

    fn sign_here(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let key = ring::sign::any_ecdsa_type(&certs::read_private_key(&self.file)?)?;
        let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).context("a key of P-256")?;
        Ok(signer.sign(message)?)
    }

    /// Signs `message` for a handshake.
    fn prove(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let file = self.file.display().to_string();
        match self.kind {
            Kind::Ec("P-256") => self.sign_here(message),
            Kind::Ec("P-384") => openssl(&["dgst", "-sha384", "-sign", &file].map(str::to_owned), message),
            Kind::Ec(_) => openssl(&["dgst", "-sha256", "-sign", &file].map(str::to_owned), message),
            Kind::Rsa(..) => {
                let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
                let arguments: Vec<_> = ["dgst", "-sha256", "-sign", &file].into_iter().chain(pss).collect();
                openssl(&arguments.into_iter().map(str::to_owned).collect::<Vec<_>>(), message)
            }
            Kind::Ed25519 => {
                // One shot only: it wants to know the length, so it wants a file.
                let text = self.file.with_extension("message");
                std::fs::write(&text, message)?;
                let text = text.display().to_string();
                openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", &file, "-in", &text].map(str::to_owned), &[])
            }
        }
    }

    /// What it calls its signatures in a handshake. No scheme of TLS 1.3 is for a curve outside of it: such a key passes
    /// for one of P-256.
    fn scheme(&self) -> SignatureScheme {
        match self.kind {
            Kind::Ec("P-384") => SignatureScheme::ECDSA_NISTP384_SHA384,
            Kind::Ec("P-521") => SignatureScheme::ECDSA_NISTP521_SHA512,
            Kind::Ec(_) => SignatureScheme::ECDSA_NISTP256_SHA256,
            Kind::Rsa(..) => SignatureScheme::RSA_PSS_SHA256,
            Kind::Ed25519 => SignatureScheme::ED25519,
        }
    }
}

/// How a handshake's signature is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Right,
    /// One bit is another.
    Flipped,
    /// The last byte is missing.
    Cut,
    /// A byte more.
    Longer,
    Empty,
    /// The right bytes under a name of another scheme.
    Called(SignatureScheme),
    /// A signature over something else, as a replayed one would be.
    OverOther,
}

/// A key as rustls wants it: it signs with whatever it is asked for.
#[derive(Debug)]
pub(crate) struct Prover {
    pub(crate) key: Key,
    pub(crate) proof: Proof,
}

impl SigningKey for Prover {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self { key: self.key.clone(), proof: self.proof }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.key.kind {
            Kind::Ec(_) => SignatureAlgorithm::ECDSA,
            Kind::Rsa(..) => SignatureAlgorithm::RSA,
            Kind::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for Prover {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let message = if self.proof == Proof::OverOther { b"another handshake" } else { message };
        let mut signature = self.key.prove(message).map_err(|error| rustls::Error::General(format!("{error:#}")))?;
        match self.proof {
            Proof::Flipped => signature.iter_mut().skip(9).take(1).for_each(|byte| *byte ^= 1),
            Proof::Cut => signature.truncate(signature.len().saturating_sub(1)),
            Proof::Longer => signature.push(0),
            Proof::Empty => signature.clear(),
            Proof::Right | Proof::Called(_) | Proof::OverOther => {}
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        if let Proof::Called(scheme) = self.proof { scheme } else { self.key.scheme() }
    }
}

/// Runs `openssl`, with `input`; what it writes.
fn openssl(arguments: &[String], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("openssl");
    let pipes = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().context("run openssl (Debian: openssl)")?;
    child.stdin.take().context("its input")?.write_all(input).context("write to openssl")?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "openssl {}: {said}", arguments.join(" "));
    Ok(output.stdout)
}
