//! The way to the root, and what may stand on it.

use super::cases::{Cases, HANDSHAKE_FAILURE, UNKNOWN, UNKNOWN_CA};
use super::client::{Outcome, Shown};
use super::draft::{BASIC, CERT_SIGN, CONSTRAINTS, Draft, Extension, KEY_USAGE, is_authority, only_below};
use super::keys::Proof;
use super::workshop::{DEVICE, ROOT};
use super::{der, draft};

impl Cases<'_> {
    /// The way to the root.
    pub(super) fn chains(&mut self) -> anyhow::Result<()> {
        self.family("chain")?;
        let draft = self.workshop.leaf();
        let (leaf, anchor) = (draft.sign(&self.workshop.issuing)?, self.workshop.anchor());
        let with_root = vec![leaf.clone(), self.workshop.issuing_der.clone(), anchor.clone()];
        self.push("good, the root comes along", with_root, Outcome::LetIn);
        self.push("issuer missing", vec![leaf.clone()], Outcome::Alert(UNKNOWN_CA));
        self.push(
            "issuer missing, the root comes along",
            vec![leaf.clone(), anchor.clone()],
            Outcome::Alert(UNKNOWN_CA),
        );
        let reversed = vec![self.workshop.issuing_der.clone(), leaf];
        self.push("issuer before the leaf", reversed, Outcome::Alert(UNKNOWN));
        self.push("the root's own", vec![anchor], Outcome::Alert(UNKNOWN));
        let (device, issuing) = (self.workshop.device.clone(), self.workshop.issuing.clone());
        let draft = Draft { issuer: der::name(DEVICE), public: issuing.public.clone(), ..self.workshop.leaf() };
        let (below, above) = (draft.sign(&device)?, self.workshop.leaf().sign(&issuing)?);
        let chain = vec![below, above, self.workshop.issuing_der.clone()];
        let shown = Shown { chain, key: issuing.clone(), proof: Proof::Right };
        self.shown("signed by another device", Some(shown), Outcome::Alert(UNKNOWN));
        self.issuers()?;
        self.path_length()?;
        self.depth(3, "good, three issuers", Outcome::LetIn)?;
        self.depth(100, "a hundred issuers", Outcome::Alert(UNKNOWN))?;
        self.many_ways()
    }

    /// Issuers of which one thing is wrong.
    fn issuers(&mut self) -> anyhow::Result<()> {
        let key = self.workshop.issuing.clone();
        type Change = fn(Draft) -> Draft;
        let not_an_authority: Change = |draft| draft.with(BASIC, der::sequence(&[]));
        let changes: [(&str, Change, Outcome); 7] = [
            ("good, another issuer", |draft| draft, Outcome::LetIn),
            ("issuer that is no authority", not_an_authority, Outcome::Alert(UNKNOWN)),
            ("issuer that does not say what it is", |draft| draft.without(BASIC), Outcome::Alert(UNKNOWN)),
            (
                "issuer that may not sign certificates",
                |draft| draft.with(KEY_USAGE, der::flags(draft::CRL_SIGN)),
                Outcome::Alert(UNKNOWN),
            ),
            (
                "issuer that may not sign revocation lists",
                |draft| draft.with(KEY_USAGE, der::flags(CERT_SIGN)),
                Outcome::Alert(HANDSHAKE_FAILURE),
            ),
            (
                "issuer for other names",
                |draft| draft.and(Extension(CONSTRAINTS, true, only_below("example.org"))),
                Outcome::Alert(UNKNOWN),
            ),
            (
                "issuer with something critical that nobody knows",
                |draft| draft.and(Extension(&[0x2A, 3, 4], true, der::tlv(5, &[]))),
                Outcome::Alert(UNKNOWN),
            ),
        ];
        for (name, change, wanted) in changes {
            let issuer = self.workshop.below_root(name, &key, change)?;
            let draft = Draft { issuer: der::name(name), ..self.workshop.leaf() };
            self.push(name, vec![draft.sign(&key)?, issuer], wanted);
        }
        Ok(())
    }

    /// Two issuers where the upper one allows none below it.
    fn path_length(&mut self) -> anyhow::Result<()> {
        let key = self.workshop.issuing.clone();
        for (name, path_max, wanted) in [
            ("good, one below the issuer", 1, Outcome::LetIn),
            ("one too many below the issuer", 0, Outcome::Alert(UNKNOWN)),
        ] {
            let (upper, lower) = (format!("{name}: upper"), format!("{name}: lower"));
            let above =
                self.workshop.below_root(&upper, &key, |draft| draft.with(BASIC, is_authority(Some(path_max))))?;
            let below = self.workshop.below_root(&lower, &key, |draft| draft)?;
            drop(below); // only its list is wanted
            let (now, serial) = (self.workshop.now, self.workshop.serial());
            let below = Draft::authority(&lower, &upper, &key, now, serial, Some(0)).sign(&key)?;
            let draft = Draft { issuer: der::name(&lower), ..self.workshop.leaf() };
            self.push(name, vec![draft.sign(&key)?, below, above], wanted);
        }
        Ok(())
    }

    /// So many issuers, one below the other.
    fn depth(&mut self, depth: u32, name: &str, wanted: Outcome) -> anyhow::Result<()> {
        let (key, now) = (self.workshop.issuing.clone(), self.workshop.now);
        let called = |place: u32| if place == 0 { ROOT.to_owned() } else { format!("{depth} deep: {place}") };
        let mut chain = Vec::new();
        for place in 1..=depth {
            let serial = self.workshop.serial();
            let draft = Draft::authority(&called(place), &called(place - 1), &key, now, serial, None);
            chain.push(draft.sign(if place == 1 { &self.workshop.root } else { &key })?);
            self.workshop.list(&draft::List::of(&called(place), now, &[]), &key)?;
        }
        let draft = Draft { issuer: der::name(&called(depth)), ..self.workshop.leaf() };
        chain.push(draft.sign(&key)?);
        chain.reverse();
        self.push(name, chain, wanted);
        self.all.last_mut().expect("it was just put there").is_costly = true;
        Ok(())
    }

    /// Issuers of one name that have all signed each other: each step has as many ways on as there are issuers, and none
    /// leads to the root (RUSTSEC-2023-0053).
    fn many_ways(&mut self) -> anyhow::Result<()> {
        let (key, now) = (self.workshop.stranger.clone(), self.workshop.now);
        let draft = Draft { issuer: der::name("maze"), ..self.workshop.leaf() };
        let mut chain = vec![draft.sign(&key)?];
        for _ in 0..80 {
            let serial = self.workshop.serial();
            chain.push(Draft::authority("maze", "maze", &key, now, serial, None).sign(&key)?);
        }
        self.push("a maze of issuers", chain, Outcome::Alert(UNKNOWN_CA));
        self.all.last_mut().expect("it was just put there").is_costly = true;
        Ok(())
    }
}
