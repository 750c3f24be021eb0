//! Questions to a site, and its lists of records.

use std::time::Duration;

use proto::Instant;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::auth::Auth;
use super::http::{Client, Limits};
use super::problem::Problem;
use super::record::Record;
use super::tls::Trust;
use super::{Api, Collection, Settings};
use crate::source::{BadSetting, Reject, SourceClock};

/// A site that is asked.
pub(super) struct Site {
    client: Client,
    auth: Auth,
    clock: SourceClock,
    api: Api,
    /// How far the site's clock is ahead of ours.
    ahead_ms: i64,
    /// Whether it is known to tell by order of change.
    newer: bool,
}

impl Site {
    pub(super) fn new(settings: &Settings, clock: SourceClock) -> Result<Self, BadSetting> {
        let limits = Limits {
            connect: Duration::from_secs(settings.connect_s.into()),
            answer: Duration::from_secs(settings.answer_s.into()),
            bytes_max: settings.answer_bytes_max,
            allow_private: settings.allow_private_addresses,
        };
        let trust = Trust::new(settings.authority_file.clone());
        let client = Client::new(settings.url.address()?, limits, trust, clock.clone());
        let auth = Auth::new(settings.secret());
        Ok(Self { client, auth, clock, api: settings.api, ahead_ms: 0, newer: false })
    }

    /// What time it is there, in milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> i64 {
        self.own_ms().saturating_add(self.ahead_ms)
    }

    /// The same, or what time it is here if that is later: records that are behind both are of a time to come.
    pub(super) fn latest_ms(&self) -> i64 {
        self.now_ms().max(self.own_ms())
    }

    /// The same, or what time it is here if that is earlier.
    pub(super) fn earliest_ms(&self) -> i64 {
        self.now_ms().min(self.own_ms())
    }

    fn own_ms(&self) -> i64 {
        self.clock.wall().unwrap_or(Instant(0)).0.div_euclid(1_000)
    }

    pub(super) fn close(&mut self) {
        self.client.close();
    }

    /// Whether it tells by order of change. One that does is asked once; one that does not may some day.
    pub(super) async fn is_newer(&mut self) -> Result<bool, Problem> {
        self.newer = match self.api {
            Api::V1 => false,
            Api::V3 => true,
            Api::Auto if self.newer || !self.auth.has_token() => self.newer,
            Api::Auto => match self.ask("/api/v3/version", "its version").await {
                Ok(body) => body.is_some_and(|body| body.trim_ascii_start().starts_with(b"{")),
                Err(Problem::Missing | Problem::Status { status: 400..=428 | 430..=499, .. }) => false,
                Err(problem) => return Err(problem),
            },
        };
        Ok(self.newer)
    }

    /// The records in the answer to `endpoint`, with what is wrong with some.
    pub(super) async fn list(
        &mut self,
        endpoint: &str,
        collection: Collection,
        enveloped: bool,
    ) -> Result<Vec<(Record, Option<Reject>)>, Problem> {
        let Some(body) = self.ask(endpoint, collection.word()).await? else { return Ok(Vec::new()) };
        // A large answer takes a small processor some time, in which others are to go on.
        let read = tokio::task::spawn_blocking(move || records(&body, collection, enveloped)).await;
        read.map_err(|_| Problem::Broken("reading the answer was interrupted".into()))?
    }

    /// The body of the answer; none where nothing is new. A pass that is not good any more is renewed once.
    async fn ask(&mut self, endpoint: &str, what: &'static str) -> Result<Option<Vec<u8>>, Problem> {
        loop {
            let header = self.auth.header(&mut self.client).await?;
            let answer = self.client.get(endpoint, header.as_ref()).await?;
            if let Some(now_ms) = answer.now_ms {
                self.ahead_ms = now_ms.saturating_sub(self.own_ms());
            }
            if answer.status != 401 {
                return answer.good(what);
            }
            let may_be_old = header.is_some() && self.auth.is_aged();
            self.auth.forget();
            if !may_be_old {
                return answer.good(what);
            }
        }
    }
}

/// The records of a list; in an envelope where they are told by order of change, in which each must have its place.
pub(super) fn records(
    body: &[u8],
    collection: Collection,
    enveloped: bool,
) -> Result<Vec<(Record, Option<Reject>)>, Problem> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        result: Vec<&'a RawValue>,
    }
    let what = collection.word();
    // The library's own words may repeat the answer's.
    let nonsense = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        Problem::Nonsense { what, problem: format!("no list of records at line {line} column {column}") }
    };
    let raws = if enveloped {
        serde_json::from_slice::<Envelope<'_>>(body).map_err(nonsense)?.result
    } else {
        serde_json::from_slice(body).map_err(nonsense)?
    };
    let read = |(index, raw): (usize, &RawValue)| {
        let record = Record::read(collection, raw.get());
        let place = format!("{what} record {}", index + 1);
        let unplaced =
            || (enveloped && record.modified.is_none()).then(|| "has no `srvModified` that is a time".into());
        let reject = record.made.as_ref().err().cloned().or_else(unplaced);
        (record, reject.map(|reason| Reject::new(place, reason, raw.get().as_bytes())))
    };
    Ok(raws.into_iter().enumerate().map(read).collect())
}
