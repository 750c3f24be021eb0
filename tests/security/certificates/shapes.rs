//! What no certificate looks like, and bytes that are none.

use super::cases::{BAD_CERTIFICATE, Cases, DECRYPT, UNKNOWN, UNSUPPORTED};
use super::client::Outcome;
use super::draft::{Draft, Extension, NAMES, dns};
use super::keys::Alg;
use super::{der, draft};

impl Cases<'_> {
    /// What no certificate looks like.
    pub(super) fn shapes(&mut self) -> anyhow::Result<()> {
        self.family("shape")?;
        let good = |cases: &mut Self| cases.workshop.leaf();
        let draft = good(self).and(Extension(&[0x2A, 3, 4], false, der::tlv(5, &[])));
        self.leaf("good, something more that is not critical", &draft, Outcome::LetIn)?;
        let draft = good(self).and(Extension(&[0x2A, 3, 4], true, der::tlv(5, &[])));
        self.alert("something critical that nobody knows", &draft, UNKNOWN)?;
        let draft = Draft { version: None, extensions: Vec::new(), ..good(self) };
        self.alert("version 1", &draft, UNKNOWN)?;
        let draft = Draft { version: Some(1), extensions: Vec::new(), ..good(self) };
        self.alert("version 2", &draft, UNKNOWN)?;
        let draft = Draft { version: Some(9), ..good(self) };
        self.alert("version 10", &draft, UNKNOWN)?;
        let draft = Draft { inner_alg: Some(Alg::RsaSha256), ..good(self) };
        self.alert("one algorithm inside and another outside", &draft, UNKNOWN)?;
        let twice = draft::names(&[dns(b"meter-8")]);
        let draft = good(self).and(Extension(NAMES, false, twice));
        self.alert("two lists of names", &draft, UNKNOWN)?;
        let bytes = |size: usize| der::octets(&vec![7; size]);
        for (name, size, wanted) in [
            ("of 12 KiB, good", 12_000, Outcome::LetIn),
            ("of 20 KiB", 20_000, Outcome::Alert(UNSUPPORTED)),
            ("of 40 KiB", 40_000, Outcome::Alert(UNSUPPORTED)),
            ("of 64 KiB", 66_000, Outcome::Closed),
        ] {
            let draft = good(self).and(Extension(&[0x2A, 3, 4], false, bytes(size)));
            self.leaf(name, &draft, wanted)?;
        }
        let leaf = good(self).sign(&self.workshop.issuing)?;
        self.bytes(&leaf)
    }

    /// Bytes of a good certificate, changed after it was signed.
    fn bytes(&mut self, leaf: &[u8]) -> anyhow::Result<()> {
        let issuer = self.workshop.issuing_der.clone();
        let with = |bytes: Vec<u8>| vec![bytes, issuer.clone()];
        let changed = |place: usize| {
            let mut bytes = leaf.to_vec();
            bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1);
            bytes
        };
        let end = leaf.len();
        self.push("a bit of its signature", with(changed(end - 3)), Outcome::Alert(DECRYPT));
        self.push("a bit of its serial number", with(changed(20)), Outcome::Alert(DECRYPT));
        self.push("a byte too many", with([leaf, &[0]].concat()), Outcome::Alert(BAD_CERTIFICATE));
        self.push("a byte missing", with(leaf[..end - 1].to_vec()), Outcome::Alert(BAD_CERTIFICATE));
        self.push("half of it", with(leaf[..end / 2].to_vec()), Outcome::Alert(BAD_CERTIFICATE));
        self.push("no bytes", with(Vec::new()), Outcome::Alert(BAD_CERTIFICATE));
        self.push("a text", with(b"-----BEGIN CERTIFICATE-----".to_vec()), Outcome::Alert(BAD_CERTIFICATE));
        self.push("zeros", with(vec![0; 500]), Outcome::Alert(BAD_CERTIFICATE));
        let endless = [&[0x30, 0x80], &leaf[4..], &[0, 0]].concat();
        self.push("a length that is left open", with(endless), Outcome::Alert(BAD_CERTIFICATE));
        self.push("twice in one entry", with([leaf, leaf].concat()), Outcome::Alert(BAD_CERTIFICATE));
        Ok(())
    }
}
