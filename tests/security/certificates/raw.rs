//! What comes over a socket before there is TLS, or instead of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Bench;
use super::client::{Outcome, dial, is_patience};
use super::hello::{ALPN, GROUPS, Hello, SCHEMES, SHARES, VERSIONS, handshake, numbers, record, share, vector};
use crate::part::Found;
use crate::site::{Counts, PATIENCE, Site};

/// One attempt on a bare socket.
struct Attempt {
    name: &'static str,
    bytes: Vec<u8>,
    wanted: Seen,
}

/// What a bare socket sees first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A ServerHello: the good ones.
    Hello,
    /// An alert in the clear.
    Alert(u8),
    /// A ServerHello, and then the end: under TLS 1.3 the alert between them is encrypted.
    HelloAndEnd,
    /// Nothing but the end.
    End,
    Nothing,
}

// TLS alerts (RFC 8446, section 6.2).
const UNEXPECTED: u8 = 10;
const HANDSHAKE_FAILURE: u8 = 40;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE: u8 = 50;
pub(crate) const PROTOCOL_VERSION: u8 = 70;
const NO_PROTOCOL: u8 = 120;

/// A door with TLS.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// What is spoken there, and what is not (ALPN).
    pub(crate) speaks: &'static [u8],
    pub(crate) others: [&'static [u8]; 2],
    /// What each attempt counts as.
    pub(crate) counts: Counts,
    /// Names of the report.
    pub(crate) good: &'static str,
    pub(crate) bad: &'static str,
    pub(crate) tried: &'static str,
}

/// The listener for devices.
pub(super) fn listener(port: u16) -> Target {
    Target {
        name: "bytes",
        port,
        speaks: b"mqtt",
        others: [b"h2", b"http/1.1"],
        counts: Counts { handshakes_failed: 1, ..Counts::default() },
        good: "good_handshakes",
        bad: "bad_handshakes",
        tried: "bad_handshakes_tried",
    }
}

/// Tries all of them; or those that `wants` wants.
pub(crate) fn run(
    site: &mut Site,
    target: &Target,
    mut wants: impl FnMut(&str) -> bool,
    found: &mut Found,
) -> anyhow::Result<()> {
    for attempt in hellos(target).into_iter().chain(others()).chain(behind_a_hello()).filter(|it| wants(it.name)) {
        site.others_go_on()?;
        let before = site.counted()?;
        let spent = site.processor_time();
        let seen = see(target.port, &attempt.bytes, attempt.wanted)?;
        let spent = site.processor_time().saturating_sub(spent);
        let (Attempt { name, wanted, .. }, door) = (attempt, target.name);
        found.check(seen == wanted, || format!("{door}: {name}: {seen:?}, where {wanted:?} is due"));
        if let Some(why) = site.has_counted(&before, &target.counts)? {
            found.wrong(format!("{door}: {name}: {why}"));
        }
        found.check(spent < super::COST_MAX, || format!("{door}: {name}: it took {spent:?} of the processors"));
        found.count(if wanted == Seen::Hello { target.good } else { target.bad }, 1);
        found.count(target.tried, usize::from(wanted != Seen::Hello));
    }
    Ok(())
}

fn attempt(name: &'static str, bytes: Vec<u8>, wanted: Seen) -> Attempt {
    Attempt { name, bytes, wanted }
}

