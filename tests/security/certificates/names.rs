//! Whom a certificate names, in every shape that a name can have.

use super::cases::{ACCESS_DENIED, BAD_CERTIFICATE, BY_CONNECT, Cases};
use super::client::Outcome;
use super::draft::{Draft, NAMES, dns};
use super::{der, draft};

impl Cases<'_> {
    /// Whom it names.
    pub(super) fn names(&mut self) -> anyhow::Result<()> {
        self.family("name")?;
        let (uri, mail, address) =
            (der::tlv(0x86, b"urn:meter-7"), der::tlv(0x81, b"meter-7@x.org"), der::tlv(0x87, &[127, 0, 0, 1]));
        let meter = || dns(b"meter-7");
        let directory = der::tlv(0xA4, &der::name("meter-7"));
        let sets: Vec<(&str, Vec<Vec<u8>>)> = vec![
            ("two names", vec![meter(), dns(b"meter-8")]),
            ("one name twice", vec![meter(), meter()]),
            ("a name and a URI", vec![meter(), uri.clone()]),
            ("a name and an address", vec![meter(), address.clone()]),
            ("a URI", vec![uri]),
            ("a mail address", vec![mail]),
            ("an IP address", vec![address]),
            ("a directory name", vec![directory]),
            ("an empty list", vec![]),
            ("an empty name", vec![dns(b"")]),
            ("a wildcard", vec![dns(b"*")]),
            ("a wildcard in front", vec![dns(b"*.meter-7")]),
            ("a plus", vec![dns(b"meter+7")]),
            ("a plus alone", vec![dns(b"+")]),
            ("a hash", vec![dns(b"#")]),
            ("a slash", vec![dns(b"meter-7/batch")]),
            ("a dollar", vec![dns(b"$SYS")]),
            ("a zero byte behind", vec![dns(b"meter-7\0")]),
            ("a zero byte and another name", vec![dns(b"meter-7\0.example.org")]),
            ("not UTF-8", vec![dns(b"meter-\xff")]),
            ("UTF-8 that is not ASCII", vec![dns("m\u{e9}ter-7".as_bytes())]),
            ("capitals", vec![dns(b"METER-7")]),
            ("a dot behind", vec![dns(b"meter-7.")]),
            ("a hyphen in front", vec![dns(b"-meter-7")]),
            ("a space behind", vec![dns(b"meter-7 ")]),
            ("a line end", vec![dns(b"meter-7\n")]),
            ("64 letters", vec![dns(&[b'x'; 64])]),
            ("129 letters", vec![dns(&[b'x'; 129])]),
            ("10 000 letters", vec![dns(&[b'x'; 10_000])]),
        ];
        for (name, set) in sets {
            let draft = self.workshop.leaf().with(NAMES, draft::names(&set));
            self.alert(name, &draft, ACCESS_DENIED)?;
        }
        let draft = self.workshop.leaf().without(NAMES);
        self.alert("only a common name", &draft, ACCESS_DENIED)?;
        let draft = self.workshop.leaf().with(NAMES, der::octets(b"meter-7"));
        self.alert("a list that is none", &draft, BAD_CERTIFICATE)?;
        // The client calls itself meter-7, and so does the common name; the name that counts is another device's. Only
        // CONNECT says so.
        let draft = self.workshop.leaf().with(NAMES, draft::names(&[dns(b"meter-8")]));
        self.leaf(BY_CONNECT, &draft, Outcome::Refused(0x85))?;
        let draft = Draft { subject: der::name("meter-8"), ..self.workshop.leaf() };
        self.leaf("good, another device in the common name", &draft, Outcome::LetIn)
    }
}
