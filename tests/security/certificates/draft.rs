//! Certificates and revocation lists to order: a good draft, of which a case changes one thing before it is signed.

use super::der::{self, bits, boolean, explicit, flags, integer, name, octets, oid, sequence, time, tlv};
use super::keys::{Alg, Key};

/// A certificate that is not signed yet.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// 2 is version 3; none is version 1.
    pub(crate) version: Option<u8>,
    pub(crate) serial: Vec<u8>,
    /// What it says about its signature inside; none: as outside.
    pub(crate) inner_alg: Option<Alg>,
    /// How it is signed; none: as the issuer's key does.
    pub(crate) alg: Option<Alg>,
    pub(crate) issuer: Vec<u8>,
    /// Seconds since the Unix epoch.
    pub(crate) life: (i64, i64),
    pub(crate) subject: Vec<u8>,
    pub(crate) public: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
}

/// An extension: its identifier's content, whether it is critical, its value.
#[derive(Clone, Debug)]
pub(crate) struct Extension(pub(crate) &'static [u8], pub(crate) bool, pub(crate) Vec<u8>);

pub(crate) const BASIC: &[u8] = &[0x55, 0x1D, 19];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1D, 15];
pub(crate) const EXTENDED: &[u8] = &[0x55, 0x1D, 37];
pub(crate) const NAMES: &[u8] = &[0x55, 0x1D, 17];
pub(crate) const CONSTRAINTS: &[u8] = &[0x55, 0x1D, 30];

pub(crate) const CLIENT: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 2];
pub(crate) const SERVER: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 1];
pub(crate) const CODE: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 3];
pub(crate) const MAIL: &[u8] = &[0x2B, 6, 1, 5, 5, 7, 3, 4];
pub(crate) const ANY: &[u8] = &[0x55, 0x1D, 37, 0];

/// Key usages, by their bits.
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const KEY_AGREEMENT: u8 = 0x08;
pub(crate) const CERT_SIGN: u8 = 0x04;
pub(crate) const CRL_SIGN: u8 = 0x02;

/// 30 days.
const MONTH_S: i64 = 30 * 86_400;

impl Draft {
    /// A device's certificate as `tributary-certs` makes them.
    pub(crate) fn leaf(device: &str, issuer: &str, key: &Key, now: i64, serial: u64) -> Self {
        let extensions = vec![
            Extension(NAMES, false, names(&[dns(device.as_bytes())])),
            Extension(BASIC, true, sequence(&[])),
            Extension(KEY_USAGE, true, flags(DIGITAL_SIGNATURE)),
            Extension(EXTENDED, false, purposes(&[CLIENT])),
        ];
        Self::of(device, issuer, key, now, serial, extensions)
    }

    /// An authority's. `path_max` is how many more may stand between it and a leaf.
    pub(crate) fn authority(
        subject: &str,
        issuer: &str,
        key: &Key,
        now: i64,
        serial: u64,
        path_max: Option<u8>,
    ) -> Self {
        let extensions = vec![
            Extension(BASIC, true, is_authority(path_max)),
            Extension(KEY_USAGE, true, flags(CERT_SIGN | CRL_SIGN)),
        ];
        Self::of(subject, issuer, key, now, serial, extensions)
    }

    fn of(subject: &str, issuer: &str, key: &Key, now: i64, serial: u64, extensions: Vec<Extension>) -> Self {
        Self {
            version: Some(2),
            serial: [&[0x40], &serial.to_be_bytes()[..]].concat(),
            inner_alg: None,
            alg: None,
            issuer: name(issuer),
            life: (now - 300, now + MONTH_S),
            subject: name(subject),
            public: key.public.clone(),
            extensions,
        }
    }

    /// The same with one extension's value changed.
    pub(crate) fn with(mut self, id: &[u8], value: Vec<u8>) -> Self {
        self.extensions.iter_mut().filter(|it| it.0 == id).for_each(|it| it.2.clone_from(&value));
        self
    }

    /// The same without an extension.
    pub(crate) fn without(mut self, id: &[u8]) -> Self {
        self.extensions.retain(|it| it.0 != id);
        self
    }