/// ClientHellos, each good but for one thing.
fn hellos(target: &Target) -> Vec<Attempt> {
    let old = |version| Hello { version, ..Hello::of_12() };
    let suites = |suites: &[u16]| Hello { suites: suites.to_vec(), ..Hello::of_12() };
    let (alert, failure) = (Seen::Alert, Seen::Alert(HANDSHAKE_FAILURE));
    let (one, two) = (Hello::of_13, Hello::of_12);
    let [other, another] = target.others;
    let alpn =
        |hello: Hello, name: &[u8]| hello.and(ALPN, vector(&[&[u8::try_from(name.len()).unwrap_or(0)], name].concat()));
    let all = [
        ("good, TLS 1.3", one(), Seen::Hello),
        ("good, TLS 1.2", two(), Seen::Hello),
        ("good, ALPN of what is spoken", alpn(one(), target.speaks), Seen::Hello),
        ("SSL 3.0", old(0x0300), alert(PROTOCOL_VERSION)),
        ("TLS 1.0", old(0x0301), alert(PROTOCOL_VERSION)),
        ("TLS 1.1", old(0x0302), alert(PROTOCOL_VERSION)),
        ("TLS 1.0 and 1.1 in the list of versions", one().with(VERSIONS, vec![4, 3, 1, 3, 2]), alert(PROTOCOL_VERSION)),
        ("a version to come", one().with(VERSIONS, vec![2, 3, 9]), alert(PROTOCOL_VERSION)),
        ("no version", one().with(VERSIONS, vec![0]), alert(DECODE)),
        ("RSA key exchange", suites(&[0x002F, 0x003C, 0x009C]), failure),
        ("CBC", suites(&[0xC009, 0xC023, 0xC013]), failure),
        ("RC4", suites(&[0x0005, 0xC007]), failure),
        ("3DES", suites(&[0x000A, 0xC008]), failure),
        ("no encryption", suites(&[0x0000, 0x0001, 0xC006]), failure),
        ("nobody's certificate", suites(&[0x0034, 0xC018]), failure),
        ("export grade", suites(&[0x0003, 0x0008]), failure),
        ("finite fields", suites(&[0x009E, 0x0033]), failure),
        ("pre-shared keys", suites(&[0x008C, 0x00A8]), failure),
        ("no suites", suites(&[]), alert(DECODE)),
        ("suites of TLS 1.2 for TLS 1.3", Hello { suites: vec![0xC02B], ..one() }, failure),
        ("a weak group", two().with(GROUPS, numbers(&[0x0015])), failure),
        ("a weak group, TLS 1.3", one().with(GROUPS, numbers(&[0x0015])).with(SHARES, share(0x15, &[4; 57])), failure),
        ("SHA-1 only", two().with(SCHEMES, numbers(&[0x0203, 0x0201])), failure),
        ("SHA-1 only, TLS 1.3", one().with(SCHEMES, numbers(&[0x0203, 0x0201])), Seen::HelloAndEnd),
        ("no signature schemes", one().without(SCHEMES), failure),
        ("no key share", one().without(SHARES), failure),
        ("no groups", one().without(GROUPS), failure),
        ("a key share of zeros", one().with(SHARES, share(0x1D, &[0; 32])), alert(ILLEGAL_PARAMETER)),
        ("a key share too short", one().with(SHARES, share(0x1D, &[9; 31])), alert(ILLEGAL_PARAMETER)),
        ("a point that is not on its curve", one().with(SHARES, share(0x17, &[4; 65])), Seen::HelloAndEnd),
        ("compression only", Hello { compression: vec![1], ..two() }, alert(ILLEGAL_PARAMETER)),
        ("no compression methods", Hello { compression: vec![], ..two() }, alert(DECODE)),
        ("a session id of 33 bytes", Hello { session: vec![7; 33], ..one() }, alert(DECODE)),
        ("an extension twice", one().and(VERSIONS, vec![2, 3, 4]), alert(ILLEGAL_PARAMETER)),
        ("a byte behind its end", Hello { more: vec![0], ..one() }, alert(DECODE)),
        ("ALPN of something else, TLS 1.2", alpn(two(), other), alert(NO_PROTOCOL)),
        ("ALPN of another thing, TLS 1.2", alpn(two(), another), alert(NO_PROTOCOL)),
        ("ALPN of something else", alpn(one(), other), Seen::HelloAndEnd),
        ("ALPN of another thing", alpn(one(), another), Seen::HelloAndEnd),
        ("ALPN of nothing", one().and(ALPN, vector(&[])), alert(DECODE)),
        ("ALPN of an empty name", alpn(one(), b""), alert(DECODE)),
    ];
    all.into_iter().map(|(name, hello, wanted)| attempt(name, hello.bytes(), wanted)).collect()
}

/// Nothing is answered to it until the deadline of the handshake.
pub(crate) const CLOSE: &str = "a close_notify";

/// What is sent of [`CLOSE`].
pub(super) fn close() -> Vec<u8> {
    record(21, &[1, 0])
}

