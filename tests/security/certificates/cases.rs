//! Certificates, each good but for one thing, and what must become of who shows it.

use super::client::{Outcome, Shown};
use super::draft::{
    ANY, BASIC, CERT_SIGN, CLIENT, CODE, DIGITAL_SIGNATURE, Draft, EXTENDED, KEY_AGREEMENT, KEY_USAGE, MAIL, SERVER,
    is_authority, purposes,
};
use super::keys::Proof;
use super::workshop::{DEVICE, ISSUING, REVOKED_BY_ISSUING, REVOKED_BY_ROOT, ROOT, Workshop};
use super::{der, draft};

/// One attempt, and what must become of it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) name: String,
    /// None: no certificate at all.
    pub(crate) shown: Option<Shown>,
    /// Under TLS 1.3 and under 1.2.
    pub(crate) wanted: [Outcome; 2],
    /// What it may take of the processors; none: what it takes.
    pub(crate) is_costly: bool,
    /// Why the answer is known not to be the one that is due; then it is counted apart.
    pub(crate) open: Option<&'static str>,
}

impl Case {
    /// Whether it must not be let in.
    pub(crate) fn is_bad(&self) -> bool {
        self.wanted != [Outcome::LetIn; 2]
    }

    /// Whether it is refused before any byte of MQTT: all that are bad, but for [`BY_CONNECT`].
    pub(crate) fn is_refused_by_tls(&self) -> bool {
        self.wanted.iter().all(|wanted| matches!(wanted, Outcome::Alert(_) | Outcome::Closed))
    }
}

// TLS alerts (RFC 8446, section 6.2).
pub(super) const HANDSHAKE_FAILURE: u8 = 40;
pub(super) const BAD_CERTIFICATE: u8 = 42;
pub(super) const UNSUPPORTED: u8 = 43;
pub(super) const REVOKED: u8 = 44;
pub(super) const EXPIRED: u8 = 45;
pub(super) const UNKNOWN: u8 = 46;
pub(super) const ILLEGAL_PARAMETER: u8 = 47;
pub(super) const UNKNOWN_CA: u8 = 48;
pub(super) const ACCESS_DENIED: u8 = 49;
pub(super) const DECRYPT: u8 = 51;
pub(super) const REQUIRED: u8 = 116;
/// The one that TLS lets in and CONNECT does not: its certificate is good, of another device than it calls itself.
pub(crate) const BY_CONNECT: &str = "another device, ours in the common name";

/// All cases, in families that each begin with good ones.
pub(crate) struct Cases<'a> {
    pub(crate) workshop: &'a mut Workshop,
    pub(crate) all: Vec<Case>,
    family: &'static str,
}

impl<'a> Cases<'a> {
    /// Makes all of them; `workshop` then knows whom the gateway is to trust.
    ///
    /// # Errors
    /// When `openssl` is missing.
    pub(crate) fn make(workshop: &'a mut Workshop) -> anyhow::Result<Vec<Case>> {
        let mut cases = Self { workshop, all: Vec::new(), family: "" };
        cases.trust()?;
        cases.life()?;
        cases.revoked()?;
        cases.lists()?;
        cases.purpose()?;
        cases.chains()?;
        cases.shapes()?;
        cases.keys()?;
        cases.proofs()?;
        cases.names()?;
        Ok(cases.all)
    }

    /// A new family, and its first good one.
    pub(super) fn family(&mut self, family: &'static str) -> anyhow::Result<()> {
        self.family = family;
        let good = self.workshop.leaf();
        self.leaf("good", &good, Outcome::LetIn)
    }

    pub(super) fn push(&mut self, name: &str, chain: Vec<Vec<u8>>, wanted: Outcome) {
        let key = self.workshop.device.clone();
        self.shown(name, Some(Shown { chain, key, proof: Proof::Right }), wanted);
    }

    pub(super) fn shown(&mut self, name: &str, shown: Option<Shown>, wanted: Outcome) {
        let (family, name) = (self.family, name.to_owned());
        self.all.push(Case { family, name, shown, wanted: [wanted; 2], is_costly: false, open: None });
    }

    /// A leaf of the issuing authority.
    pub(super) fn leaf(&mut self, name: &str, draft: &Draft, wanted: Outcome) -> anyhow::Result<()> {
        let chain = self.workshop.issue(draft)?;
        self.push(name, chain, wanted);
        Ok(())
    }

    pub(super) fn alert(&mut self, name: &str, draft: &Draft, alert: u8) -> anyhow::Result<()> {
        self.leaf(name, draft, Outcome::Alert(alert))
    }