    /// The same with one extension more.
    pub(crate) fn and(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Signed by `issuer`, DER.
    ///
    /// # Errors
    /// When `openssl` does not sign.
    pub(crate) fn sign(&self, issuer: &Key) -> anyhow::Result<Vec<u8>> {
        let alg = self.alg.unwrap_or(issuer.alg());
        let mut parts: Vec<Vec<u8>> = self.version.iter().map(|it| explicit(0, &integer(&[*it]))).collect();
        parts.extend([integer(&self.serial), self.inner_alg.unwrap_or(alg).der(), self.issuer.clone()]);
        parts.extend([sequence(&[time(self.life.0), time(self.life.1)]), self.subject.clone(), self.public.clone()]);
        if !self.extensions.is_empty() {
            parts.push(explicit(3, &extensions(&self.extensions)));
        }
        let body = sequence(&parts);
        let signature = issuer.sign(alg, &body)?;
        Ok(sequence(&[body, alg.der(), bits(&signature)]))
    }
}

/// A revocation list that is not signed yet.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) issuer: Vec<u8>,
    /// Seconds since the Unix epoch.
    pub(crate) life: (i64, i64),
    pub(crate) revoked: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Extension>,
}

impl List {
    /// A good one, which is a week long good.
    pub(crate) fn of(issuer: &str, now: i64, revoked: &[u64]) -> Self {
        let revoked = revoked.iter().map(|serial| [&[0x40], &serial.to_be_bytes()[..]].concat()).collect();
        let number = Extension(&[0x55, 0x1D, 20], false, integer(&[1]));
        Self { issuer: name(issuer), life: (now - 300, now + 7 * 86_400), revoked, extensions: vec![number] }
    }

    /// Signed by `issuer`, DER.
    ///
    /// # Errors
    /// When `openssl` does not sign.
    pub(crate) fn sign(&self, issuer: &Key) -> anyhow::Result<Vec<u8>> {
        let mut parts = vec![integer(&[1]), issuer.alg().der(), self.issuer.clone()];
        parts.extend([time(self.life.0), time(self.life.1)]);
        if !self.revoked.is_empty() {
            let entry = |serial: &Vec<u8>| sequence(&[integer(serial), time(self.life.0)]);
            parts.push(sequence(&self.revoked.iter().map(entry).collect::<Vec<_>>()));
        }
        parts.push(explicit(0, &extensions(&self.extensions)));
        let body = sequence(&parts);
        let signature = issuer.sign(issuer.alg(), &body)?;
        Ok(sequence(&[body, issuer.alg().der(), bits(&signature)]))
    }
}

fn extensions(all: &[Extension]) -> Vec<u8> {
    let one = |Extension(id, critical, value): &Extension| {
        let critical = if *critical { boolean(true) } else { Vec::new() };
        sequence(&[oid(id), critical, octets(value)])
    };
    sequence(&all.iter().map(one).collect::<Vec<_>>())
}

/// BasicConstraints of an authority.
pub(crate) fn is_authority(path_max: Option<u8>) -> Vec<u8> {
    let path: Vec<Vec<u8>> = path_max.iter().map(|most| integer(&[*most])).collect();
    sequence(&[boolean(true), path.concat()])
}

/// ExtendedKeyUsage.
pub(crate) fn purposes(all: &[&[u8]]) -> Vec<u8> {
    sequence(&all.iter().map(|id| oid(id)).collect::<Vec<_>>())
}

/// SubjectAltName.
pub(crate) fn names(all: &[Vec<u8>]) -> Vec<u8> {
    sequence(all)
}

/// A DNS name of whatever bytes.
pub(crate) fn dns(bytes: &[u8]) -> Vec<u8> {
    tlv(0x82, bytes)
}

/// NameConstraints that permit names below `domain` only.
pub(crate) fn only_below(domain: &str) -> Vec<u8> {
    sequence(&[explicit(0, &sequence(&[der::tlv(0x82, domain.as_bytes())]))])
}
