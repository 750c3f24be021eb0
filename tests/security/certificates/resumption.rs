//! Nothing of a session outlives its connection: no ticket, no session id, no early data. Who was let in once shows the
//! certificate again, and a revoked one finds no way around that.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection, StreamOwned};

use super::Bench;
use super::client::{self, Outcome, Shown, dial};
use super::draft::List;
use super::workshop::{ISSUING, REVOKED_BY_ISSUING, Workshop};
use crate::part::Found;
use crate::site::{Counts, PATIENCE};

/// For tickets that come behind the handshake.
const TICKETS_WITHIN: Duration = Duration::from_millis(200);

/// Two connections each with a client that keeps what it is given, then a revocation, then again; and with early data of
/// a ticket of somebody else's.
pub(super) fn run(bench: &mut Bench, workshop: &mut Workshop, found: &mut Found) -> anyhow::Result<()> {
    let serial = workshop.serial();
    let draft = super::draft::Draft::leaf(super::DEVICE, ISSUING, &workshop.device, workshop.now, serial);
    let shown =
        Shown { chain: workshop.issue(&draft)?, key: workshop.device.clone(), proof: super::keys::Proof::Right };
    let mut clients = Vec::new();
    for version in [&TLS13, &TLS12] {
        let mut config = client::config(&bench.roots, Some(&shown), version)?;
        config.resumption = Resumption::in_memory_sessions(32);
        let config = Arc::new(config);
        for _ in 0..2 {
            keeps_nothing(bench, &config, found)?;
        }
        clients.push(config);
    }
    let early = Arc::new(with_early_data(bench, &shown)?);
    early_data(bench, &early, Outcome::LetIn, found)?;
    let list = List::of(ISSUING, workshop.now, &[REVOKED_BY_ISSUING, serial]);
    workshop.replace_list(&list)?;
    wait_until_refused(bench, &shown, found)?;
    for (config, version) in clients.iter().zip(["1.3", "1.2"]) {
        let before = bench.site.counted()?;
        let mut tls = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
        tls.writer().write_all(&bench.words())?;
        let outcome = client::watch(&mut tls, &mut dial(bench.site.port())?);
        found.check(outcome == Outcome::Alert(44), || format!("resumption: revoked, TLS {version}: {outcome}"));
        refused(bench, &before, found, "resumption: revoked")?;
        found.count("bad_handshakes", 1);
        found.count("bad_handshakes_tried", 1);
    }
    early_data(bench, &early, Outcome::Alert(44), found)
}

/// A full handshake, and no ticket for another one.
fn keeps_nothing(bench: &mut Bench, config: &Arc<ClientConfig>, found: &mut Found) -> anyhow::Result<()> {
    let mut tls = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
    let mut socket = dial(bench.site.port())?;
    tls.writer().write_all(&bench.words())?;
    let outcome = client::watch(&mut tls, &mut socket);
    bench.let_in += u64::from(outcome == Outcome::LetIn);
    found.check(outcome == Outcome::LetIn, || format!("resumption: good: {outcome}"));
    let began = Instant::now();
    while began.elapsed() < TICKETS_WITHIN {
        if tls.read_tls(&mut socket).is_ok_and(|count| count == 0) || tls.process_new_packets().is_err() {
            break;
        }
    }
    let (kind, tickets) = (tls.handshake_kind(), tls.tls13_tickets_received());
    found.check(kind == Some(HandshakeKind::Full), || format!("resumption: a handshake that is {kind:?}"));
    found.check(tickets == 0, || format!("resumption: {tickets} tickets"));
    found.count("good_handshakes", 1);
    Ok(())
}

/// CONNECT and a publish as early data, under a ticket that another server gave.
fn early_data(bench: &mut Bench, config: &Arc<ClientConfig>, wanted: Outcome, found: &mut Found) -> anyhow::Result<()> {
    let before = bench.site.counted()?;
    let mut tls = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
    tls.early_data().context("a ticket that allows early data")?.write_all(&bench.words())?;
    tls.writer().write_all(&bench.words())?;
    let outcome = client::watch(&mut tls, &mut dial(bench.site.port())?);
    found.check(outcome == wanted, || format!("early data: {outcome}, where {wanted} is due"));
    found.check(!tls.is_early_data_accepted(), || "early data: it was taken".to_owned());
    if wanted == Outcome::LetIn {
        // What was said early was not heard: there is one connection and one publish, not two.
        let counts = Counts { connections: 1, publishes: 1, ..Counts::default() };
        if let Some(why) = bench.site.has_counted(&before, &counts)? {
            found.wrong(format!("early data: {why}"));
        }
        bench.let_in += u64::from(outcome == Outcome::LetIn);
        found.count("good_handshakes", 1);
    } else {
        refused(bench, &before, found, "early data, revoked")?;
        found.count("bad_handshakes", 1);
        found.count("bad_handshakes_tried", 1);
    }
    Ok(())
}

fn refused(bench: &Bench, before: &crate::site::Counted, found: &mut Found, what: &str) -> anyhow::Result<()> {
    let counts = Counts { handshakes_failed: 1, ..Counts::default() };
    if let Some(why) = bench.site.has_counted(before, &counts)? {
        found.wrong(format!("{what}: {why}"));
    }
    Ok(())
}

/// Waits until the gateway has read the new list, and has counted whom it refused by it: it does so after it has said so.
fn wait_until_refused(bench: &mut Bench, shown: &Shown, found: &mut Found) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let config = client::config(&bench.roots, Some(shown), &TLS13)?;
        let (words, before) = (bench.words(), bench.site.counted()?);
        match client::attempt(bench.site.port(), config, &words)? {
            Outcome::LetIn => bench.let_in += 1,
            _ => return refused(bench, &before, found, "resumption: the first to be refused"),
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "the gateway does not read its lists again");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A client that shows `shown` and has a ticket for early data, from a server of our own that goes by the gateway's name.
fn with_early_data(bench: &Bench, shown: &Shown) -> anyhow::Result<ClientConfig> {
    let files = &bench.server;
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(certs::read_certificates(&files.certificate)?, certs::read_private_key(&files.key)?)?;
    server.max_early_data_size = 4_096; // with sessions that the server keeps, as it does by default
    let mut config = client::config(&bench.roots, Some(shown), &TLS13)?;
    config.resumption = Resumption::in_memory_sessions(32);
    config.enable_early_data = true;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::new(server))?, socket);
        tls.read_exact(&mut [0; 2])?;
        tls.write_all(b"ok")?;
        tls.flush()?;
        anyhow::Ok(())
    });
    let mut tls =
        StreamOwned::new(ClientConnection::new(Arc::new(config.clone()), "localhost".try_into()?)?, dial(port)?);
    tls.sock.set_read_timeout(Some(PATIENCE))?;
    tls.write_all(b"hi")?;
    tls.read_exact(&mut [0; 2])?;
    serving.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    anyhow::ensure!(tls.conn.tls13_tickets_received() > 0, "our own server gives tickets");
    Ok(config)
}
