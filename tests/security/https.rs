//! The door for people with TLS: nobody is asked for a certificate there, and all else is as it is at the listener. Bytes
//! that are no good handshake get their exact answer, who stalls keeps nobody out, and who asks gets an answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::pki::Files;
use harness::world::Random;
use harness::{Gateway, Pki, https};
use rustls::version::{TLS12, TLS13};

use crate::certificates::hello::Hello;
use crate::certificates::raw::{self, CLOSE, PROTOCOL_VERSION, Seen, Target, see};
use crate::certificates::{dial, is_patience};
use crate::part::{Found, Plan};
use crate::site::{Counts, NEIGHBOUR, PATIENCE, Site};

/// The gateway's own number.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// From the first byte of a request to an answer: the same.
const REQUEST_DEADLINE: Duration = Duration::from_secs(20);
/// A cut may be seen so much too early, by clocks that began at another moment, and on a busy machine so much too late.
const SLACK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// What 99 of 100 good requests may take meanwhile.
const GOOD_P99: Duration = Duration::from_secs(2);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let pki = Pki::create(&plan.folder.join("pki"));
    let mut found = Found::default();
    let server = pki.server();
    let own = own(&plan.folder, &server)?;
    let mut gateway = Gateway::prepare(&plan.folder.join("gateway"), server, "");
    gateway.http_files = Some(own.clone());
    refused_files(&mut gateway, &own, &mut found)?;
    let mut site = Site::of(gateway, pki.device(NEIGHBOUR))?;
    let target = Target {
        name: "https",
        port: site.gateway.http_port(),
        speaks: b"http/1.1",
        others: [b"mqtt", b"h2"],
        counts: Counts { people_failed: 1, ..Counts::default() },
        good: "https_good_handshakes",
        bad: "https_bad_handshakes",
        tried: "https_bad_handshakes_tried",
    };
    let mut random = Random::new(plan.seed);
    // A commit's worth is a fifth of them, another fifth each time: the library below is the listener's.
    raw::run(&mut site, &target, |name| !plan.short || (name != CLOSE && random.one_in(5)), &mut found)?;
    answers(&site, &own, &mut found)?;
    half_open(plan, &mut site, &own, &mut found)?;
    if !plan.short {
        slow(&mut site, &mut found)?;
    }
    renewed(&pki, &site, &own, &mut found)?;
    site.others_go_on()?;
    oldest_version(site, &mut found)?;
    Ok(found)
}

/// Files of its own, so that the listener's stay.
fn own(folder: &std::path::Path, from: &Files) -> anyhow::Result<Files> {
    let copy = |name: &str, from: &PathBuf| {
        let to = folder.join(name);
        std::fs::copy(from, &to).map(|_| to)
    };
    let (certificate, key) = (copy("http.crt", &from.certificate)?, copy("http.key", &from.key)?);
    Ok(Files { certificate, key, authority: from.authority.clone() })
}

/// A key that others can read, one that belongs to another certificate, and a certificate without a key.
fn refused_files(gateway: &mut Gateway, own: &Files, found: &mut Found) -> anyhow::Result<()> {
    let mut check = |name: &str, files: Files, wanted: Option<&str>| {
        gateway.http_files = Some(files);
        let output = gateway.command("check-config");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_right = wanted.map_or(output.status.success(), |word| !output.status.success() && words.contains(word));
        found.check(is_right, || format!("https: {name}: it is {}: {words}", output.status));
        found.count("https_files_tried", 1);
    };
    check("good files", own.clone(), None);
    let open = own.key.with_extension("open");
    std::fs::copy(&own.key, &open)?;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640))?;
    check("a key that others can read", Files { key: open, ..own.clone() }, Some("600"));
    check("a key that is none", Files { key: own.certificate.clone(), ..own.clone() }, Some("http.crt"));
    gateway.http_files = Some(own.clone());
    Ok(())
}

/// Who asks gets an answer, in both versions, and is told to come by HTTPS only.
fn answers(site: &Site, own: &Files, found: &mut Found) -> anyhow::Result<()> {
    for (name, version) in [("1.3", &TLS13), ("1.2", &TLS12)] {
        let client = https::client(&own.authority, &[version])?;
        let answer = https::get(site.gateway.http_port(), &client, "/api/v1/devices")?;
        let is_told = answer.head.contains("strict-transport-security: max-age=63072000");
        found.check(is_told, || format!("https: TLS {name}: {}", answer.head));
        found.check(answer.body.contains(NEIGHBOUR), || format!("https: TLS {name}: {}", answer.body));
    }
    Ok(())
}

