//! Many who begin and do not go on, and few who go on slowly: each loses its place in time, and others get in meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

use super::Bench;
use super::client::{self, Outcome, Shown, dial, is_patience};
use super::hello::Hello;
use super::raw::{self, Seen};
use crate::part::{Found, Plan};
use crate::site::{Counts, PATIENCE};

/// For a whole handshake, and from there to the end of CONNECT; the gateway's own numbers.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A cut may be seen so much too early, by clocks that began at another moment, and on a busy machine so much too late.
const SLACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// What all of them may cost meanwhile: they wait, and nobody is to go round and round for them.
const SLOW_COST_MAX: Duration = Duration::from_secs(2);
/// What 99 of 100 good devices may take to get in meanwhile.
const GOOD_P99: Duration = Duration::from_secs(2);

/// A byte a second of a handshake, and of a CONNECT, and a handshake that says goodbye at once and stays: all are cut when
/// their time is over, and not before.
pub(super) fn slow(bench: &mut Bench, shown: &Shown, found: &mut Found) -> anyhow::Result<()> {
    let (before, spent, mut neighbour) = (bench.site.counted()?, bench.site.processor_time(), 0);
    let port = bench.site.port();
    let config = Arc::new(client::config(&bench.roots, Some(shown), &TLS13)?);
    let began = Instant::now();
    let ends = std::thread::scope(|scope| {
        let handshakes: Vec<_> = (0..4).map(|_| scope.spawn(move || slow_handshake(port))).collect();
        let goodbye = scope.spawn(move || goodbye(port));
        let connects: Vec<_> = (0..4)
            .map(|_| {
                let config = Arc::clone(&config);
                scope.spawn(move || slow_connect(port, config))
            })
            .collect();
        while began.elapsed() < Duration::from_secs(2) {
            bench.site.others_go_on()?;
            neighbour += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        let join = |handle: std::thread::ScopedJoinHandle<'_, anyhow::Result<Duration>>| {
            handle.join().map_err(|_| anyhow::anyhow!("a client panicked"))?
        };
        let handshakes: anyhow::Result<Vec<Duration>> = handshakes.into_iter().map(join).collect();
        let connects: anyhow::Result<Vec<Duration>> = connects.into_iter().map(join).collect();
        anyhow::Ok([handshakes?, vec![join(goodbye)?], connects?])
    })?;
    let spent = bench.site.processor_time().saturating_sub(spent);
    found.check(spent < SLOW_COST_MAX, || format!("floods: slow ones took {spent:?} of the processors"));
    let due = [
        ("a slow handshake", HANDSHAKE_DEADLINE),
        (raw::CLOSE, HANDSHAKE_DEADLINE),
        ("a slow CONNECT", CONNECT_DEADLINE),
    ];
    for ((what, deadline), times) in due.into_iter().zip(ends) {
        for took in times {
            let in_time = took + SLACK.0 > deadline && took < deadline + SLACK.1;
            found.check(in_time, || format!("floods: {what} was cut after {took:?}, where {deadline:?} is due"));
            found.count("bad_handshakes_tried", 1);
        }
        found.count("bad_handshakes", 1);
    }
    let counts = Counts { handshakes_failed: 5, connects_refused: 4, publishes: neighbour, ..Counts::default() };
    if let Some(why) = bench.site.has_counted(&before, &counts)? {
        found.wrong(format!("floods: slow ones: {why}"));
    }
    Ok(())
}

fn slow_handshake(port: u16) -> anyhow::Result<Duration> {
    let (mut socket, began) = (dial(port)?, Instant::now());
    for byte in Hello::of_13().bytes() {
        let _ = socket.write_all(&[byte]);
        if is_over_within(&mut socket, Duration::from_secs(1)) {
            break;
        }
    }
    Ok(began.elapsed())
}

/// Hears nothing until it is cut.
fn goodbye(port: u16) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let seen = raw::see(port, &raw::close(), Seen::End)?;
    anyhow::ensure!(seen == Seen::End, "{}: {seen:?}, where the end alone is due", raw::CLOSE);
    Ok(began.elapsed())
}

fn slow_connect(port: u16, config: Arc<rustls::ClientConfig>) -> anyhow::Result<Duration> {
    let mut tls = StreamOwned::new(ClientConnection::new(config, "localhost".try_into()?)?, dial(port)?);
    tls.sock.set_read_timeout(Some(PATIENCE))?;
    tls.conn.complete_io(&mut tls.sock)?;
    let began = Instant::now();
    tls.sock.set_read_timeout(Some(Duration::from_secs(1)))?;
    for byte in b"\x10\x13\0\x04MQTT\x04\x02\0\x3c\0\x07meter-7" {
        let _ = tls.write_all(&[*byte]);
        let _ = tls.flush();
        match tls.read(&mut [0; 64]) {
            Err(error) if is_patience(&error) => {}
            _ => break,
        }
    }
    Ok(began.elapsed())
}

fn is_over_within(socket: &mut TcpStream, time: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < time {
        match socket.read(&mut [0; 64]) {
            Err(error) if is_patience(&error) => {}
            Ok(1..) => {} // an alert
            _ => return true,
        }
    }
    false
}

/// Thousands of beginnings of a handshake; meanwhile good devices come in one after the other.
pub(super) fn half_open(plan: &Plan, bench: &mut Bench, shown: &Shown, found: &mut Found) -> anyhow::Result<()> {
    let hello = Hello::of_13().bytes();
    let beginning = hello.get(..hello.len() / 2).unwrap_or_default();
    let mut stalled = Vec::new();
    let mut times = Vec::new();
    let (sockets, devices) = (plan.amount(1_400, 2_000), plan.amount(30, 100));
    for place in 0..sockets {
        let mut socket = dial(bench.site.port())?;
        socket.write_all(beginning)?;
        stalled.push(socket);
        if place * devices / sockets != (place + 1) * devices / sockets {
            let words = bench.words();
            let config = client::config(&bench.roots, Some(shown), &TLS13)?;
            let began = Instant::now();
            let outcome = client::attempt(bench.site.port(), config, &words)?;
            times.push(began.elapsed());
            found.check(outcome == Outcome::LetIn, || format!("floods: a good device meanwhile: {outcome}"));
            bench.let_in += u64::from(outcome == Outcome::LetIn);
            bench.site.others_go_on()?;
        }
    }
    times.sort();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    found.check(p99 <= GOOD_P99, || format!("floods: 99 of 100 good devices get in within {p99:?}"));
    found.count("half_open_handshakes", sockets);
    found.measured("half_open_good_p99_ms", u64::try_from(p99.as_millis())?);
    drop(stalled);
    Ok(())
}
