//! Rows about what is said where both ends are content: CONNECT, SUBSCRIBE, PUBLISH, PUBACK.

use harness::mqtt::Packet;

use super::bench::{AT_ONCE, Bench, PATIENCE, meter};
use super::door::Door;
use super::host::{Do, Host, Over, bodies};
use super::line::Heard;
use super::rows::Verdict;
use super::tls::acknowledged;
use crate::wire::{packet, text};

/// The device of the golden CONNECT.
const DEVICE: &str = "twin-connect";

/// MQTT_Connect, MQTT_Publish, MQTT_Subscribe.
pub(super) fn basics(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let (door, mut host) = (Door::open()?, Host::default());
    let config = bench.config(&bench.good)?;
    let mut agent = bench.agent(DEVICE, door.port, &meter(2), &AT_ONCE)?;
    agent.start();
    let mut line = bench.line(&door, &config)?;
    let Heard::Packet(connect) = line.hear(PATIENCE) else { anyhow::bail!("no CONNECT") };
    anyhow::ensure!(line.raw == golden(), "CONNECT is\n{:02x?}\nwhere\n{:02x?}\nis due", line.raw, golden());
    host.note(&connect);
    host.answer(&mut line, connect)?;
    let (mut filters, mut frames, mut others) = (Vec::new(), 0, Vec::new());
    let over = host.serve(&mut line, PATIENCE, |packet| {
        match packet {
            Packet::Subscribe { filters: all, .. } => filters.extend(all.clone()),
            Packet::Publish { id: None, topic, .. } => others.push(topic.clone()),
            packet if !bodies(packet).is_empty() => frames += 1,
            _ => {}
        }
        if frames >= 3 { Do::Stop } else { Do::Answer }
    })?;
    anyhow::ensure!(over == Over::Stopped, "{frames} frames, and then {over:?}");
    let wanted = ["receipt", "enrol/answer"].map(|channel| (format!("trib/1/{DEVICE}/{channel}"), 0));
    anyhow::ensure!(filters == wanted, "it subscribes to {filters:?}");
    anyhow::ensure!(others.is_empty(), "at QoS 0: {others:?}");
    bench.sum_up(host.summary);
    claims_connect(bench)?;
    Ok(vec![
        Verdict::Pass("byte for byte, of a device and of a claim".to_owned()),
        Verdict::Deviation(
            "everything is published at QoS 1, nothing at QoS 0, where a loss would not be noticed".to_owned(),
        ),
        Verdict::Pass("one SUBSCRIBE right after CONNACK, of its own two topics, at QoS 0".to_owned()),
    ])
}

/// CONNECT by MQTT 3.1.1, section 3.1: clean session, keep-alive, and a last will that is kept and sent at QoS 1.
fn golden() -> Vec<u8> {
    // Version 1, lost, no time, and a text of the agent's version.
    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let will = [&[1, 2, 0], &[u8::try_from(version.len()).unwrap_or(0)][..], version].concat();
    let flags = 0x20 | 1 << 3 | 0x04 | 0x02;
    let topic = format!("trib/1/{DEVICE}/status");
    let body =
        [&text(b"MQTT")[..], &[4, flags, 0, 30], &text(DEVICE.as_bytes()), &text(topic.as_bytes()), &text(&will)];
    packet(0x10, &body.concat())
}

/// The CONNECT of `enrol`: a name that is drawn each time, and no will.
fn claims_connect(bench: &Bench) -> anyhow::Result<()> {
    let door = Door::open()?;
    let _enrols = bench.enrols("twin-connect-enrol", door.port)?;
    let config = bench.config(&bench.good)?;
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut line = bench.line(&door, &config)?;
        let Heard::Packet(Packet::Connect { client, .. }) = line.hear(PATIENCE) else { anyhow::bail!("no CONNECT") };
        let wanted = packet(0x10, &[&text(b"MQTT")[..], &[4, 2, 0, 30], &text(client.as_bytes())].concat());
        anyhow::ensure!(line.raw == wanted, "a claim's CONNECT is {:02x?}", line.raw);
        let drawn = client.strip_prefix("claim-").unwrap_or_default();
        anyhow::ensure!(drawn.len() == 16 && drawn.bytes().all(|byte| byte.is_ascii_hexdigit()), "it is {client}");
        names.push(client);
    }
    anyhow::ensure!(names[0] != names[1], "{} twice", names[0]);
    Ok(())
}

/// MQTT_Client_Puback_Qos1.
pub(super) fn pubacks(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let (door, mut host) = (Door::open()?, Host::default());
    let mut agent = bench.agent("twin-pubacks", door.port, &meter(2), &AT_ONCE)?;
    agent.start();
    let mut line = bench.line(&door, &bench.config(&bench.good)?)?;
    host.welcome(&mut line, PATIENCE)?;
    for (id, size) in (1_000..).zip([0, 1, 1_024, 65_536, 131_072]) {
        line.say(&host.to_device(Some(id), vec![0x55; size]))?;
        acknowledged(&mut host, &mut line, id)?;
    }
    let doubled = Packet::Publish {
        topic: "trib/1/twin-pubacks/receipt".to_owned(),
        id: Some(1_004),
        dup: true,
        retain: false,
        payload: vec![0x55; 9],
    };
    line.say(&doubled)?;
    acknowledged(&mut host, &mut line, 1_004)?;
    bench.sum_up(host.summary);
    Ok(vec![Verdict::Warning(
        "0, 1, 1 Ki, 64 Ki and 128 KiB acknowledged, and one that comes again; it subscribes at QoS 0, because receipts are \
         state and are said again, so that a broker has nothing to have acknowledged"
            .to_owned(),
    )])
}
