//! The long run: one agent on one connection, on clocks that run fast, with PUBACKs that come 15 s late and messages to
//! the device.

use std::time::{Duration, Instant};

use harness::mqtt::Packet;

use super::bench::{AS_SHIPPED, Bench, PATIENCE, meter};
use super::door::Door;
use super::host::{Do, Host, Over, bodies};
use super::line::Heard;
use super::rows::Verdict;
use super::unanswered::SLACK;

/// How late PUBACKs are, by the agent's clock.
const LATE: Duration = Duration::from_secs(15);
/// The agent's keep-alive as it is shipped.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Between messages to the device.
const MESSAGE_EVERY: Duration = Duration::from_secs(60);

/// In this order: CONNECT, PUBLISH_QOS0, PUBLISH_QOS1, SUBSCRIBE_QOS0, SUBSCRIBE_QOS1, RECONNECT, PUBACK_QOS_1,
/// RECEIVE_LARGE_PAYLOAD, PERSISTENT_SESSION, KEEP_ALIVE, ADDITIONAL_EXECUTION_TIME.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let speed = bench.speed(30);
    let minutes: u32 = if bench.plan.short { 5 } else { 60 };
    let (door, mut host) = (Door::open()?, Host::late(LATE / speed));
    let config = bench.config(&bench.good)?;
    let mut agent = bench.fast_agent("twin-long", door.port, &meter(speed), &AS_SHIPPED, speed)?;
    agent.start();
    let mut line = bench.line(&door, &config)?;
    let (mut seen, began) = (Seen::default(), Instant::now());
    let (span, mut id) = (MESSAGE_EVERY * minutes / speed, 0_u16);
    while began.elapsed() < span {
        let over = host.serve(&mut line, MESSAGE_EVERY / speed, |packet| seen.take_in(packet))?;
        anyhow::ensure!(over == Over::Time, "it left after {:?}", began.elapsed() * speed);
        id += 1;
        // A small one, and every fifth time the largest.
        line.say(&host.to_device(Some(id), vec![0x55; if id.is_multiple_of(5) { 128 * 1024 } else { 64 }]))?;
    }
    host.serve(&mut line, Duration::from_millis(500), |packet| seen.take_in(packet))?;
    anyhow::ensure!(
        seen.pubacks == (1..=id).collect::<Vec<u16>>(),
        "of {id} messages acknowledged: {:?}",
        seen.pubacks
    );
    let doubled = host.bodies.values().filter(|count| **count > 1).count();
    anyhow::ensure!(doubled == 0, "{doubled} batches came twice while their PUBACK was late");
    let readings = usize::try_from(minutes)? * 50;
    anyhow::ensure!(host.readings >= readings, "{} readings, where {readings} are due", host.readings);
    let (usual, longest) = seen.between_pings();
    let (usual, longest) = (usual * speed, longest * speed);
    anyhow::ensure!(usual <= KEEP_ALIVE + KEEP_ALIVE / 5, "{usual:?} between two pings, nineteen times of twenty");
    anyhow::ensure!(longest <= KEEP_ALIVE + SLACK * speed, "{longest:?} between two pings");
    anyhow::ensure!(seen.pings.len() >= usize::try_from(minutes)?, "{} pings", seen.pings.len());
    anyhow::ensure!(seen.connects == 1 && seen.subscribes == 1 && seen.at_qos_0 == 0, "{seen:?}");
    drop(line);
    let mut line = bench.line(&door, &config)?;
    let heard = line.hear(PATIENCE);
    anyhow::ensure!(matches!(heard, Heard::Packet(Packet::Connect { clean: true, .. })), "{heard:?}");
    let pings = seen.pings.len();
    bench.sum_up(host.summary);
    let (pass, deviation) = (Verdict::Pass, |why: &str| Verdict::Deviation(why.to_owned()));
    Ok(vec![
        pass(format!("one CONNECT in {minutes} minutes")),
        deviation("nothing is published at QoS 0"),
        pass(format!("each PUBACK 15 s late for {minutes} minutes: no reconnect, nothing sent twice")),
        pass("its own topics, once a connection".to_owned()),
        deviation("it subscribes at QoS 0: receipts are state and are said again"),
        pass("after the server's end it comes back".to_owned()),
        pass(format!("{id} messages of {id} acknowledged")),
        pass(format!("{} of 128 KiB among them", id / 5)),
        deviation("clean sessions only: see MQTT_Persistent_Session_Happy_Case"),
        pass(format!("{pings} pings, at most {:.0} s apart", longest.as_secs_f64())),
        pass("the summary is in the report".to_owned()),
    ])
}

/// What the device did.
#[derive(Debug, Default)]
struct Seen {
    connects: usize,
    subscribes: usize,
    at_qos_0: usize,
    pubacks: Vec<u16>,
    pings: Vec<Instant>,
    frames: usize,
}

impl Seen {
    fn take_in(&mut self, packet: &Packet) -> Do {
        match packet {
            Packet::Connect { .. } => self.connects += 1,
            Packet::Subscribe { .. } => self.subscribes += 1,
            Packet::Publish { id: None, .. } => self.at_qos_0 += 1,
            Packet::PubAck(id) => self.pubacks.push(*id),
            Packet::PingReq => self.pings.push(Instant::now()),
            packet => self.frames += usize::from(!bodies(packet).is_empty()),
        }
        Do::Answer
    }

    /// What nineteen of twenty pauses between two pings stay within, and the longest: a busy machine holds one up.
    fn between_pings(&self) -> (Duration, Duration) {
        let mut pauses: Vec<_> = self.pings.windows(2).map(|pair| pair[1] - pair[0]).collect();
        pauses.sort_unstable();
        let at = |share: usize| pauses.get((pauses.len() * share / 20).saturating_sub(1)).copied().unwrap_or_default();
        (at(19), at(20))
    }
}
