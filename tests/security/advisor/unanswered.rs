//! Rows about servers that leave something unanswered.

use std::time::{Duration, Instant};

use harness::mqtt::Packet;

use super::bench::{AS_SHIPPED, AT_ONCE, Bench, PATIENCE, meter};
use super::door::Door;
use super::host::{Do, Host, Over, bodies};
use super::line::{Heard, Line, Shaken};
use super::rows::Verdict;

/// How long a publish may go without its answer until it is sent again: what Device Advisor waits.
const AGAIN_WITHIN: Duration = Duration::from_secs(15);
/// The agent's own patience until a connection stands.
const STANDS_WITHIN: Duration = Duration::from_secs(90);
/// What a busy machine may add to a deadline.
pub(super) const SLACK: Duration = Duration::from_millis(700);

/// MQTT_Publish_Retry_No_Puback: one frame gets neither PUBACK nor receipt.
pub(super) fn no_puback(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let speed = bench.speed(5);
    let (door, mut host) = (Door::open()?, Host::default());
    let mut agent = bench.fast_agent("twin-no-puback", door.port, &meter(speed), &AS_SHIPPED, speed)?;
    agent.start();
    let mut line = bench.line(&door, &bench.config(&bench.good)?)?;
    host.welcome(&mut line, PATIENCE)?;
    let mut missed: Option<(Instant, Vec<_>)> = None;
    let mut again = None;
    let over = host.serve(&mut line, PATIENCE, |packet| {
        let all = bodies(packet);
        let Packet::Publish { dup, .. } = packet else { return Do::Answer };
        match &missed {
            _ if all.is_empty() => Do::Answer,
            None => {
                missed = Some((Instant::now(), all));
                Do::Withhold
            }
            Some((since, lost)) if lost.iter().all(|body| all.contains(body)) => {
                again = Some((since.elapsed() * speed, *dup));
                Do::Stop
            }
            Some(_) => Do::Answer,
        }
    })?;
    let Some((after, dup)) = again else { anyhow::bail!("it was not sent again: {over:?}") };
    anyhow::ensure!(after <= AGAIN_WITHIN + SLACK * speed, "it was sent again after {after:?}");
    anyhow::ensure!(!dup, "it has another packet id, and says that it is the same");
    bench.sum_up(host.summary);
    never_a_puback(bench)?;
    Ok(vec![Verdict::Deviation(format!(
        "PUBACKs free nothing and are not waited for: without a receipt the agent asks what is settled (hello) and publishes \
         what is not again, after {} s on the same connection, under a new packet id and without DUP, for the gateway knows \
         batches by their numbers; where only PUBACKs are missing, nothing is sent twice",
        after.as_secs()
    ))])
}

/// Receipts come, PUBACKs never: nothing is sent twice.
fn never_a_puback(bench: &Bench) -> anyhow::Result<()> {
    let speed = bench.speed(20);
    let (door, mut host) = (Door::open()?, Host::late(PATIENCE * 10));
    let mut agent = bench.fast_agent("twin-never-puback", door.port, &meter(speed), &AS_SHIPPED, speed)?;
    agent.start();
    let mut line = bench.line(&door, &bench.config(&bench.good)?)?;
    let over = host.serve(&mut line, Duration::from_secs(60) / speed, |_| Do::Answer)?;
    anyhow::ensure!(over == Over::Time, "{over:?} within a minute without PUBACK");
    let doubled = host.bodies.values().filter(|count| **count > 1).count();
    // Not of batches: where the disk is slow, more readings go into each.
    let (batches, readings) = (host.bodies.len(), host.readings);
    anyhow::ensure!(doubled == 0 && readings > 20, "of {batches} batches {doubled} came twice; {readings} readings");
    Ok(())
}