/// What is no ClientHello.
fn others() -> Vec<Attempt> {
    let hello = Hello::of_13().message();
    let (unexpected, decode) = (Seen::Alert(UNEXPECTED), Seen::Alert(DECODE));
    let fragments: Vec<u8> = hello.iter().flat_map(|byte| record(22, &[*byte])).collect();
    let server_hello = handshake(2, &hello[4..]);
    let v2 = [&[0x80, 0x2E, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10][..], &[5; 37]].concat();
    vec![
        attempt("good, a record for each byte", fragments, Seen::Hello),
        attempt("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), decode),
        attempt("SSL 2.0", v2, decode),
        attempt("MQTT without TLS", b"\x10\x13\0\x04MQTT\x04\x02\0\x3c\0\x07meter-7".to_vec(), decode),
        attempt("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), decode),
        attempt("a proxy's header", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(), decode),
        attempt("zeros", vec![0; 200], decode),
        attempt("ones", vec![0xFF; 200], decode),
        attempt("a record longer than any", [&[22, 3, 1, 0xFF, 0xFF][..], &[1; 200]].concat(), decode),
        attempt("a record of a kind that nobody knows", record(99, &[1, 2, 3]), decode),
        attempt("a record of SSL 2.0", [&[22, 2, 0][..], &vector(&hello)].concat(), decode),
        attempt("a heartbeat", record(24, &[1, 0x40, 0]), decode),
        attempt("data before anything", record(23, &[7; 40]), unexpected),
        attempt("a change of cipher before anything", record(20, &[1]), unexpected),
        attempt("an empty record", record(22, &[]), decode),
        attempt("a ServerHello", record(22, &server_hello), decode),
        attempt("a Finished", record(22, &handshake(20, &[7; 32])), unexpected),
        attempt("a certificate", record(22, &handshake(11, &[0, 0, 0, 0])), decode),
        attempt("a message of a kind that nobody knows", record(22, &handshake(77, &[7; 32])), unexpected),
        attempt("a message of 16 MiB", record(22, &[&[1, 0xFF, 0xFF, 0xFF][..], &[3, 3]].concat()), Seen::End),
        attempt("a fatal alert", record(21, &[2, 40]), Seen::End),
        attempt(CLOSE, close(), Seen::End),
        attempt("an alert of 3 bytes", record(21, &[2, 40, 0]), decode),
    ]
}

/// What must not come behind a good ClientHello.
fn behind_a_hello() -> Vec<Attempt> {
    let behind = |bytes: Vec<u8>| [Hello::of_13().bytes(), bytes].concat();
    let behind_12 = |bytes: Vec<u8>| [Hello::of_12().bytes(), bytes].concat();
    let changes: Vec<u8> = (0..1_000).flat_map(|_| record(20, &[1])).collect();
    vec![
        attempt("a second ClientHello", behind(Hello::of_13().bytes()), Seen::HelloAndEnd),
        attempt("data in the clear", behind(record(23, &[7; 40])), Seen::HelloAndEnd),
        attempt("a Finished in the clear", behind(record(22, &handshake(20, &[7; 32]))), Seen::HelloAndEnd),
        attempt("a close_notify in mid-handshake", behind(record(21, &[1, 0])), Seen::HelloAndEnd),
        attempt("a thousand changes of cipher", behind(changes), Seen::HelloAndEnd),
        attempt("HTTP behind a hello", behind(b"GET / HTTP/1.1\r\n\r\n".to_vec()), Seen::HelloAndEnd),
        attempt("a close_notify in mid-handshake, TLS 1.2", behind_12(record(21, &[1, 0])), Seen::HelloAndEnd),
        attempt("data in the clear, TLS 1.2", behind_12(record(23, &[7; 40])), Seen::HelloAndEnd),
        attempt("a Finished too early, TLS 1.2", behind_12(record(22, &handshake(20, &[7; 12]))), Seen::HelloAndEnd),
    ]
}

/// Sends `bytes`; what comes. A good one is left then.
pub(crate) fn see(port: u16, bytes: &[u8], wanted: Seen) -> anyhow::Result<Seen> {
    let mut socket = dial(port)?;
    let _ = socket.write_all(bytes); // the server may close before it has read all
    let (began, mut heard) = (Instant::now(), Vec::new());
    let mut chunk = [0; 4096];
    while began.elapsed() < PATIENCE {
        match socket.read(&mut chunk) {
            Ok(0) => return Ok(verdict(&heard, true)),
            Ok(count) => heard.extend(chunk.iter().take(count)),
            Err(error) if is_patience(&error) => {}
            Err(_) => return Ok(verdict(&heard, true)),
        }
        let seen = verdict(&heard, false);
        if matches!(seen, Seen::Alert(_)) || (seen == Seen::Hello && wanted == Seen::Hello) {
            return Ok(seen);
        }
    }
    Ok(Seen::Nothing)
}

fn verdict(heard: &[u8], ended: bool) -> Seen {
    match heard {
        [21, _, _, 0, 2, _, alert, ..] => Seen::Alert(*alert),
        [22, _, _, _, _, 2, ..] => {
            if ended {
                Seen::HelloAndEnd
            } else {
                Seen::Hello
            }
        }
        _ if ended => Seen::End,
        _ => Seen::Nothing,
    }
}

/// A handshake of which each byte comes alone, as over a link that loses most of what is sent: slow, and not bad.
pub(super) fn byte_by_byte(bench: &mut Bench, shown: &super::client::Shown, found: &mut Found) -> anyhow::Result<()> {
    let config = super::client::config(&bench.roots, Some(shown), &rustls::version::TLS13)?;
    let (words, before) = (bench.words(), bench.site.counted()?);
    let mut tls = rustls::ClientConnection::new(std::sync::Arc::new(config), "localhost".try_into()?)?;
    tls.writer().write_all(&words)?;
    let mut socket = Drops(dial(bench.site.port())?);
    while tls.wants_write() {
        tls.write_tls(&mut socket)?;
    }
    let mut socket = socket.0;
    let outcome = super::client::watch(&mut tls, &mut socket);
    found.check(outcome == Outcome::LetIn, || format!("bytes: good, a byte at a time: {outcome}"));
    let counts = Counts { connections: 1, publishes: 1, ..Counts::default() };
    if let Some(why) = bench.site.has_counted(&before, &counts)? {
        found.wrong(format!("bytes: good, a byte at a time: {why}"));
    }
    bench.let_in += u64::from(outcome == Outcome::LetIn);
    found.count("good_handshakes", 1);
    Ok(())
}

/// Sends byte by byte.
struct Drops(TcpStream);

impl Write for Drops {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            self.0.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