/// Many who begin and do not go on; meanwhile good requests are answered.
fn half_open(plan: &Plan, site: &mut Site, own: &Files, found: &mut Found) -> anyhow::Result<()> {
    let (port, client) = (site.gateway.http_port(), https::client(&own.authority, &[&TLS13])?);
    let hello = Hello::of_13().bytes();
    let beginning = hello.get(..hello.len() / 2).unwrap_or_default();
    let (sockets, requests) = (plan.amount(200, 600), plan.amount(10, 40));
    let (mut stalled, mut times) = (Vec::new(), Vec::new());
    for place in 0..sockets {
        let mut socket = dial(port)?;
        socket.write_all(beginning)?;
        stalled.push(socket);
        if place * requests / sockets != (place + 1) * requests / sockets {
            let began = Instant::now();
            https::get(port, &client, "/healthz").context("a good request meanwhile")?;
            times.push(began.elapsed());
            site.others_go_on()?;
        }
    }
    times.sort();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    found.check(p99 <= GOOD_P99, || format!("https: 99 of 100 good requests take {p99:?} meanwhile"));
    found.count("https_half_open_handshakes", sockets);
    found.measured("https_half_open_good_p99_ms", u64::try_from(p99.as_millis())?);
    Ok(())
}

/// A byte a second of a handshake, a connection without a word behind its handshake: both are cut in time.
fn slow(site: &mut Site, found: &mut Found) -> anyhow::Result<()> {
    let port = site.gateway.http_port();
    let config = https::client(&site.gateway.files.authority, &[&TLS13])?;
    let handshake = std::thread::spawn(move || -> anyhow::Result<Duration> {
        let (mut socket, began) = (dial(port)?, Instant::now());
        for byte in Hello::of_13().bytes() {
            let _ = socket.write_all(&[byte]);
            if is_over(&mut socket, Duration::from_secs(1)) {
                break;
            }
        }
        Ok(began.elapsed())
    });
    let mute = std::thread::spawn(move || -> anyhow::Result<Duration> {
        let mut tls = rustls::ClientConnection::new(config, "localhost".try_into()?)?;
        let mut socket = dial(port)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        tls.complete_io(&mut socket)?;
        let began = Instant::now();
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        is_over(&mut socket, 2 * REQUEST_DEADLINE);
        Ok(began.elapsed())
    });
    for (name, handle, deadline) in
        [("a slow handshake", handshake, HANDSHAKE_DEADLINE), ("silence behind it", mute, REQUEST_DEADLINE)]
    {
        let took = handle.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        let in_time = took + SLACK.0 > deadline && took < deadline + SLACK.1;
        found.check(in_time, || format!("https: {name} was cut after {took:?}, where {deadline:?} is due"));
        found.count("https_bad_handshakes", 1);
    }
    site.others_go_on()?;
    Ok(())
}

/// Whether the connection ends within `time`.
fn is_over(socket: &mut TcpStream, time: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < time {
        match socket.read(&mut [0; 1024]) {
            Err(error) if is_patience(&error) => {}
            Ok(1..) => {} // an alert, or tickets
            _ => return true,
        }
    }
    false
}

/// A renewed certificate is shown without a restart; files that do not belong together leave the one before.
fn renewed(pki: &Pki, site: &Site, own: &Files, found: &mut Found) -> anyhow::Result<()> {
    let (port, client) = (site.gateway.http_port(), https::client(&own.authority, &[&TLS13])?);
    let shown = || anyhow::Ok(https::get(port, &client, "/healthz")?.certificate);
    let next = pki.server_at(-60);
    let wanted = certs::read_certificates(&next.certificate)?.first().context("a certificate")?.to_vec();
    let before = shown()?;
    anyhow::ensure!(before != wanted, "it is another certificate");
    let put = |to: &PathBuf, bytes: &[u8], mode| certs::files::replace(to, bytes, mode);
    put(&own.certificate, &std::fs::read(&next.certificate)?, 0o644)?; // without its key
    let log = || site.gateway.process.as_ref().map_or_else(String::new, harness::process::Process::log_text);
    harness::wait_for("the gateway to see the change", PATIENCE, || log().contains("[http] changed").then_some(()));
    found.check(shown()? == before, || "https: half a pair took the place of a whole one".to_owned());
    put(&own.key, &std::fs::read(&next.key)?, 0o600)?;
    let began = Instant::now();
    while shown()? != wanted && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    found.check(shown()? == wanted, || "https: the renewed certificate is not shown".to_owned());
    found.measured("https_renewal_shown_ms", u64::try_from(began.elapsed().as_millis())?);
    Ok(())
}

/// With `tls_min = "1.3"`, neither door speaks TLS 1.2.
fn oldest_version(mut site: Site, found: &mut Found) -> anyhow::Result<()> {
    site.gateway.tls_min = Some("1.3");
    site.gateway.process.take().context("the gateway runs")?.terminate();
    site.gateway.restart();
    for (door, port) in [("listener", site.gateway.mqtt_port), ("https", site.gateway.http_port())] {
        for (name, hello, wanted) in
            [("1.2", Hello::of_12(), Seen::Alert(PROTOCOL_VERSION)), ("1.3", Hello::of_13(), Seen::Hello)]
        {
            let seen = see(port, &hello.bytes(), wanted)?;
            found.check(seen == wanted, || format!("{door} with TLS 1.3 alone: TLS {name}: {seen:?}"));
        }
        found.count("https_bad_handshakes", 1);
    }
    Ok(())
}
