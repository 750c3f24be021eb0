//! Revocation lists that are one part of many, or for some kinds of certificates only: a TLS library takes such a part for the
//! whole where a certificate does not name the part that it is in. The gateway refuses them, and keeps the lists it has.

use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::Gateway;
use harness::pki::Files;
use rustls::version::TLS13;

use super::Bench;
use super::client::{self, Outcome, Shown};
use super::der::{self, explicit, sequence, tlv};
use super::draft::{Draft, Extension, List};
use super::workshop::{DEVICE, ISSUING, REVOKED_BY_ISSUING, Workshop};
use crate::part::{Found, Plan};

/// IssuingDistributionPoint (RFC 5280, section 5.2.5).
const SCOPE: &[u8] = &[0x55, 0x1D, 28];
/// What the gateway says of such a list.
const WORDS: &str = "issuing distribution point";
/// For files to be read again: they are looked at every 2 s.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// All of them when a gateway starts, and one for a gateway that runs.
pub(super) fn run(
    plan: &Plan,
    bench: &mut Bench,
    workshop: &mut Workshop,
    shown: &Shown,
    found: &mut Found,
) -> anyhow::Result<()> {
    at_start(plan, bench, workshop, found)?;
    on_reload(bench, workshop, shown, found)
}

/// The scopes that there are: each a list that differs from a good one in this alone.
fn scopes() -> Vec<(&'static str, Vec<u8>)> {
    let point = explicit(0, &explicit(0, &tlv(0x86, b"http://lists.example/1.crl")));
    let only = |tag: u8| tlv(tag, &[0xFF]);
    vec![
        ("a part of many", sequence(std::slice::from_ref(&point))),
        ("a part, for leaves only", sequence(&[point.clone(), only(0x81)])),
        ("a part, for authorities only", sequence(&[point.clone(), only(0x82)])),
        ("for leaves only", sequence(&[only(0x81)])),
        ("for authorities only", sequence(&[only(0x82)])),
        ("for some reasons only", sequence(&[point.clone(), tlv(0x83, &[6, 0x40])])),
        ("of other issuers", sequence(&[point, only(0x84)])),
        ("for attributes only", sequence(&[only(0x85)])),
        ("a scope of nothing", sequence(&[])),
    ]
}

fn at_start(plan: &Plan, bench: &Bench, workshop: &Workshop, found: &mut Found) -> anyhow::Result<()> {
    let files = Files { authority: workshop.folder.join("trusted.crt"), ..bench.server.clone() };
    let mut gateway = Gateway::prepare(&plan.folder.join("parts"), files, "");
    let path = plan.folder.join("part.crl");
    gateway.crl = Some(path.clone());
    let check = |list: &List| -> anyhow::Result<Output> {
        std::fs::write(&path, der::pem("X509 CRL", &list.sign(&workshop.issuing)?))?;
        Ok(gateway.command("check-config"))
    };
    let good = List::of(ISSUING, workshop.now, &[]);
    let checked = check(&good)?;
    found.check(checked.status.success(), || format!("parts: a good list: {}", words(&checked)));
    for (name, scope) in scopes() {
        let mut list = good.clone();
        list.extensions.push(Extension(SCOPE, true, scope));
        let checked = check(&list)?;
        let is_right = !checked.status.success() && words(&checked).contains(WORDS);
        found.check(is_right, || format!("parts: {name}: it is {}: {}", checked.status, words(&checked)));
        found.count("partial_lists_refused", usize::from(is_right));
    }
    Ok(())
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A part comes in the place of a whole list: who was let in is, and who was not is not.
fn on_reload(bench: &mut Bench, workshop: &mut Workshop, shown: &Shown, found: &mut Found) -> anyhow::Result<()> {
    let mut part = List::of(ISSUING, workshop.now, &[]); // without the one that is revoked
    let (_, scope) = scopes().swap_remove(0);
    part.extensions.push(Extension(SCOPE, true, scope));
    workshop.replace_list(&part)?;
    let began = Instant::now();
    loop {
        let log = bench.site.gateway.process.as_ref().context("the gateway runs")?.log_text();
        if log.contains("the old stay") && log.contains(WORDS) {
            break;
        }
        anyhow::ensure!(began.elapsed() < READ_WITHIN, "the gateway does not read its lists again, or takes the part");
        std::thread::sleep(Duration::from_millis(50));
    }
    let serial = [&[0x40], &REVOKED_BY_ISSUING.to_be_bytes()[..]].concat();
    let draft = Draft { serial, ..workshop.leaf() };
    let revoked = Shown { chain: workshop.issue(&draft)?, ..shown.clone() };
    for (name, shown, wanted) in
        [("good", shown, Outcome::LetIn), ("revoked in the list before", &revoked, Outcome::Alert(44))]
    {
        let (config, words) = (client::config(&bench.roots, Some(shown), &TLS13)?, bench.words());
        let outcome = client::attempt(bench.site.port(), config, &words)?;
        bench.let_in += u64::from(outcome == Outcome::LetIn);
        found.check(outcome == wanted, || format!("parts: {DEVICE}, {name}: {outcome}, where {wanted} is due"));
    }
    Ok(())
}
