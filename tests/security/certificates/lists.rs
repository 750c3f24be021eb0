//! Revocation lists of which one thing is wrong: who depends on one is not let in, since nobody knows of it whether it is
//! revoked.

use super::cases::Cases;
use super::client::Outcome;
use super::der;
use super::draft::{Draft, List};
use super::keys::Key;

/// Unknown status is denied with `unknown_ca`, as OpenSSL and BoringSSL do.
const UNKNOWN_CA: Outcome = Outcome::Alert(48);

impl Cases<'_> {
    /// Each with a trusted root of its own, whose one list is not what it should be.
    pub(crate) fn lists(&mut self) -> anyhow::Result<()> {
        self.family("list")?;
        let (now, stranger) = (self.workshop.now, self.workshop.stranger.clone());
        let key = self.workshop.key("list", super::keys::Kind::Ec("P-256"))?;
        type Change = fn(List, i64) -> Option<List>;
        let lists: [(&str, Change, Outcome); 5] = [
            ("good, a root with a list", |list, _| Some(list), Outcome::LetIn),
            ("no list", |_, _| None, UNKNOWN_CA),
            ("a list that ran out", |list, now| Some(List { life: (now - 900, now - 60), ..list }), UNKNOWN_CA),
            ("a list of another name", |list, _| Some(List { issuer: der::name("another"), ..list }), UNKNOWN_CA),
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
        let (list, serial) = (List::of(root, now, &[]), self.workshop.serial());
        // The same bits of list, but the signature is somebody else's.
        self.depends("a list signed by another", root, serial, Some((&list, &stranger)), &key, Outcome::Alert(40))
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
