//! ClientHellos by hand (RFC 8446 and RFC 5246): what no TLS library would say.

/// A ClientHello, good until something in it is changed.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) session: Vec<u8>,
    pub(crate) suites: Vec<u16>,
    pub(crate) compression: Vec<u8>,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
    /// Behind everything.
    pub(crate) more: Vec<u8>,
}

pub(crate) const ALPN: u16 = 16;
pub(crate) const GROUPS: u16 = 10;
pub(crate) const SCHEMES: u16 = 13;
pub(crate) const VERSIONS: u16 = 43;
pub(crate) const SHARES: u16 = 51;

impl Hello {
    /// TLS 1.3 alone.
    pub(crate) fn of_13() -> Self {
        let mut hello = Self::of_12();
        hello.suites = vec![0x1301, 0x1302, 0x1303];
        hello.extensions.push((VERSIONS, vec![2, 3, 4]));
        hello.extensions.push((SHARES, share(0x1D, &[9; 32])));
        hello
    }

    /// TLS 1.2 alone.
    pub(crate) fn of_12() -> Self {
        let mut name = vec![0];
        name.extend(vector(b"localhost"));
        let extensions = vec![
            (0, vector(&name)),
            (GROUPS, numbers(&[0x1D, 0x17])),
            (11, vec![1, 0]),
            (SCHEMES, numbers(&[0x0403, 0x0503, 0x0807, 0x0804])),
            (23, vec![]), // extended master secret
        ];
        Self {
            version: 0x0303,
            session: vec![7; 32],
            suites: vec![0xC02B, 0xC02C, 0xCCA9],
            compression: vec![0],
            extensions,
            more: Vec::new(),
        }
    }

    /// The same with one extension's content changed.
    pub(crate) fn with(mut self, id: u16, content: Vec<u8>) -> Self {
        self.extensions.iter_mut().filter(|it| it.0 == id).for_each(|it| it.1.clone_from(&content));
        self
    }

    /// The same without an extension.
    pub(crate) fn without(mut self, id: u16) -> Self {
        self.extensions.retain(|it| it.0 != id);
        self
    }

    /// The same with one extension more.
    pub(crate) fn and(mut self, id: u16, content: Vec<u8>) -> Self {
        self.extensions.push((id, content));
        self
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([5; 32]);
        body.push(length_byte(&self.session));
        body.extend(&self.session);
        body.extend(numbers(&self.suites));
        body.push(length_byte(&self.compression));
        body.extend(&self.compression);
        let one = |(id, content): &(u16, Vec<u8>)| [&id.to_be_bytes()[..], &vector(content)].concat();
        body.extend(vector(&self.extensions.iter().map(one).collect::<Vec<_>>().concat()));
        body.extend(&self.more);
        handshake(1, &body)
    }

    /// In one record.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        record(22, &self.message())
    }
}

/// A handshake message of `kind`.
pub(crate) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a short message").to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// A record of `kind`.
pub(crate) fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &vector(content)[..]].concat()
}

/// The content of a list of key shares with one in it.
pub(crate) fn share(group: u16, key: &[u8]) -> Vec<u8> {
    vector(&[&group.to_be_bytes()[..], &vector(key)].concat())
}

/// Two bytes of length, and the content.
pub(crate) fn vector(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).expect("a short list").to_be_bytes()[..], content].concat()
}

/// A list of numbers of two bytes.
pub(crate) fn numbers(all: &[u16]) -> Vec<u8> {
    vector(&all.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>())
}

fn length_byte(content: &[u8]) -> u8 {
    u8::try_from(content.len()).expect("a short list")
}
