//! Rows about servers that are not who they should be: each is shown to the running agent and to `enrol`, under both
//! versions of TLS, between two that are good.

use harness::Agent;
use harness::mqtt::Packet;
use harness::wrong_clock::WrongClock;
use rustls::version::{TLS12, TLS13};

use super::bench::{AT_ONCE, Bench, NO_FAKETIME, PATIENCE};
use super::door::Door;
use super::line::{Heard, Line, Shaken};
use super::rows::Verdict;
use crate::certificates::Shown;
use crate::certificates::draft::{BASIC, CLIENT, Draft, EXTENDED, NAMES, SERVER, dns, names, purposes};
use crate::certificates::keys::{Key, Proof};
use crate::certificates::workshop::{ISSUING, ROOT, Workshop};
use crate::certificates::{der, draft};

// TLS alerts (RFC 8446, section 6.2).
const BAD_CERTIFICATE: u8 = 42;
const UNSUPPORTED: u8 = 43;
const EXPIRED: u8 = 45;
const UNKNOWN: u8 = 46;
const UNKNOWN_CA: u8 = 48;
const DECRYPT: u8 = 51;

const DAY: i64 = 86_400;

/// What a server shows, and with which alert it is due to be refused; none: it is good.
struct Case {
    name: String,
    shown: Shown,
    alert: Option<u8>,
}

fn case(name: &str, shown: Shown, alert: u8) -> Case {
    Case { name: name.to_owned(), shown, alert: Some(alert) }
}

/// Whoever can say that a server is good, it is none of these.
pub(super) fn unsecured(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let cases = chains(bench)?;
    let count = try_all(bench, "twin-unsecured", &cases)?;
    Ok(vec![Verdict::Pass(format!("{count} chains refused, each with an alert and without a byte of MQTT"))])
}

fn chains(bench: &Bench) -> anyhow::Result<Vec<Case>> {
    let mut workshop = bench.workshop();
    let (now, own, stranger) = (workshop.now, workshop.device.clone(), workshop.stranger.clone());
    let (root, issuing, anchor) = (workshop.root.clone(), workshop.issuing.clone(), workshop.anchor());
    let shown = |chain: Vec<Vec<u8>>| Shown { chain, key: own.clone(), proof: Proof::Right };
    let by = |issuer: &str, signer: &Key, serial| named(Draft::leaf("s", issuer, &own, now, serial)).sign(signer);
    let authority = |name: &str, key: &Key, signer: &Key, issuer: &str| {
        Draft::authority(name, issuer, key, now, 7, None).sign(signer)
    };
    let good = bench.good.chain.clone();
    let (leaf, between) = (good[0].clone(), good[1].clone());
    let mut flipped = leaf.clone();
    flipped.iter_mut().rev().skip(2).take(1).for_each(|byte| *byte ^= 1);
    let device = Draft::leaf("twin", ISSUING, &issuing, now, workshop.serial()).sign(&issuing)?;
    let no_authority = workshop.below_root("no authority", &stranger, |draft| draft.with(BASIC, der::sequence(&[])))?;
    Ok(vec![
        case("signed by itself", shown(vec![by("s", &own, 1)?]), UNKNOWN_CA),
        case("signed by itself in the root's name", shown(vec![by(ROOT, &own, 2)?]), DECRYPT),
        case("another authority", shown(vec![by("other", &stranger, 3)?]), UNKNOWN_CA),
        case(
            "another authority, which comes along",
            shown(vec![by("other", &stranger, 4)?, authority("other", &stranger, &stranger, "other")?]),
            UNKNOWN_CA,
        ),
        case(
            "an authority of the same name",
            shown(vec![by(ROOT, &stranger, 5)?, authority(ROOT, &stranger, &stranger, ROOT)?]),
            DECRYPT,
        ),
        case(
            "an issuing authority that nobody has signed",
            shown(vec![by(ISSUING, &stranger, 6)?, authority(ISSUING, &stranger, &stranger, ROOT)?]),
            DECRYPT,
        ),
        case("issuer missing", shown(vec![leaf.clone()]), UNKNOWN_CA),
        case("issuer missing, the root comes along", shown(vec![leaf.clone(), anchor]), UNKNOWN_CA),
        case("an issuer that is no authority", shown(vec![by("no authority", &stranger, 8)?, no_authority]), UNKNOWN),
        case("signed by a device", shown(vec![by("twin", &issuing, 9)?, device, between.clone()]), UNKNOWN),
        case("a signature with one bit turned", shown(vec![flipped, between.clone()]), DECRYPT),
        case(
            "a good chain with another's key",
            Shown { chain: good.clone(), key: stranger, proof: Proof::Right },
            DECRYPT,
        ),
        case("a device's", shown(for_devices(&mut workshop)?), UNSUPPORTED),
        case(
            "a good chain, proven over another handshake",
            Shown { chain: good, key: own.clone(), proof: Proof::OverOther },
            DECRYPT,
        ),
        case(
            "directly below the root, for clients",
            shown(vec![named(Draft::leaf("s", ROOT, &own, now, 11)).with(EXTENDED, purposes(&[CLIENT])).sign(&root)?]),
            UNSUPPORTED,
        ),
    ])
}

