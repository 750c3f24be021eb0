//! Revocation lists of which one thing is wrong: who depends on one is not let in, since nobody knows of it whether it is
//! revoked.

use super::cases::Cases;
use super::client::Outcome;
use super::der::{self, explicit, sequence, tlv};
use super::draft::{Draft, Extension, List};
use super::keys::Key;

/// IssuingDistributionPoint.
const SCOPE: &[u8] = &[0x55, 0x1D, 28];
/// Unknown status is denied with `unknown_ca`, as OpenSSL and BoringSSL do.
const UNKNOWN_CA: Outcome = Outcome::Alert(48);

impl Cases<'_> {
    /// Each with a trusted root of its own, whose one list is not what it should be.
    pub(crate) fn lists(&mut self) -> anyhow::Result<()> {
        self.family("list")?;
        let (now, stranger) = (self.workshop.now, self.workshop.stranger.clone());
        let key = self.workshop.key("list", super::keys::Kind::Ec("P-256"))?;
        type Change = fn(List, i64) -> Option<List>;
        let lists: [(&str, Change, Outcome); 6] = [
            ("good, a root with a list", |list, _| Some(list), Outcome::LetIn),
            ("no list", |_, _| None, UNKNOWN_CA),
            ("a list that ran out", |list, now| Some(List { life: (now - 900, now - 60), ..list }), UNKNOWN_CA),
            ("a list of another name", |list, _| Some(List { issuer: der::name("another"), ..list }), UNKNOWN_CA),
            ("a list for authorities only", |list, _| Some(scoped(list, HERE, Some(0x82))), UNKNOWN_CA),
            ("a list that names it", |list, _| Some(list), Outcome::Alert(44)),
        ];
        for (name, change, wanted) in lists {
            let root = format!("list: {name}");
            let mut list = List::of(&root, now, &[]);
            let serial = self.workshop.serial();
            if wanted == Outcome::Alert(44) {
                list = List::of(&root, now, &[serial]);
            }
            let list = change(list, now);
            self.depends(name, &root, serial, list.as_ref().map(|list| (list, &key)), &key, wanted)?;
        }
        let root = "list: signed by another";
        self.points(&key)?;
        let (list, serial) = (List::of(root, now, &[]), self.workshop.serial());
        // The same bits of list, but the signature is somebody else's.
        self.depends("a list signed by another", root, serial, Some((&list, &stranger)), &key, Outcome::Alert(40))
    }

    /// Lists that are one part of many: each is for the certificates that name its address.
    fn points(&mut self, key: &Key) -> anyhow::Result<()> {
        let (device, now) = (self.workshop.device.clone(), self.workshop.now);
        for (name, named, wanted) in [
            ("a part of a list that it names, good", Some(HERE), Outcome::LetIn),
            ("a part of a list, where it names another", Some("http://lists.example/2.crl"), UNKNOWN_CA),
            ("a part of a list, where it names none", None, UNKNOWN_CA),
        ] {
            let root = format!("list: {name}");
            self.workshop.trust(&root, key)?;
            self.workshop.list(&scoped(List::of(&root, now, &[]), HERE, None), key)?;
            let serial = self.workshop.serial();
            let mut leaf = Draft::leaf(super::workshop::DEVICE, &root, &device, now, serial);
            if let Some(address) = named {
                leaf = leaf.and(Extension(POINTS, false, sequence(&[sequence(&[point(address)])])));
            }
            let leaf = leaf.sign(key)?;
            self.push(name, vec![leaf], wanted);
            if named.is_none() {
                self.open("rustls-webpki takes a part of a list for the whole where a certificate names no part");
            }
        }
        Ok(())
    }

    /// A leaf of a trusted root whose list is `list`.
    fn depends(
        &mut self,
        name: &str,
        root: &str,
        serial: u64,
        list: Option<(&List, &Key)>,
        key: &Key,
        wanted: Outcome,
    ) -> anyhow::Result<()> {
        self.workshop.trust(root, key)?;
        if let Some((list, signer)) = list {
            self.workshop.list(list, signer)?;
        }
        let (device, now) = (self.workshop.device.clone(), self.workshop.now);
        let leaf = Draft::leaf(super::workshop::DEVICE, root, &device, now, serial).sign(key)?;
        self.push(name, vec![leaf], wanted);
        Ok(())
    }
}

/// `list` for those only that name `address`; `only` is the tag of a kind of certificates that it is for.
fn scoped(mut list: List, address: &str, only: Option<u8>) -> List {
    let only: Vec<Vec<u8>> = only.iter().map(|tag| tlv(*tag, &[0xFF])).collect();
    list.extensions.push(Extension(SCOPE, true, sequence(&[point(address), only.concat()])));
    list
}

/// A distribution point of this address.
fn point(address: &str) -> Vec<u8> {
    explicit(0, &explicit(0, &tlv(0x86, address.as_bytes())))
}

/// The address of the lists that are parts.
const HERE: &str = "http://lists.example/1.crl";
/// CRLDistributionPoints.
const POINTS: &[u8] = &[0x55, 0x1D, 31];
