//! `health`: asks the gateway that runs here whether it is well, for containers and balancers.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Config, Http};

mod same;

/// How long an answer may take, from the first packet to the last byte. Container engines ask with a deadline of 5 s.
const DEADLINE: Duration = Duration::from_secs(4);
/// An answer is some hundred bytes.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// How it is asked for.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// The configuration file: the gateway is asked where its `http.address` is
    #[arg(long, short, default_value = "/etc/tributary/gateway.toml")]
    config: PathBuf,
    /// Ask whether it can do its work: its store can be read, and takes what comes in
    #[arg(long)]
    ready: bool,
}

impl Health {
    /// Asks, and says in a line what the answer is: exit code 0 where it is good, else 1.
    ///
    /// # Errors
    /// The configuration cannot be read, or the line cannot be written.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let http = Config::read(&self.config)?.http;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let asked = runtime.block_on(async { timeout(DEADLINE, ask(&http, path)).await });
        let asked = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", DEADLINE.as_secs())));
        let good = if self.ready { "ready" } else { "healthy" };
        let mut out = std::io::stdout().lock();
        let (line, code) = match asked.and_then(|answer| judge(&answer)) {
            Ok(()) => (good.to_owned(), ExitCode::SUCCESS),
            Err(error) => (format!("not {good}: {}: {error:#}", http.address), ExitCode::FAILURE),
        };
        writeln!(out, "{line}").context("write to standard output")?;
        Ok(code)
    }
}

/// The whole answer to a GET of `path`.
async fn ask(http: &Http, path: &str) -> anyhow::Result<String> {
    let address = http.address;
    ensure!(address.port() != 0, "`http.address` has port 0, so nobody knows where the gateway is");
    let stream = TcpStream::connect(address).await.context("nobody listens there")?;
    let Some(file) = &http.certificate_file else { return exchange(stream, address, path).await };
    let chain = certs::read_certificates(file)?;
    let connector = TlsConnector::from(Arc::new(that_shows(chain)?));
    let stream = connector.connect(ServerName::from(address.ip()), stream).await.context("TLS")?;
    exchange(stream, address, path).await
}

/// TLS with a server that shows the first of `chain`, whatever names are in it: it is asked by its address.
fn that_shows(chain: Vec<CertificateDer<'static>>) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let own = chain.into_iter().next().context("`http.certificate_file` holds no certificate")?;
    let same = same::Same::new(own, &provider);
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(rustls::DEFAULT_VERSIONS)?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(same)).with_no_client_auth())
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("ask")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.context("read the answer")?;
    String::from_utf8(answer).context("the answer is no text")
}

/// Whether `answer` is a good one; else with what is wrong, as it says itself.
fn judge(answer: &str) -> anyhow::Result<()> {
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let Some(status) = status else { bail!("what answers there is no gateway") };
    if status == "200" {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let reasons = serde_json::from_str::<Value>(body).unwrap_or_default();
    let reasons: Vec<&str> = reasons["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if reasons.is_empty() {
        bail!("it answers with {status}");
    }
    bail!("{}", reasons.join("; "))
}

#[cfg(test)]
mod tests;