fn named(draft: Draft) -> Draft {
    draft.with(NAMES, names(&[dns(b"localhost")])).with(EXTENDED, purposes(&[SERVER]))
}

fn for_devices(workshop: &mut Workshop) -> anyhow::Result<Vec<Vec<u8>>> {
    let draft = workshop.leaf().with(NAMES, names(&[dns(b"localhost")]));
    workshop.issue(&draft)
}

/// Names that look like the one that was dialled, and are not.
pub(super) fn other_names(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let directory = der::tlv(0xA4, &der::name("localhost"));
    let sets: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("another name", vec![dns(b"gateway.example")]),
        ("a longer name", vec![dns(b"localhost.example")]),
        ("a name below", vec![dns(b"www.localhost")]),
        ("a wildcard", vec![dns(b"*")]),
        ("a wildcard below", vec![dns(b"*.localhost")]),
        ("half a wildcard", vec![dns(b"local*")]),
        ("a dot behind", vec![dns(b"localhost.")]),
        ("a zero byte behind", vec![dns(b"localhost\0.example")]),
        ("letters that look alike", vec![dns("l\u{43e}calhost".as_bytes())]),
        ("the same in punycode", vec![dns(b"xn--lcalhost-i2g")]),
        ("its address", vec![der::tlv(0x87, &[127, 0, 0, 1])]),
        ("its address as a name", vec![dns(b"127.0.0.1")]),
        ("a URI", vec![der::tlv(0x86, b"mqtts://localhost")]),
        ("a mail address", vec![der::tlv(0x81, b"root@localhost")]),
        ("a directory name", vec![directory]),
        ("no names", vec![]),
    ];
    let mut cases = Vec::new();
    for (name, set) in &sets {
        let shown = bench.shows(|draft| Draft { subject: der::name("localhost"), ..draft }.with(NAMES, names(set)))?;
        cases.push(case(name, shown, BAD_CERTIFICATE));
    }
    let shown = bench.shows(|draft| Draft { subject: der::name("localhost"), ..draft }.without(NAMES))?;
    cases.push(case("only the common name", shown, BAD_CERTIFICATE));
    for (name, set) in
        [("capitals", vec![dns(b"LOCALHOST")]), ("one of two", vec![dns(b"a.example"), dns(b"localhost")])]
    {
        let shown = bench.shows(|draft| draft.with(NAMES, draft::names(&set)))?;
        cases.push(Case { name: format!("good: {name}"), shown, alert: None });
    }
    let count = try_all(bench, "twin-names", &cases)?;
    Ok(vec![Verdict::Pass(format!("{count} names refused, each with an alert and without a byte of MQTT"))])
}

