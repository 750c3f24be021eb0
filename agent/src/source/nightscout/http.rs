//! Asking a site over HTTP/1.1: one connection, each answer within its time and its size.

use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::Address;
use super::problem::Problem;
use super::{dates, tls};
use crate::source::SourceClock;

/// How often a redirect is followed.
const REDIRECTS_MAX: usize = 3;
/// Bytes that an answer's head may have.
const HEAD_BYTES_MAX: usize = 32 * 1024;

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

/// A connection. Dropping it ends the task that moves its bytes.
struct Live {
    sender: SendRequest<String>,
    _driver: JoinSet<()>,
}

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
    pub(super) async fn get(
        &mut self,
        endpoint: &str,
        extra: Option<&(HeaderName, HeaderValue)>,
    ) -> Result<Answer, Problem> {
        let mut path = self.address.path(endpoint);
        for _ in 0..=REDIRECTS_MAX {
            let reused = self.live.is_some();
            let mut answer = self.ask(&path, extra).await;
            // The site may have closed a connection that it had nothing to do on; asking twice changes nothing there.
            if reused && matches!(answer, Err(Problem::Broken(_))) {
                answer = self.ask(&path, extra).await;
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

    async fn ask(&mut self, path: &str, extra: Option<&(HeaderName, HeaderValue)>) -> Result<Answer, Problem> {
        let mut live = match self.live.take().filter(|live| !live.sender.is_closed()) {
            Some(live) => live,
            None => within(self.limits.connect, "connecting", self.connect()).await?,
        };
        let request = self.request(path, extra)?;
        let bytes_max = self.limits.bytes_max;
        let exchange = async {
            live.sender.ready().await.map_err(|error| broken(&error))?;
            let response = live.sender.send_request(request).await.map_err(|error| broken(&error))?;
            read(response, bytes_max).await
        };
        let (mut answer, packed) = within(self.limits.answer, "an answer", exchange).await?;
        // Only a connection on which all went well is used again.
        self.live = Some(live);
        if packed {
            let body = std::mem::take(&mut answer.body);
            let unpacked = tokio::task::spawn_blocking(move || unpack(&body, bytes_max)).await;
            answer.body = unpacked.map_err(|_| Problem::Packed)??;
        }
        Ok(answer)
    }

    fn request(&self, path: &str, extra: Option<&(HeaderName, HeaderValue)>) -> Result<Request<String>, Problem> {
        let mut request = Request::get(path)
            .header(header::HOST, &self.address.authority)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "gzip")
            .header(header::USER_AGENT, concat!("tributary-agent/", env!("CARGO_PKG_VERSION")));
        if let Some((name, value)) = extra {
            request = request.header(name, value);
        }
        request.body(String::new()).map_err(|_| Problem::Connect("`url` has characters that no request takes".into()))
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
        let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| broken(&error))?;
        let mut driver = JoinSet::new();
        // What goes wrong on the connection is told to who waits for the answer.
        driver.spawn(async move { drop(connection.await) });
        Ok(Live { sender, _driver: driver })
    }
}

impl Answer {
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

/// The reasons of the library's errors say nothing of the site.
fn broken(error: &hyper::Error) -> Problem {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Problem::Broken(format!("{error}{cause}"))
}

/// An answer as it came, and whether it is packed.
async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<(Answer, bool), Problem> {
    let (head, mut incoming) = response.into_parts();
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let packed = match text(header::CONTENT_ENCODING) {
        None | Some("" | "identity") => false,
        Some("gzip" | "x-gzip") => true,
        Some(_) => return Err(Problem::Packed),
    };
    let now_ms = text(header::DATE).and_then(dates::http);
    let answer = Answer {
        status: head.status.as_u16(),
        body: Vec::new(),
        now_ms,
        retry_after: retry_after(&head.headers, now_ms),
        location: text(header::LOCATION).map(str::to_owned),
    };
    let has_body = head.status != StatusCode::NO_CONTENT && head.status != StatusCode::NOT_MODIFIED;
    let mut body = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        if body.len() + data.len() > bytes_max {
            return Err(Problem::TooLarge { bytes_max });
        }
        body.extend_from_slice(&data);
    }
    Ok((Answer { body, ..answer }, packed && has_body))
}

/// Fails when more comes out than may, whatever little went in.
fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed).take(limit).read_to_end(&mut body).map_err(|_| Problem::Packed)?;
    if body.len() > bytes_max { Err(Problem::TooLarge { bytes_max }) } else { Ok(body) }
}

/// Seconds, or a date by the site's own clock.
fn retry_after(headers: &HeaderMap, now_ms: Option<i64>) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => u64::try_from(dates::http(text)?.saturating_sub(now_ms?)).ok().map(Duration::from_millis),
    }
}
