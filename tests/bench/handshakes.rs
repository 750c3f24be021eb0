//! What the machine alone can do: full TLS 1.3 handshakes with certificates on both sides, in memory, one thread a
//! processor, each of which does both ends.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::ingest::listener::tls;
use harness::Pki;
use harness::pki::Files;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::Bench;
use crate::rounds::{float, rate};
use crate::table::{IN_MEMORY, Measure, Table};

const LASTS: Duration = Duration::from_secs(3);

/// Measures it. Answers handshakes a second.
///
/// # Errors
/// When a handshake fails.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<f64> {
    let pki = Pki::create(&bench.fresh("handshakes")?.join("pki"));
    let (server, client) = (server(&pki.server())?, client(&pki.device("fleet-0"))?);
    let threads = std::thread::available_parallelism()?.get();
    let lasts = if bench.quick { LASTS / 10 } else { LASTS };
    let counts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| count(&server, &client, lasts))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("it panicked")))
            .collect::<Vec<_>>()
    });
    let counts = counts.into_iter().collect::<anyhow::Result<Vec<usize>>>()?;
    let a_second = rate(counts.iter().sum(), lasts);
    let measure = Measure::new("handshakes", a_second, "handshakes/s").note(format!(
        "both ends on {threads} processors, no socket; TLS 1.3, X25519, ECDSA P-256 on both sides, no resumption: \
         {:.2} ms of a processor each; {IN_MEMORY}",
        1e3 * float(threads) / a_second
    ));
    table.add(&measure);
    Ok(a_second)
}

fn count(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, lasts: Duration) -> anyhow::Result<usize> {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < lasts {
        handshake(server, client)?;
        count += 1;
    }
    Ok(count)
}

fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> anyhow::Result<()> {
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut client = ClientConnection::new(Arc::clone(client), "localhost".try_into()?)?;
    let mut wire = Vec::with_capacity(8 * 1024);
    while client.is_handshaking() || server.is_handshaking() {
        while client.wants_write() {
            client.write_tls(&mut wire)?;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
        }
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire)?;
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
        }
        client.process_new_packets()?;
        wire.clear();
    }
    anyhow::ensure!(server.peer_certificates().is_some(), "the client showed no certificate");
    Ok(())
}

fn server(files: &Files) -> anyhow::Result<Arc<ServerConfig>> {
    let read = certs::read_certificates;
    let key = certs::read_private_key(&files.key)?;
    Ok(tls::server_config(
        read(&files.certificate)?,
        key,
        read(&files.authority)?,
        Vec::new(),
        gateway::enrol::Claims::default(),
        gateway::tls::TlsMin::default(),
    )?)
}

fn client(files: &Files) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in certs::read_certificates(&files.authority)? {
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(certs::read_certificates(&files.certificate)?, certs::read_private_key(&files.key)?)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