/// Certificates whose time is over or has not come; and devices whose clocks are wrong.
pub(super) fn expired(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let now = bench.workshop().now;
    let mut cases = Vec::new();
    for (name, life) in [
        ("expired a minute ago", (now - 30 * DAY, now - 60)),
        ("expired ten years ago", (now - 3_700 * DAY, now - 3_650 * DAY)),
        ("valid from tomorrow", (now + DAY, now + 30 * DAY)),
        ("ends before it begins", (now + DAY, now - DAY)),
    ] {
        cases.push(case(name, bench.shows(|draft| Draft { life, ..draft })?, EXPIRED));
    }
    for (name, life) in
        [("issuer expired", (now - 90 * DAY, now - DAY)), ("issuer to come", (now + DAY, now + 9 * DAY))]
    {
        cases.push(case(name, below(bench, name, life)?, EXPIRED));
    }
    let count = try_all(bench, "twin-expired", &cases)?;
    let seen = format!("{count} certificates refused, each with an alert and without a byte of MQTT");
    let Some(clock) = WrongClock::new(&bench.plan.folder) else {
        return Ok(vec![Verdict::Warning(format!("{seen}; wrong clocks were not tried: {NO_FAKETIME}"))]);
    };
    let old = bench.shows(|draft| Draft { life: (now - 30 * DAY, now - 60), ..draft })?;
    for (place, (setting, shown, is_taken)) in
        [("+1y", &bench.good, false), ("-1d", &bench.good, false), ("@1970-01-01 00:10:00", &old, true)]
            .into_iter()
            .enumerate()
    {
        anyhow::ensure!(clock.set(setting), "set the clock");
        let door = Door::open()?;
        let mut agent = bench.agent(&format!("twin-clock-{place}"), door.port, "", &AT_ONCE)?;
        agent.environment = clock.environment();
        agent.start();
        let alert = if is_taken { None } else { Some(EXPIRED) };
        attempt(bench, &door, &Case { name: format!("clock {setting}"), shown: shown.clone(), alert }, &TLS13)?;
    }
    Ok(vec![Verdict::Warning(format!(
        "{seen}; so is a good one by a clock that is a year fast or a day slow. A device that wakes in 1970 knows no time and takes the \
         certificate's own for its first connection, an expired one too, until a receipt has brought the time"
    ))])
}

/// A good leaf below an issuer that lives otherwise.
fn below(bench: &Bench, name: &str, life: (i64, i64)) -> anyhow::Result<Shown> {
    let mut workshop = bench.workshop();
    let (key, own, now) = (workshop.issuing.clone(), workshop.device.clone(), workshop.now);
    let issuer = workshop.below_root(name, &key, |draft| Draft { life, ..draft })?;
    let leaf = named(Draft::leaf("s", name, &own, now, workshop.serial())).sign(&key)?;
    Ok(Shown { chain: vec![leaf, issuer], key: own, proof: Proof::Right })
}

/// Shows all of them to the agent and to `enrol`, a good one before and behind. How many were refused.
fn try_all(bench: &Bench, device: &str, cases: &[Case]) -> anyhow::Result<usize> {
    let good = Case { name: "good".to_owned(), shown: bench.good.clone(), alert: None };
    let all = || [&good].into_iter().chain(cases).chain([&good]);
    let mut wrong = Vec::new();
    let door = Door::open()?;
    let mut agent: Agent = bench.agent(device, door.port, "", &AT_ONCE)?;
    agent.start();
    for case in all() {
        for version in [&TLS13, &TLS12] {
            wrong.extend(
                attempt(bench, &door, case, version).err().map(|error| format!("{:?}: {error:#}", version.version)),
            );
        }
    }
    drop(agent);
    let door = Door::open()?;
    let _enrols = bench.enrols(&format!("{device}-enrol"), door.port)?;
    for case in all() {
        wrong.extend(attempt(bench, &door, case, &TLS13).err().map(|error| format!("enrol: {error:#}")));
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(cases.iter().filter(|case| case.alert.is_some()).count())
}

/// The next connection is shown this; what is due must become of it.
fn attempt(
    bench: &Bench,
    door: &Door,
    case: &Case,
    version: &'static rustls::SupportedProtocolVersion,
) -> anyhow::Result<()> {
    let config = bench.config_of(&case.shown, version)?;
    let (which, shaken) = (&case.name, Line::shake(door.accept(PATIENCE)?, &config, PATIENCE)?);
    match (shaken, case.alert) {
        (Shaken::Up(mut line), None) => {
            let heard = line.hear(PATIENCE);
            anyhow::ensure!(matches!(heard, Heard::Packet(Packet::Connect { .. })), "{which}: {heard:?}");
        }
        (Shaken::Up(_), Some(_)) => anyhow::bail!("{which}: it was taken"),
        (Shaken::Refused { alert, said }, wanted) => {
            anyhow::ensure!(said == 0, "{which}: {said} bytes of MQTT");
            anyhow::ensure!(wanted.is_some() && alert == wanted, "{which}: alert {alert:?}, where {wanted:?} is due");
        }
    }
    Ok(())
}
