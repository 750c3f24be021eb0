//! InfluxDB's HTTP API, as far as it is used.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::Lines;
use super::settings::{Access, Settings};
use super::trust;
use crate::store::sink::{SinkError, secret};

/// From the first byte of a request to the last of its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// To have a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Bytes of an answer to a write that are read.
const SAID_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer to a query.
const FOUND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Characters kept of what a server says.
const WORDS_MAX: usize = 300;

/// What InfluxDB said to a write.
pub(super) enum Said {
    /// All is there.
    Taken,
    /// Some lines are not; where it says so, how many.
    Refused { why: String, lines: Option<usize> },
    /// More than it reads at once; nothing is there.
    TooLarge,
}

/// A way to one InfluxDB.
pub(super) struct Client {
    http: reqwest::Client,
    /// Who we are.
    headers: HeaderMap,
    write: Url,
    query: Url,
    /// What writes go to, for people.
    place: String,
}

/// How both versions say what is wrong.
#[derive(Default, Deserialize)]
struct Complaint {
    error: Option<String>,
    message: Option<String>,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, SinkError> {
        let base = base(settings)?;
        let (write, query, place) = match &settings.access {
            Access::V1 { database, .. } => (
                at(&base, "write", &[("db", database), ("precision", "ns")])?,
                at(&base, "query", &[("db", database), ("epoch", "ns")])?,
                format!("database {database}"),
            ),
            Access::V2 { org, bucket, .. } => (
                at(&base, "api/v2/write", &[("org", org), ("bucket", bucket), ("precision", "ns")])?,
                at(&base, "query", &[("db", bucket), ("epoch", "ns")])?,
                format!("bucket {bucket}"),
            ),
        };
        let builder = reqwest::Client::builder()
            .timeout(DEADLINE)
            .connect_timeout(CONNECT_DEADLINE)
            .redirect(reqwest::redirect::Policy::none());
        let builder = trust::given(builder, settings, &base)?;
        let http = builder.build().map_err(|error| unfit(format!("no connection can be made: {}", told(error))))?;
        let mut headers = HeaderMap::new();
        headers.extend(authorization(&http, &base, &settings.access)?.map(|secret| (AUTHORIZATION, secret)));
        Ok(Self { http, headers, write, query, place })
    }

    /// Writes `lines`.
    pub(super) async fn write(&self, lines: &Lines) -> Result<Said, SinkError> {
        let mut body = String::with_capacity(lines.iter().map(|(_, line)| line.len() + 1).sum());
        for (_, line) in lines {
            body.push_str(line);
            body.push('\n');
        }
        let request = self.http.post(self.write.clone()).headers(self.headers.clone());
        let answer = request.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(body).send().await;
        let (status, said) = read(answer, SAID_BYTES_MAX).await?;
        if status.is_success() {
            return Ok(Said::Taken);
        }
        let complaint: Complaint = serde_json::from_slice(&said).unwrap_or_default();
        let words: String = complaint.error.or(complaint.message).unwrap_or_default();
        match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if is_about_lines(&words) => {
                Ok(Said::Refused { lines: dropped(&words), why: cut(&words) })
            }
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Said::TooLarge),
            _ => Err(self.failure(status, &words)),
        }
    }

    /// The answer to an InfluxQL query, as JSON.
    pub(super) async fn query(&self, text: &str) -> Result<Vec<u8>, SinkError> {
        let mut url = self.query.clone();
        url.query_pairs_mut().append_pair("q", text);
        let (status, said) =
            read(self.http.get(url).headers(self.headers.clone()).send().await, FOUND_BYTES_MAX).await?;
        if status.is_success() {
            return Ok(said);
        }
        let complaint: Complaint = serde_json::from_slice(&said).unwrap_or_default();
        Err(self.failure(status, &complaint.error.or(complaint.message).unwrap_or_default()))
    }

    fn failure(&self, status: StatusCode, words: &str) -> SinkError {
        let (words, place) = (cut(words), &self.place);
        match status {
            StatusCode::UNAUTHORIZED => {
                unfit(format!("InfluxDB does not know us ({words}): check the password or the token of [timeseries]"))
            }
            StatusCode::FORBIDDEN => unfit(format!("InfluxDB forbids ({words}): let us write and read {place}")),
            StatusCode::NOT_FOUND => unfit(format!("InfluxDB has no {place} ({words}): create it")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                SinkError::Away(format!("InfluxDB is asked too much ({status})"))
            }
            status if status.is_server_error() => SinkError::Away(format!("InfluxDB says {status}: {words}")),
            status => unfit(format!("InfluxDB answers {status} ({words}): is `url` of [timeseries] right?")),
        }
    }
}