/// MQTT_Subscribe_Retry_No_Suback.
pub(super) fn no_suback(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let speed = bench.speed(30);
    let (door, mut host) = (Door::open()?, Host::default());
    let config = bench.config(&bench.good)?;
    let mut agent = bench.fast_agent("twin-no-suback", door.port, "", &AS_SHIPPED, speed)?;
    agent.start();
    let mut spans = Vec::new();
    for _ in 0..2 {
        let socket = door.accept(PATIENCE)?;
        let began = Instant::now();
        let Shaken::Up(mut line) = Line::shake(socket, &config, PATIENCE)? else { anyhow::bail!("no handshake") };
        let mut subscribes = 0;
        let over = host.serve(&mut line, PATIENCE, |packet| match packet {
            Packet::Subscribe { .. } => {
                subscribes += 1;
                Do::Withhold
            }
            _ => Do::Answer,
        })?;
        anyhow::ensure!(over == Over::Left && subscribes == 1, "{over:?} after {subscribes} SUBSCRIBE");
        spans.push(began.elapsed() * speed);
    }
    let longest = spans.iter().max().copied().unwrap_or_default();
    anyhow::ensure!(longest <= STANDS_WITHIN + SLACK * speed, "it waited for {longest:?}");
    let mut line = bench.line(&door, &config)?;
    host.welcome(&mut line, PATIENCE)?;
    bench.sum_up(host.summary);
    Ok(vec![Verdict::Deviation(
        "SUBSCRIBE is not repeated on the same connection: without SUBACK the agent hangs up after 90 s and subscribes on the \
         next connection"
            .to_owned(),
    )])
}

/// MQTT_No_Ack_PingResp: everything was well, and then not a byte comes any more, while readings go on.
pub(super) fn silence(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let keep_alive = Duration::from_secs(2) * bench.slowness;
    let (door, mut host) = (Door::open()?, Host::default());
    let config = bench.config(&bench.good)?;
    let seconds = keep_alive.as_secs().to_string();
    let settings = [AT_ONCE[0], AT_ONCE[1], ("keep_alive_s", seconds.as_str())];
    let mut agent = bench.agent("twin-silence", door.port, &meter(10), &settings)?;
    agent.start();
    let mut line = bench.line(&door, &config)?;
    let until = Instant::now() + PATIENCE;
    while host.bodies.len() < 15 && Instant::now() < until {
        host.serve(&mut line, Duration::from_millis(500), |_| Do::Answer)?;
    }
    anyhow::ensure!(host.bodies.len() >= 15, "it does not publish what it measures: {} publishes", host.bodies.len());
    // From the first that it waits for in vain: that comes up to a reading's time after the last answer.
    let (mut during, mut since) = (0, Instant::now());
    let over = host.serve(&mut line, PATIENCE, |packet| {
        if !bodies(packet).is_empty() {
            during += 1;
            since = if during == 1 { Instant::now() } else { since };
        }
        Do::Withhold
    })?;
    let left = since.elapsed();
    anyhow::ensure!(over == Over::Left, "it stays for {left:?}");
    anyhow::ensure!(during >= 4, "{during} publishes into the silence");
    anyhow::ensure!(left <= keep_alive * 3 / 2 + SLACK, "publishing, it left after {left:?}");
    drop(agent);
    let idle = idle(bench, &settings)?;
    anyhow::ensure!(idle <= keep_alive * 2 + SLACK, "idle, it left after {idle:?}");
    bench.sum_up(host.summary);
    let in_keep_alives = |span: Duration| span.as_secs_f64() / keep_alive.as_secs_f64();
    Ok(vec![Verdict::Pass(format!(
        "with readings under way it left {:.2} keep-alives after the first publish that had no answer, and after {during} of \
         them; idle, {:.2} after the last byte: at the second ping",
        in_keep_alives(left),
        in_keep_alives(idle)
    ))])
}

/// How long a device with nothing to say stays where nobody answers its pings.
fn idle(bench: &Bench, uplink: &[(&str, &str)]) -> anyhow::Result<Duration> {
    let (door, mut host) = (Door::open()?, Host::default());
    let mut agent = bench.agent("twin-silence-idle", door.port, "", uplink)?;
    agent.start();
    let mut line = bench.line(&door, &bench.config(&bench.good)?)?;
    let mut said_at = Instant::now();
    host.welcome(&mut line, PATIENCE)?;
    loop {
        match line.hear(PATIENCE) {
            Heard::Packet(Packet::PingReq) => {}
            Heard::Packet(packet) => {
                host.answer(&mut line, packet)?;
                said_at = Instant::now();
            }
            Heard::End => return Ok(said_at.elapsed()),
            Heard::Silence => anyhow::bail!("it stays for {:?}", said_at.elapsed()),
        }
    }
}
