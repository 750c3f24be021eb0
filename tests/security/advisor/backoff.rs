//! Rows about how long a device waits between connections: the agent as it is shipped (1 s to 5 min), by clocks that run
//! fast, many at a time, because what is random shows in many only.

use std::time::{Duration, Instant};

use harness::mqtt::Packet;

use super::bench::{AS_SHIPPED, Bench, PATIENCE};
use super::door::Door;
use super::host::{Do, Host, Over};
use super::line::{Heard, Line, Shaken};
use super::rows::Verdict;
use super::waits::{Kind, Waits};

/// The longest wait and the longest patience with a server, by the agent's clock, and some more.
const LONGEST: Duration = Duration::from_secs(400);
/// Less is not by chance: one honest run in ten thousand.
const LIKELY_MIN: f64 = 0.000_1;
/// What a busy machine may add to a wait, in true time.
const SLACK: Duration = Duration::from_millis(300);

/// What becomes of a connection.
#[derive(Clone, Copy)]
enum Treatment {
    /// CONNECT has no answer; the device gives up by itself.
    NoConnack,
    /// CONNECT has no answer but the end.
    Close,
    /// Everything is answered for so long, and then it ends.
    Hold(Duration),
}

/// How long the agent may wait the nth time.
fn ceiling(place: usize) -> f64 {
    2.0_f64.powi(i32::try_from(place).unwrap_or(i32::MAX)).min(300.0)
}

/// MQTT_Connect_Jitter_Backoff_Retries and MQTT_Connect_Exponential_Backoff_Retries: five retries, the sixth is let in,
/// and all of it once more.
pub(super) fn no_connack(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let course = |place| if place % 6 == 5 { Treatment::Hold(Duration::from_secs(5)) } else { Treatment::NoConnack };
    let waits = run(bench, "twin-no-connack", 12, course)?;
    let (likely, count) = judge(&waits)?;
    let agents = waits.all.len();
    Ok(vec![
        Verdict::Pass(format!(
            "12 CONNECTs of each of {agents} agents without CONNACK, but for the 6th and the 12th; each gave up after 90 s; \
             full jitter: uniform up to the ceiling (p = {likely:.3} of {count} waits)"
        )),
        Verdict::Pass(format!("the mean wait grows by {:.2} from one to the next, from 1 s to 5 min", waits.growth())),
    ])
}

/// MQTT_Reconnect_Backoff_Retries_On_Server_Disconnect, and the kind of the long run.
pub(super) fn server_disconnect(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let course = |place| if place == 0 { Treatment::Hold(Duration::from_secs(70)) } else { Treatment::Close };
    let waits = run(bench, "twin-disconnect", 11, course)?;
    let (likely, count) = judge(&waits)?;
    let kind = "exponential with full jitter";
    bench.note_backoff(kind);
    Ok(vec![
        Verdict::Pass(format!(
            "after a minute that went well, ten attempts with {kind} (growth {:.2}; p = {likely:.3} of {count} waits)",
            waits.growth()
        )),
        Verdict::Pass(format!("jitter: {kind}")),
    ])
}

/// MQTT_Reconnect_Backoff_Retries_On_Unstable_Connection.
pub(super) fn unstable(bench: &Bench) -> anyhow::Result<Vec<Verdict>> {
    let course = |place| Treatment::Hold(Duration::from_secs(if place == 10 { 66 } else { 2 }));
    let mut waits = run(bench, "twin-unstable", 12, course)?;
    let last: Vec<f64> = waits.all.iter_mut().filter_map(Vec::pop).collect();
    let (likely, count) = judge(&waits)?;
    let slack = SLACK.as_secs_f64() * f64::from(speed(bench));
    anyhow::ensure!(last.iter().all(|wait| *wait <= 1.0 + slack), "after a good minute it waits {last:?} s");
    Ok(vec![Verdict::Pass(format!(
        "ten connections of 2 s each: waits grow by {:.2} all the same (p = {likely:.3} of {count}); after a minute that went \
         well they begin anew",
        waits.growth()
    ))])
}

fn speed(bench: &Bench) -> u32 {
    bench.speed(if bench.plan.short { 100 } else { 40 })
}

/// They must be random around a mean that grows, and none too long.
fn judge(waits: &Waits) -> anyhow::Result<(f64, usize)> {
    let kind = waits.kind();
    anyhow::ensure!(kind == Kind::ExponentialWithJitter, "{kind:?}: {:.1?}", waits.all);
    let (likely, count) = waits.uniform(ceiling);
    anyhow::ensure!(likely >= LIKELY_MIN, "p = {likely:.5}: not uniform up to the ceiling: {:.1?}", waits.all);
    Ok((likely, count))
}

/// As many agents as the size at hand wants, each treated by `course` for so many connections.
fn run(
    bench: &Bench,
    device: &str,
    connects: usize,
    course: impl Fn(usize) -> Treatment + Sync,
) -> anyhow::Result<Waits> {
    let agents = bench.plan.amount(6, 16);
    let course = &course;
    let all = std::thread::scope(|scope| {
        let one = |place: usize| scope.spawn(move || one(bench, &format!("{device}-{place}"), connects, course));
        let threads: Vec<_> = (0..agents).map(one).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked")));
        joined.map(|result| result?).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let slack = SLACK.as_secs_f64() * f64::from(speed(bench));
    for waits in &all {
        for (place, wait) in waits.iter().enumerate() {
            anyhow::ensure!(*wait <= ceiling(place) + slack, "wait {place} took {wait:.1} s: {waits:.1?}");
        }
    }
    Ok(Waits { all })
}

fn one(bench: &Bench, device: &str, connects: usize, course: impl Fn(usize) -> Treatment) -> anyhow::Result<Vec<f64>> {
    let (door, speed, mut host) = (Door::open()?, speed(bench), Host::default());
    let config = bench.config(&bench.good)?;
    let mut agent = bench.fast_agent(device, door.port, "", &AS_SHIPPED, speed)?;
    agent.start();
    let (mut waits, mut ended): (Vec<f64>, Option<Instant>) = (Vec::new(), None);
    for place in 0..connects {
        let socket = door.accept(LONGEST / speed + PATIENCE)?;
        waits.extend(ended.map(|since| since.elapsed().as_secs_f64() * f64::from(speed)));
        let Shaken::Up(mut line) = Line::shake(socket, &config, PATIENCE)? else { anyhow::bail!("no handshake") };
        let Heard::Packet(packet @ Packet::Connect { .. }) = line.hear(PATIENCE) else { anyhow::bail!("no CONNECT") };
        host.note(&packet);
        match course(place) {
            Treatment::Close => {}
            Treatment::NoConnack => {
                let over = host.serve(&mut line, LONGEST / speed + PATIENCE, |_| Do::Withhold)?;
                anyhow::ensure!(over == Over::Left, "without CONNACK it stays: {over:?}");
            }
            Treatment::Hold(span) => {
                host.answer(&mut line, packet)?;
                let over = host.serve(&mut line, span / speed, |_| Do::Answer)?;
                anyhow::ensure!(over == Over::Time, "it did not stay: {over:?}");
            }
        }
        drop(line);
        ended = Some(Instant::now());
    }
    bench.sum_up(host.summary);
    Ok(waits)
}