async fn read(
    answer: Result<reqwest::Response, reqwest::Error>,
    bytes_max: usize,
) -> Result<(StatusCode, Vec<u8>), SinkError> {
    let away = |error| SinkError::Away(format!("InfluxDB does not answer: {}", told(error)));
    let mut answer = answer.map_err(away)?;
    let (status, mut body) = (answer.status(), Vec::new());
    while let Some(part) = answer.chunk().await.map_err(away)? {
        if body.len() + part.len() > bytes_max {
            return Err(SinkError::Away(format!("InfluxDB answers with more than {bytes_max} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok((status, body))
}

/// What went wrong, with its causes, and without the address.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(why) = cause {
        words = format!("{words}: {why}");
        cause = why.source();
    }
    words
}

/// Whether a refusal blames lines, rather than where they were to go. These are the words of InfluxDB 1.x (`coordinator`,
/// `models`, `services/httpd`) and 2.x (`http/points_handler`).
fn is_about_lines(words: &str) -> bool {
    const BLAME: [&str; 6] =
        ["partial write", "unable to parse", "field type conflict", "points beyond", "writing points", "invalid field"];
    BLAME.iter().any(|blame| words.contains(blame))
}

/// How many lines InfluxDB says it dropped.
fn dropped(words: &str) -> Option<usize> {
    let (_, after) = words.rsplit_once("dropped=")?;
    let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn cut(words: &str) -> String {
    words.chars().take(WORDS_MAX).collect()
}

fn unfit(words: String) -> SinkError {
    SinkError::Unfit(words)
}

/// The address that all others start with.
fn base(settings: &Settings) -> Result<Url, SinkError> {
    let wrong = |why: &str| unfit(format!("`url` of [timeseries] {why}; it should be like https://host:8086"));
    let mut base = Url::parse(&settings.url).map_err(|error| wrong(&format!("is no address ({error})")))?;
    if !base.username().is_empty() || base.password().is_some() {
        return Err(wrong("must hold no user and no password: they have settings of their own"));
    }
    match (base.scheme(), base.host_str()) {
        ("https", Some(_)) => {}
        ("http", Some(host)) if settings.plain_http || is_loopback(host) => {}
        ("http", Some(_)) => return Err(wrong("would send readings unencrypted (or set `plain_http = true`)")),
        _ => return Err(wrong("is neither http nor https")),
    }
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", base.path()));
    }
    Ok(base)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn at(base: &Url, path: &str, parameters: &[(&str, &str)]) -> Result<Url, SinkError> {
    let mut url = base.join(path).map_err(|error| unfit(format!("`url` of [timeseries]: {error}")))?;
    url.query_pairs_mut().extend_pairs(parameters);
    Ok(url)
}

/// What says who we are, as `http` would send it. Marked so that nothing prints it.
fn authorization(http: &reqwest::Client, base: &Url, access: &Access) -> Result<Option<HeaderValue>, SinkError> {
    match access {
        Access::V1 { user: None, .. } => Ok(None),
        Access::V1 { user: Some((name, file)), .. } => {
            let request = http.get(base.clone()).basic_auth(name, Some(secret(file)?.as_str())).build();
            let request =
                request.map_err(|error| unfit(format!("user or password cannot be sent: {}", told(error))))?;
            Ok(request.headers().get(AUTHORIZATION).cloned())
        }
        Access::V2 { token_file, .. } => {
            let header = HeaderValue::from_str(&format!("Token {}", secret(token_file)?.as_str()));
            let mut header = header.map_err(|_| unfit(format!("{} holds no token", token_file.display())))?;
            header.set_sensitive(true);
            Ok(Some(header))
        }
    }
}
