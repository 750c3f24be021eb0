//! Rows about TLS with a server that is as it should be.

use harness::mqtt::Packet;
use rustls::version::{TLS12, TLS13};

use super::bench::{AT_ONCE, Bench, PATIENCE};
use super::client_hello::ClientHello;
use super::door::{Door, first_record};
use super::host::Host;
use super::line::{Heard, Line, Shaken};
use super::rows::Verdict;
use crate::certificates::Shown;
use crate::certificates::der::octets;
use crate::certificates::draft::Extension;

/// What the agent's ClientHello offers.
const GOLDEN: &str = include_str!("client_hello.txt");
/// An extension that nobody knows and nobody has to: it only makes a certificate large.
const PADDING: &[u8] = &[0x2A, 3, 4, 5];
/// The payload of the largest publish that AWS IoT Core passes on.
const LARGE: usize = 128 * 1024;

/// Handshake after handshake, one half of them with each version of TLS.
pub(super) fn connect(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let (door, count) = (Door::open()?, bench.plan.amount(50, 1_000));
    let configs = [bench.config_of(&bench.good, &TLS13)?, bench.config_of(&bench.good, &TLS12)?];
    let mut agent = bench.agent("twin-handshakes", door.port, "", &AT_ONCE)?;
    agent.start();
    for place in 0..count {
        let mut line = bench.line(&door, &configs[place % 2])?;
        let heard = line.hear(PATIENCE);
        anyhow::ensure!(matches!(heard, Heard::Packet(Packet::Connect { .. })), "handshake {place}: {heard:?}");
    }
    Ok(vec![Verdict::Pass(format!("{count} handshakes under TLS 1.3 and 1.2, each followed by CONNECT"))])
}

/// Publishes of the largest size in records of the largest size.
pub(super) fn fragments(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let (door, mut host) = (Door::open()?, Host::default());
    let mut agent = bench.agent("twin-fragments", door.port, "", &AT_ONCE)?;
    agent.start();
    let mut line = bench.line(&door, &bench.config(&bench.good)?)?;
    host.welcome(&mut line, PATIENCE)?;
    let count = bench.plan.amount(10, 100);
    for id in 1..=u16::try_from(count)? {
        let before = line.full_records;
        line.say(&host.to_device(Some(id), vec![0x55; LARGE]))?;
        let full = line.full_records - before;
        anyhow::ensure!(full >= LARGE / 16_384, "{full} records were full");
        acknowledged(&mut host, &mut line, id)?;
    }
    bench.sum_up(host.summary);
    Ok(vec![Verdict::Pass(format!("{count} publishes of 128 KiB in full records of 16 KiB, each acknowledged"))])
}

/// Waits for the PUBACK of `id`, and serves what else comes.
pub(super) fn acknowledged(host: &mut Host, line: &mut Line, id: u16) -> anyhow::Result<()> {
    let began = std::time::Instant::now();
    while began.elapsed() < PATIENCE {
        match line.hear(PATIENCE) {
            Heard::Packet(Packet::PubAck(acknowledged)) => {
                anyhow::ensure!(acknowledged == id, "PUBACK of {acknowledged}, where {id} is due");
                return Ok(());
            }
            Heard::Packet(packet) => {
                host.note(&packet);
                host.answer(line, packet)?;
            }
            other => anyhow::bail!("no PUBACK of {id}: {other:?}"),
        }
    }
    anyhow::bail!("no PUBACK of {id} within {PATIENCE:?}")
}

/// What it offers, against the golden file and against what AWS IoT Core takes.
pub(super) fn suites(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let door = Door::open()?;
    let mut agent = bench.agent("twin-suites", door.port, "", &AT_ONCE)?;
    agent.start();
    let offered = |door: &Door| -> anyhow::Result<ClientHello> {
        let record = first_record(&door.accept(PATIENCE)?, PATIENCE)?;
        ClientHello::read(&record).ok_or_else(|| anyhow::anyhow!("no ClientHello: {record:02x?}"))
    };
    let hello = offered(&door)?;
    anyhow::ensure!(hello.in_lines() == GOLDEN, "the ClientHello is not the golden one:\n{}", hello.in_lines());
    anyhow::ensure!(hello.server_name == "localhost", "SNI is {:?}", hello.server_name);
    anyhow::ensure!(!hello.has_early_data, "early data");
    drop(agent);
    // With a claim it offers the same.
    let door = Door::open()?;
    let _enrols = bench.enrols("twin-suites-enrol", door.port)?;
    let claims = offered(&door)?;
    anyhow::ensure!(claims == hello, "`enrol` offers otherwise:\n{}", claims.in_lines());
    anyhow::ensure!(hello.has_recommended(), "no suite that AWS IoT Core takes");
    let (safe, others) = hello.beside_recommended();
    anyhow::ensure!(others.is_empty(), "suites that are not forward secret or not authenticated: {others:04x?}");
    let count = hello.suites.len();
    Ok(vec![if safe.is_empty() {
        Verdict::Pass(format!("{count} suites, all of them recommended"))
    } else {
        Verdict::Warning(
            "TLS 1.3, and ECDHE with AEAD under 1.2; ChaCha20-Poly1305 under 1.2 is offered too, which AWS IoT Core \
             takes under 1.3 only"
                .to_owned(),
        )
    }])
}

/// Certificates that are larger than usual, and too large.
pub(super) fn large(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let door = Door::open()?;
    let mut agent = bench.agent("twin-large", door.port, "", &AT_ONCE)?;
    agent.start();
    let size = |shown: &Shown| shown.chain.iter().map(Vec::len).sum::<usize>();
    let padded = |bytes: usize| {
        let padding = Extension(PADDING, false, octets(&vec![0x55; bytes.saturating_sub(size(&bench.good) + 40)]));
        bench.shows(|draft| draft.and(padding))
    };
    let usual = size(&bench.good);
    for bytes in [usual + usual / 5, 4_096, 8_192, 16_384] {
        let shown = padded(bytes)?;
        anyhow::ensure!(size(&shown).abs_diff(bytes) < 40, "{} bytes, where {bytes} were wanted", size(&shown));
        for version in [&TLS13, &TLS12] {
            let mut line = bench.line(&door, &bench.config_of(&shown, version)?)?;
            let heard = line.hear(PATIENCE);
            anyhow::ensure!(matches!(heard, Heard::Packet(Packet::Connect { .. })), "{bytes} bytes: {heard:?}");
        }
    }
    for version in [&TLS13, &TLS12] {
        let config = bench.config_of(&padded(65_536 + 1_024)?, version)?;
        match Line::shake(door.accept(PATIENCE)?, &config, PATIENCE) {
            Ok(Shaken::Refused { said: 0, .. }) | Err(_) => {}
            Ok(Shaken::Refused { said, .. }) => anyhow::bail!("64 KiB: {said} bytes of MQTT"),
            Ok(Shaken::Up(_)) => anyhow::bail!("a certificate of 64 KiB was taken"),
        }
    }
    let mut line = bench.line(&door, &bench.config(&bench.good)?)?;
    let heard = line.hear(PATIENCE);
    anyhow::ensure!(matches!(heard, Heard::Packet(Packet::Connect { .. })), "the usual one again: {heard:?}");
    Ok(vec![Verdict::Pass(format!(
        "chains of {usual} bytes and a fifth more, 4, 8 and 16 KiB are taken; one of 65 KiB is refused without a byte of MQTT"
    ))])
}
