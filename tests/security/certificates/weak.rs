//! Keys that are too weak or of a kind that nobody takes, old hashes, and keys that are not in the client's hands.

use rustls::SignatureScheme;

use super::cases::{Cases, DECRYPT, ILLEGAL_PARAMETER, UNSUPPORTED};
use super::client::{Outcome, Shown};
use super::der;
use super::draft::Draft;
use super::keys::{Alg, Key, Kind, Proof};

impl Cases<'_> {
    /// Keys and algorithms.
    pub(super) fn keys(&mut self) -> anyhow::Result<()> {
        self.family("key")?;
        let kinds = [
            ("P-384, good", Kind::Ec("P-384"), Outcome::LetIn),
            ("Ed25519, good", Kind::Ed25519, Outcome::LetIn),
            ("RSA of 1024 bits", Kind::Rsa(1_024, 2), Outcome::Alert(UNSUPPORTED)),
            ("RSA of 2048 bits", Kind::Rsa(2_048, 2), Outcome::Alert(UNSUPPORTED)),
            ("RSA of 8192 bits", Kind::Rsa(8_192, 5), Outcome::Alert(UNSUPPORTED)),
            ("P-224", Kind::Ec("P-224"), Outcome::Alert(DECRYPT)),
            ("P-521", Kind::Ec("P-521"), Outcome::Alert(ILLEGAL_PARAMETER)),
            ("secp256k1", Kind::Ec("secp256k1"), Outcome::Alert(DECRYPT)),
            ("brainpoolP256r1", Kind::Ec("brainpoolP256r1"), Outcome::Alert(DECRYPT)),
        ];
        for (place, (name, kind, wanted)) in kinds.into_iter().enumerate() {
            let key = self.workshop.key(&format!("kind-{place}"), kind)?;
            let draft = Draft { public: key.public.clone(), ..self.workshop.leaf() };
            let chain = self.workshop.issue(&draft)?;
            self.shown(name, Some(Shown { chain, key, proof: Proof::Right }), wanted);
        }
        let draft = Draft { alg: Some(Alg::EcdsaSha1), ..self.workshop.leaf() };
        self.alert("signed with SHA-1", &draft, DECRYPT)?;
        let rsa = self.workshop.key("rsa-issuer", Kind::Rsa(2_048, 2))?;
        for (name, alg, wanted) in [
            ("RSA issuer, good", Alg::RsaSha256, Outcome::LetIn),
            ("RSA issuer, signed with SHA-1", Alg::RsaSha1, Outcome::Alert(DECRYPT)),
            ("RSA issuer, signed with MD5", Alg::RsaMd5, Outcome::Alert(DECRYPT)),
        ] {
            let issuer = self.workshop.below_root(name, &rsa, |draft| draft)?;
            let draft = Draft { issuer: der::name(name), alg: Some(alg), ..self.workshop.leaf() };
            self.push(name, vec![draft.sign(&rsa)?, issuer], wanted);
        }
        let weak = self.workshop.key("weak-issuer", Kind::Rsa(1_024, 2))?;
        let issuer = self.workshop.below_root("weak issuer", &weak, |draft| draft)?;
        let draft = Draft { issuer: der::name("weak issuer"), ..self.workshop.leaf() };
        self.push("RSA issuer of 1024 bits", vec![draft.sign(&weak)?, issuer], Outcome::Alert(DECRYPT));
        Ok(())
    }

    /// Whether the certificate's key is in the client's hands.
    pub(super) fn proofs(&mut self) -> anyhow::Result<()> {
        self.family("proof")?;
        let draft = self.workshop.leaf();
        let chain = self.workshop.issue(&draft)?;
        let (device, stranger) = (self.workshop.device.clone(), self.workshop.stranger.clone());
        let mut case = |name: &str, key: &Key, proof: Proof, alert: u8| {
            let shown = Shown { chain: chain.clone(), key: key.clone(), proof };
            self.shown(name, Some(shown), Outcome::Alert(alert));
        };
        case("another private key", &stranger, Proof::Right, DECRYPT);
        case("a bit of the signature", &device, Proof::Flipped, DECRYPT);
        case("signature cut off", &device, Proof::Cut, DECRYPT);
        case("signature with a byte more", &device, Proof::Longer, DECRYPT);
        case("no signature", &device, Proof::Empty, DECRYPT);
        case("signature of another handshake", &device, Proof::OverOther, DECRYPT);
        let called = |scheme| Proof::Called(scheme);
        case("called RSA", &device, called(SignatureScheme::RSA_PSS_SHA256), DECRYPT);
        case("called P-384", &device, called(SignatureScheme::ECDSA_NISTP384_SHA384), DECRYPT);
        case("called SHA-1", &device, called(SignatureScheme::ECDSA_SHA1_Legacy), ILLEGAL_PARAMETER);
        case(
            "called by a number that nobody knows",
            &device,
            called(SignatureScheme::Unknown(0xFAFA)),
            ILLEGAL_PARAMETER,
        );
        Ok(())
    }
}
