//! Asking a site over HTTP/1.1: one connection, each answer within its time and its size.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::address::Address;
use super::answer::{self, Head};
use super::problem::Problem;
use super::{dates, tls};
use crate::source::SourceClock;

/// How often a redirect is followed.
const REDIRECTS_MAX: usize = 3;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 8 * 1024;

/// A header that says who asks.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) value: Zeroizing<String>,
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until the connection stands.
    pub(super) connect: Duration,
    /// From the question to the end of the answer.
    pub(super) answer: Duration,
    /// Of an answer, packed or unpacked.
    pub(super) bytes_max: usize,
    /// Whether machines of this network may be asked.
    pub(super) allow_private: bool,
}

/// A site, and the connection to it.
pub(super) struct Client {
    address: Address,
    limits: Limits,
    trust: tls::Trust,
    clock: SourceClock,
    live: Option<Live>,
}

/// A connection.
type Live = BufReader<Box<dyn Io>>;

/// What a site said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Unpacked.
    pub(super) body: Vec<u8>,
    /// The site's clock, in milliseconds since the Unix epoch.
    pub(super) now_ms: Option<i64>,
    retry_after: Option<Duration>,
    location: Option<String>,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Client {
    pub(super) fn new(address: Address, limits: Limits, trust: tls::Trust, clock: SourceClock) -> Self {
        Self { address, limits, trust, clock, live: None }
    }

    /// Asks for `endpoint`, and follows redirects to the same place.
    pub(super) async fn get(&mut self, endpoint: &str, shown: Option<&Shown>) -> Result<Answer, Problem> {
        let mut path = self.address.path(endpoint);
        for _ in 0..=REDIRECTS_MAX {
            let reused = self.live.is_some();
            let mut answer = self.ask(&path, shown).await;
            // The site may have closed a connection that it had nothing to do on; asking twice changes nothing there.
            if reused && matches!(answer, Err(Problem::Broken(_))) {
                answer = self.ask(&path, shown).await;
            }
            let answer = answer?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.location.as_deref().unwrap_or_default();
            path = self.address.redirected(location).ok_or(Problem::Redirected)?;
        }
        Err(Problem::Redirected)
    }

    /// Ends the connection; the next question makes a new one.
    pub(super) fn close(&mut self) {
        self.live = None;
    }

    async fn ask(&mut self, path: &str, shown: Option<&Shown>) -> Result<Answer, Problem> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => within(self.limits.connect, "connecting", self.connect()).await?,
        };
        let question = self.question(path, shown);
        let bytes_max = self.limits.bytes_max;
        let exchange = async {
            let broken = |error: std::io::Error| Problem::Broken(error.to_string());
            live.get_mut().write_all(question.as_bytes()).await.map_err(broken)?;
            live.get_mut().flush().await.map_err(broken)?;
            answer::read(&mut live, bytes_max).await
        };
        let (head, body, again) = within(self.limits.answer, "an answer", exchange).await?;
        // Only a connection on which all went well, and nothing was said unasked, is used again.
        self.live = (again && live.buffer().is_empty()).then_some(live);
        let mut answer = Answer::new(&head, body);
        if is_packed(&head)? && !answer.body.is_empty() {
            let packed = std::mem::take(&mut answer.body);
            let unpacked = tokio::task::spawn_blocking(move || unpack(&packed, bytes_max)).await;
            answer.body = unpacked.map_err(|_| Problem::Packed)??;
        }
        Ok(answer)
    }

    /// What is in it was checked: neither an address nor a path nor a secret has a line's end in it.
    fn question(&self, path: &str, shown: Option<&Shown>) -> Zeroizing<String> {
        let (host, version) = (&self.address.authority, env!("CARGO_PKG_VERSION"));
        let mut question = Zeroizing::new(format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: application/json\r\naccept-encoding: gzip\r\n\
             user-agent: tributary-agent/{version}\r\n"
        ));
        if let Some(Shown { name, value }) = shown {
            question.push_str(&Zeroizing::new(format!("{name}: {}\r\n", value.as_str())));
        }
        question.push_str("\r\n");
        question
    }

    async fn connect(&mut self) -> Result<Live, Problem> {
        let addresses = self.address.resolve(self.limits.allow_private).await?;
        let tcp =
            TcpStream::connect(addresses.as_slice()).await.map_err(|error| Problem::Connect(error.to_string()))?;
        // Questions are single short writes that wait for an answer; where it cannot be set they are merely slower.
        let _ = tcp.set_nodelay(true);
        let stream: Box<dyn Io> = if self.address.secure {
            let config: Arc<ClientConfig> = self.trust.config(&self.clock).await?;
            let secured = tls::secure(config, &self.address.host, tcp).await;
            if secured.is_err() {
                self.trust.forget(); // the authorities may have been renewed since they were read
            }
            Box::new(secured?)
        } else {
            Box::new(tcp)
        };
        Ok(BufReader::with_capacity(PIECE_BYTES, stream))
    }
}

impl Answer {
    fn new(head: &Head, body: Vec<u8>) -> Self {
        let now_ms = head.get("date").and_then(dates::http);
        Self {
            status: head.status,
            body,
            now_ms,
            retry_after: head.get("retry-after").and_then(|text| retry_after(text, now_ms)),
            location: head.get("location").map(str::to_owned),
        }
    }

    /// The body of a good answer about `what`; none where nothing is new.
    pub(super) fn good(self, what: &'static str) -> Result<Option<Vec<u8>>, Problem> {
        match self.status {
            200 => Ok(Some(self.body)),
            204 | 304 => Ok(None),
            401 => Err(Problem::Unauthorized),
            403 => Err(Problem::Forbidden(what)),
            404 => Err(Problem::Missing),
            status => Err(Problem::Status { status, retry_after: self.retry_after }),
        }
    }
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    timeout(limit, work).await.unwrap_or(Err(Problem::Late { what, limit_s: limit.as_secs() }))
}

fn is_packed(head: &Head) -> Result<bool, Problem> {
    match head.get("content-encoding") {
        None | Some("" | "identity") => Ok(false),
        Some("gzip" | "x-gzip") => Ok(true),
        Some(_) => Err(Problem::Packed),
    }
}

/// Fails when more comes out than may, whatever little went in.
fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed).take(limit).read_to_end(&mut body).map_err(|_| Problem::Packed)?;
    if body.len() > bytes_max { Err(Problem::TooLarge { bytes_max }) } else { Ok(body) }
}

/// Seconds, or a date by the site's own clock.
fn retry_after(text: &str, now_ms: Option<i64>) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => u64::try_from(dates::http(text)?.saturating_sub(now_ms?)).ok().map(Duration::from_millis),
    }
}
