//! Who is let in: bad handshakes by the dozen, each beside a good one of the same making.
//!
//! The client says CONNECT, a reading and DISCONNECT as early as TLS lets it, and what the gateway has counted shows that
//! nothing of it was taken in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::Pki;
use harness::pki::Files;
use rustls::RootCertStore;
use rustls::version::{TLS12, TLS13};

mod cases;
mod chains;
mod client;
pub(crate) use client::{Outcome, Shown, attempt, dial, is_patience};
pub(crate) mod der;
pub(crate) mod draft;
mod floods;
pub(crate) mod hello;
pub(crate) mod keys;
mod lists;
mod names;
mod parts;
pub(crate) mod raw;
mod resumption;
mod shapes;
mod weak;
pub(crate) mod workshop;

use crate::part::{Found, Plan};
use crate::site::{Counts, NEIGHBOUR, Site, now_s, pack};
use cases::{Case, Cases};
use workshop::{DEVICE, Workshop};

/// What the way to the root may cost, however it is laid out (the reference target of RUSTSEC-2023-0053), beside what a
/// good handshake costs. A debug build takes its time.
const COST_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 50 });

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut workshop = Workshop::open(&plan.folder.join("workshop"))?;
    let cases = Cases::make(&mut workshop)?;
    let mut bench = Bench::start(&plan.folder, &mut workshop)?;
    let mut found = Found::default();
    let target = raw::listener(bench.site.port());
    // What is waited for until a deadline is tried with others of that kind.
    raw::run(&mut bench.site, &target, |name| name != raw::CLOSE, &mut found)?;
    let good = workshop.leaf();
    let shown = Shown { chain: workshop.issue(&good)?, key: workshop.device.clone(), proof: keys::Proof::Right };
    raw::byte_by_byte(&mut bench, &shown, &mut found)?;
    for (number, case) in cases.iter().enumerate() {
        for (place, version) in [&TLS13, &TLS12].into_iter().enumerate() {
            // A commit's worth is all of them under TLS 1.3, and some under 1.2.
            if place == 0 || !plan.short || number % 8 == usize::try_from(plan.seed % 8)? {
                bench.try_case(case, place, version, &mut found)?;
            }
        }
    }
    let bad = cases.iter().filter(|case| case.is_bad() && case.open.is_none());
    let (by_tls, later): (Vec<&Case>, Vec<&Case>) = bad.partition(|case| case.is_refused_by_tls());
    found.count("bad_handshakes", by_tls.len());
    // What follows from the certificate alone never comes as far as a packet.
    let later: Vec<&str> = later.iter().map(|case| case.name.as_str()).collect();
    found.check(later == [cases::BY_CONNECT], || format!("refused after the handshake only: {later:?}"));
    floods::slow(&mut bench, &shown, &mut found)?;
    floods::half_open(plan, &mut bench, &shown, &mut found)?;
    parts::run(plan, &mut bench, &mut workshop, &shown, &mut found)?;
    resumption::run(&mut bench, &mut workshop, &mut found)?;
    bench.conclude(&mut found)?;
    Ok(found)
}

/// A gateway that trusts the workshop, and what clients need to know.
struct Bench {
    site: Site,
    roots: Arc<RootCertStore>,
    /// The gateway's own certificate, and who signed it.
    server: Files,
    let_in: u64,
    said: u64,
}

impl Bench {
    fn start(folder: &Path, workshop: &mut Workshop) -> anyhow::Result<Self> {
        let pki = Pki::create(&folder.join("pki"));
        let server = pki.server();
        let neighbour = workshop.neighbour(NEIGHBOUR, &server.authority)?;
        let (authority, crl) = workshop.trusted()?;
        let mut roots = RootCertStore::empty();
        for root in certs::read_certificates(&server.authority)? {
            roots.add(root)?;
        }
        let site = Site::start(folder, Files { authority, ..server.clone() }, Some(crl), neighbour)?;
        Ok(Self { site, server, roots: Arc::new(roots), let_in: 0, said: 0 })
    }

    /// CONNECT, a reading of its own, and DISCONNECT, in MQTT 5.
    fn words(&mut self) -> Vec<u8> {
        self.said += 1;
        let reading = pack("said", now_s() - 100_000 + self.said, self.said);
        let text = |text: &[u8]| [&u16::try_from(text.len()).unwrap_or(0).to_be_bytes()[..], text].concat();
        let packet = |first: u8, body: Vec<u8>| {
            let length = u8::try_from(body.len()).expect("short packets");
            assert!(length < 0x80, "one byte of length");
            [&[first, length], &body[..]].concat()
        };
        let connect = [&text(b"MQTT")[..], &[5, 2, 0, 60, 0], &text(DEVICE.as_bytes())].concat();
        let topic = format!("trib/1/{DEVICE}/senml");
        let publish = [&text(topic.as_bytes())[..], &[0, 1, 0], &reading].concat();
        [packet(0x10, connect), packet(0x32, publish), packet(0xE0, vec![])].concat()
    }

    fn try_case(
        &mut self,
        case: &Case,
        place: usize,
        version: &'static rustls::SupportedProtocolVersion,
        found: &mut Found,
    ) -> anyhow::Result<()> {
        self.site.others_go_on()?;
        let config = client::config(&self.roots, case.shown.as_ref(), version)?;
        let words = self.words();
        let (before, spent) = (self.site.counted()?, self.site.processor_time());
        let outcome = client::attempt(self.site.port(), config, &words)?;
        let spent = self.site.processor_time().saturating_sub(spent);
        let wanted = case.wanted[place];
        let which = format!("{}: {}, TLS 1.{}", case.family, case.name, 3 - place);
        match case.open {
            None => found.check(outcome == wanted, || format!("{which}: {outcome}, where {wanted} is due")),
            Some(_) if outcome == wanted => found.wrong(format!("{which}: {outcome} at last; it is not open any more")),
            Some(why) => found.open.push(format!("{which}: {outcome}, where {wanted} is due: {why}")),
        }
        let counts = match if case.open.is_some() { outcome } else { wanted } {
            Outcome::LetIn => Counts { connections: 1, publishes: 1, ..Counts::default() },
            Outcome::Refused(_) => Counts { connects_refused: 1, ..Counts::default() },
            _ => Counts { handshakes_failed: 1, ..Counts::default() },
        };
        if let Some(why) = self.site.has_counted(&before, &counts)? {
            found.wrong(format!("{which}: {why}"));
        }
        if case.is_costly {
            found.check(spent <= COST_MAX, || format!("{which}: it took {spent:?} of the processors"));
        }
        if outcome == Outcome::LetIn {
            self.let_in += 1;
        }
        found.count(if case.is_bad() { "bad_handshakes_tried" } else { "good_handshakes" }, 1);
        Ok(())
    }

    /// What was let in was stored, nothing else was.
    fn conclude(self, found: &mut Found) -> anyhow::Result<()> {
        let expected = [(DEVICE.to_owned(), self.let_in), ("meter-8".to_owned(), 0)];
        let steady = self.site.conclude(&expected)?;
        found.measured("neighbour_readings", steady);
        Ok(())
    }
}