    /// Whose word it is.
    fn trust(&mut self) -> anyhow::Result<()> {
        self.family("trust")?;
        let (key, now) = (self.workshop.device.clone(), self.workshop.now);
        let (stranger, root) = (self.workshop.stranger.clone(), self.workshop.root.clone());
        let serial = self.workshop.serial();
        let below_root = Draft::leaf(DEVICE, ROOT, &key, now, serial);
        self.push("good, by the root itself", vec![below_root.sign(&root)?], Outcome::LetIn);
        self.shown("no certificate", None, Outcome::Alert(REQUIRED));
        let leaf = |issuer: &str| Draft::leaf(DEVICE, issuer, &key, now, serial + 100);
        self.push("signed by itself", vec![leaf(DEVICE).sign(&key)?], Outcome::Alert(UNKNOWN_CA));
        self.push("signed by itself in the issuer's name", vec![leaf(ROOT).sign(&key)?], Outcome::Alert(DECRYPT));
        let other = |name: &str| Draft::authority(name, name, &stranger, now, 3, None).sign(&stranger);
        self.push("another authority", vec![leaf("other").sign(&stranger)?], Outcome::Alert(UNKNOWN_CA));
        let with_root = vec![leaf("other").sign(&stranger)?, other("other")?];
        self.push("another authority, which comes along", with_root, Outcome::Alert(UNKNOWN_CA));
        let staging = vec![leaf("security staging").sign(&stranger)?, other("security staging")?];
        self.push("the staging authority", staging, Outcome::Alert(UNKNOWN_CA));
        let namesake = vec![leaf(ROOT).sign(&stranger)?, other(ROOT)?];
        self.push("an authority of the same name", namesake, Outcome::Alert(DECRYPT));
        let false_issuing = Draft::authority(ISSUING, ROOT, &stranger, now, 4, Some(0)).sign(&stranger)?;
        let chain = vec![leaf(ISSUING).sign(&stranger)?, false_issuing];
        self.push("an issuing authority that nobody has signed", chain, Outcome::Alert(DECRYPT));
        Ok(())
    }

    /// When it holds.
    fn life(&mut self) -> anyhow::Result<()> {
        self.family("life")?;
        let now = self.workshop.now;
        let day = 86_400;
        for (name, life) in [
            ("expired a minute ago", (now - 90 * day, now - 60)),
            ("expired ten years ago", (now - 3_700 * day, now - 3_650 * day)),
            ("valid from tomorrow", (now + day, now + 30 * day)),
            ("valid from the year 2060", (2_840_140_800, 2_871_763_200)),
            ("ends before it begins", (now + day, now - day)),
        ] {
            let draft = Draft { life, ..self.workshop.leaf() };
            self.alert(name, &draft, EXPIRED)?;
        }
        let key = self.workshop.issuing.clone();
        for (name, life) in [
            ("issuer expired", (now - 90 * day, now - day)),
            ("issuer valid from tomorrow", (now + day, now + 30 * day)),
        ] {
            let issuer = self.workshop.below_root(name, &key, |draft| Draft { life, ..draft })?;
            let draft = Draft { issuer: der::name(name), ..self.workshop.leaf() };
            self.push(name, vec![draft.sign(&key)?, issuer], Outcome::Alert(EXPIRED));
        }
        Ok(())
    }

    /// What has been taken back.
    fn revoked(&mut self) -> anyhow::Result<()> {
        self.family("revoked")?;
        let serial = |number: u64| [&[0x40], &number.to_be_bytes()[..]].concat();
        let draft = Draft { serial: serial(REVOKED_BY_ISSUING), ..self.workshop.leaf() };
        self.alert("leaf on the issuer's list", &draft, REVOKED)?;
        let (key, root) = (self.workshop.issuing.clone(), self.workshop.root.clone());
        let draft = Draft { serial: serial(REVOKED_BY_ROOT), issuer: der::name(ROOT), ..self.workshop.leaf() };
        self.push("leaf on the root's list", vec![draft.sign(&root)?], Outcome::Alert(REVOKED));
        let issuer = self
            .workshop
            .below_root("revoked issuer", &key, |draft| Draft { serial: serial(REVOKED_BY_ROOT), ..draft })?;
        let draft = Draft { issuer: der::name("revoked issuer"), ..self.workshop.leaf() };
        self.push("issuer revoked", vec![draft.sign(&key)?, issuer], Outcome::Alert(REVOKED));
        // The same number of another issuer is another certificate.
        let draft = Draft { serial: serial(REVOKED_BY_ROOT), ..self.workshop.leaf() };
        self.leaf("good, a number on another issuer's list", &draft, Outcome::LetIn)
    }

    /// What it may be used for.
    fn purpose(&mut self) -> anyhow::Result<()> {
        self.family("purpose")?;
        let good = |cases: &mut Self| cases.workshop.leaf();
        let for_purposes = |cases: &mut Self, all: &[&[u8]]| good(cases).with(EXTENDED, purposes(all));
        for (name, all, wanted) in [
            ("for servers", &[SERVER][..], Outcome::Alert(UNSUPPORTED)),
            ("for signing code", &[CODE], Outcome::Alert(UNSUPPORTED)),
            ("for mail", &[MAIL], Outcome::Alert(UNSUPPORTED)),
            ("for anything", &[ANY], Outcome::Alert(UNSUPPORTED)),
            ("for clients and for anything", &[CLIENT, ANY], Outcome::Alert(UNSUPPORTED)),
            ("for clients and servers", &[CLIENT, SERVER], Outcome::Alert(UNSUPPORTED)),
        ] {
            let draft = for_purposes(self, all);
            self.leaf(name, &draft, wanted)?;
        }
        let draft = good(self).without(EXTENDED);
        self.alert("for no stated purpose", &draft, UNSUPPORTED)?;
        let draft = good(self).with(BASIC, is_authority(None));
        self.alert("a leaf that is an authority", &draft, UNKNOWN)?;
        for (name, usage) in [
            ("a leaf that may sign certificates", DIGITAL_SIGNATURE | CERT_SIGN),
            ("a leaf that may sign revocation lists", DIGITAL_SIGNATURE | draft::CRL_SIGN),
            ("a leaf that may not sign", KEY_AGREEMENT),
        ] {
            let draft = good(self).with(KEY_USAGE, der::flags(usage));
            self.alert(name, &draft, UNSUPPORTED)?;
        }
        Ok(())
    }
}
