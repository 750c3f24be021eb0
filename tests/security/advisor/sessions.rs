//! Rows about what outlives a connection, and about those that end all the time.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::mqtt::Packet;
use harness::world::Random;

use super::bench::{AS_SHIPPED, AT_ONCE, Bench, PATIENCE, meter};
use super::door::Door;
use super::host::{Do, Host, Over, bodies};
use super::line::{Heard, Line, Shaken};
use super::rows::Verdict;

/// MQTT_Persistent_Session_Happy_Case and MQTT_Expired_Persistent_Session: connection after connection ends with a frame
/// under way, and the server says now that it kept the session, now that it did not.
pub(super) fn sessions(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let (door, mut host, count) = (Door::open()?, Host::default(), bench.plan.amount(10, 100));
    let config = bench.config(&bench.good)?;
    let mut agent = bench.agent("twin-sessions", door.port, &meter(10), &AT_ONCE)?;
    agent.start();
    let mut owed = Vec::new();
    for place in 0..count {
        let mut line = bench.line(&door, &config)?;
        let mut subscribes = 0;
        let Heard::Packet(connect) = line.hear(PATIENCE) else { anyhow::bail!("connection {place}: no CONNECT") };
        anyhow::ensure!(matches!(connect, Packet::Connect { clean: true, .. }), "{connect:?}");
        host.note(&connect);
        line.say(&Packet::ConnAck { session_present: place % 2 == 1, code: 0 })?;
        let mut last = Vec::new();
        let over = host.serve(&mut line, PATIENCE, |packet| {
            subscribes += usize::from(matches!(packet, Packet::Subscribe { .. }));
            let (all, is_owed) = (bodies(packet), !owed.is_empty());
            owed.retain(|body| !all.contains(body));
            // What comes again is answered: one batch that every connection dies of would be set aside, and rightly.
            if all.is_empty() || is_owed {
                return Do::Answer;
            }
            last = all; // the one that the connection ends with
            Do::Stop
        })?;
        anyhow::ensure!(
            over == Over::Stopped,
            "connection {place}: {} batches were not sent again: {over:?}",
            owed.len()
        );
        anyhow::ensure!(subscribes == 1, "connection {place}: {subscribes} SUBSCRIBE");
        owed = last;
    }
    bench.sum_up(host.summary);
    Ok(vec![
        Verdict::Deviation(format!(
            "clean sessions only: the buffer and the gateway's ledger are the session. {count} times it subscribed anew, said \
             hello and sent again what had no receipt, also where the server says that it kept a session"
        )),
        Verdict::Pass(format!("{count} times without a kept session: subscribed anew, the batch under way came again")),
    ])
}

/// A file of so many readings, each of another value, to be played a second apart.
fn file(folder: &Path, count: usize, speed: u32) -> anyhow::Result<String> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("offered.csv");
    let mut text = "time,value\n".to_owned();
    for place in 0..count {
        writeln!(text, "{},{place}.5", 1_780_272_000 + place)?;
    }
    std::fs::write(&path, text)?;
    Ok(format!(
        "[sealer]\nlinger_ms = 20\n[[source]]\nname = \"f\"\ntype = \"file\"\npath = {path:?}\nmode = \"replay\"\nspeed = {speed}.0\n\
         time = {{ column = \"time\", unit = \"s\" }}\nseries = [{{ column = \"value\", name = \"f\" }}]\n"
    ))
}

/// The long run's INTERMITTENT_CONNECTIVITY: connections that end at random, and servers that are not there.
pub(super) fn intermittent(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let speed = bench.speed(20);
    let (mut door, mut host) = (Door::open()?, Host::default());
    let config = bench.config(&bench.good)?;
    let drops = bench.plan.amount(12, 120);
    let offered = drops * 12;
    let (device, mut random) = ("twin-intermittent", Random::new(bench.plan.seed));
    let sources = file(&bench.plan.folder.join(device), offered, speed)?;
    let settings = [("reconnect_s_min", "0.5"), ("reconnect_s_max", "5.0"), ("window_frames_max", "2")];
    let mut agent = bench.fast_agent(device, door.port, &sources, &settings, speed)?;
    agent.start();
    let mut ended = 0;
    while ended < drops {
        let Ok(Shaken::Up(mut line)) = Line::shake(door.accept(PATIENCE)?, &config, PATIENCE) else { continue };
        let mut packets = random.below(14);
        // The end comes at any packet, answered or not.
        let over = host.serve(&mut line, PATIENCE, |_| {
            packets = packets.saturating_sub(1);
            if packets == 0 { Do::Stop } else { Do::Answer }
        });
        drop(line);
        anyhow::ensure!(!matches!(over, Ok(Over::Time)), "nothing came");
        ended += 1;
        if random.one_in(4) {
            door.close();
            std::thread::sleep(random.millis(0, 30_000) / speed);
            door.reopen()?;
        }
    }
    let mut line = bench.line(&door, &config)?;
    host.serve_until(&mut line, PATIENCE * 3, |host| host.values.len() >= offered)?;
    anyhow::ensure!(host.values.len() == offered, "{} of {offered} readings came", host.values.len());
    anyhow::ensure!(host.readings == offered, "{} readings in different batches", host.readings);
    let again: u64 = host.bodies.values().map(|count| count - 1).sum();
    bench.sum_up(host.summary);
    Ok(vec![Verdict::Pass(format!(
        "{drops} connections ended at random, a fourth of them with nobody there for up to 30 s: {offered} of {offered} \
         readings came, {again} batches more than once and as they were"
    ))])
}

/// The long run's LONG_SERVER_DISCONNECT.
pub(super) fn long_disconnect(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let speed = bench.speed(120);
    // Sealed once a minute: two hours of batches of their own would only keep the disk busy.
    let meter = meter(speed).replace("linger_ms = 20", "linger_ms = 60000");
    let (mut door, mut host) = (Door::open()?, Host::default());
    let config = bench.config(&bench.good)?;
    let minutes: u32 = if bench.plan.short { 15 } else { 120 };
    let mut agent = bench.fast_agent("twin-long-disconnect", door.port, &meter, &AS_SHIPPED, speed)?;
    agent.start();
    let mut line = bench.line(&door, &config)?;
    host.serve(&mut line, Duration::from_secs(90) / speed, |_| Do::Answer)?;
    drop(line);
    door.close();
    std::thread::sleep(Duration::from_secs(60) * minutes / speed);
    let before = host.readings;
    door.reopen()?;
    let since = Instant::now();
    let mut line = bench.line(&door, &config)?;
    let back = since.elapsed() * speed;
    anyhow::ensure!(back <= Duration::from_secs(320) + Duration::from_millis(500) * speed, "back after {back:?}");
    let wanted = usize::try_from(minutes)? * 55;
    host.serve_until(&mut line, PATIENCE, |host| host.readings - before >= wanted)?;
    let came = host.readings - before;
    anyhow::ensure!(came >= wanted, "{came} readings of {minutes} minutes came, where {wanted} are due");
    bench.sum_up(host.summary);
    Ok(vec![Verdict::Pass(format!(
        "nobody there for {minutes} minutes: back {} s after the server, with {came} readings of that time",
        back.as_secs()
    ))])
}
