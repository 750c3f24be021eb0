//! Who may ask, and what a browser may do with the answer.
//!
//! Anything on the machine may ask for now. But a web page from elsewhere that makes a browser on this machine ask must
//! get nothing: it cannot choose the Host (against DNS rebinding), and its Origin is not ours.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use super::ask::DEADLINE;
use super::problem::Problem;

/// Requests at work at once, live views not counted once they flow.
const REQUESTS_MAX: usize = 128;
/// No script, style or picture but our own, and no page around ours. Pictures may be inline for the sake of icons in
/// style sheets.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// For two years, as Mozilla advises, nothing but HTTPS (RFC 6797). Asked by an address, or by localhost where they are
/// new, browsers do not keep it.
const STRICT_TRANSPORT_SECURITY: &str = "max-age=63072000; includeSubDomains";

/// The names under which this server may be asked.
#[derive(Clone)]
pub(super) struct Guard(Arc<Inner>);

struct Inner {
    hosts: Vec<String>,
    scheme: &'static str,
    requests: Semaphore,
}

impl Guard {
    /// For requests to `address`, by https or by http.
    pub(super) fn new(address: SocketAddr, is_secure: bool) -> Self {
        let (scheme, usual_port) = if is_secure { ("https://", 443) } else { ("http://", 80) };
        let names = ["127.0.0.1", "localhost", "[::1]"];
        let port = address.port();
        let mut hosts: Vec<String> = names.iter().map(|name| format!("{name}:{port}")).collect();
        hosts.push(address.to_string());
        if port == usual_port {
            hosts.extend(names.map(str::to_owned));
        }
        Self(Arc::new(Inner { hosts, scheme, requests: Semaphore::new(REQUESTS_MAX) }))
    }

    fn knows(&self, host: &str) -> bool {
        self.0.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let one = |name| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
        };
        if !one(header::HOST).is_some_and(|host| self.knows(host)) {
            return Err(forbidden("Host"));
        }
        let is_ours = |origin: &str| origin.strip_prefix(self.0.scheme).is_some_and(|host| self.knows(host));
        if headers.contains_key(header::ORIGIN) && !one(header::ORIGIN).is_some_and(is_ours) {
            return Err(forbidden("Origin"));
        }
        Ok(())
    }
}

fn forbidden(header: &str) -> Problem {
    let detail = format!("the header {header} is not this server's address; ask by the address it listens on");
    Problem::new(StatusCode::FORBIDDEN, detail)
}

/// Lets in who may ask, and tells browsers how to treat the answer.
pub(super) async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match (guard.check(request.headers()), guard.0.requests.try_acquire()) {
        (Err(problem), _) => problem.into_response(),
        (_, Err(_)) => Problem::busy("too many requests at once; ask again").into_response(),
        (Ok(()), Ok(_permit)) => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if guard.0.scheme == "https://" {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICT_TRANSPORT_SECURITY));
    }
    // Readings of a person must not stay in a cache.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Ends what takes too long.
pub(super) async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::busy("no answer within 10 seconds; ask for less").into_response(),
    }
}
