//! A Nightscout site: what a person's devices and apps have sent there, each record once, with its edits.
//!
//! A site has two ways to be asked. By order of change (`/api/v3/…/history`) it tells of edits, deletions and what comes
//! late, but only of records that were written that way; most uploaders write the older way. By time (`/api/v1`) it tells of
//! all records, but not what has changed. So both are asked: [`history`] takes what is in the order of change, [`overlap`]
//! takes the rest by time, again and again over a day, and knows by [`memory`] what was taken.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{BadSetting, Ended, Outlet, SourceClock, SourceError, SourceName};

mod address;
mod answer;
mod auth;
mod dates;
mod history;
mod http;
mod memory;
mod overlap;
mod problem;
mod reader;
mod record;
mod site;
mod tls;
mod values;

pub use address::SiteUrl;
use auth::Secret;
use memory::Memory;
use reader::{Halt, Reader};

/// The longest wait after failures, unless `every_s` is longer.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// The longest that a site is left alone because it asks for it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// A site's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The site: `https://my-site.example`, without user, token or query.
    pub url: SiteUrl,
    /// A file (mode 0600) with a token of a subject that may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A file (mode 0600) with the site's `API_SECRET`. Not together with `token_file`, which is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_secret_file: Option<PathBuf>,
    /// What is read.
    #[serde(default = "collections")]
    pub collections: Vec<Collection>,
    /// How the site is asked.
    #[serde(default)]
    pub api: Api,
    /// Seconds from one look to the next, 10 to 86400.
    #[serde(default = "every_s")]
    pub every_s: u32,
    /// How many days back the first look goes, 0 to 36500.
    #[serde(default = "history_days")]
    pub history_days: u32,
    /// How many hours back records are looked for again that came late, 1 to 168.
    #[serde(default = "overlap_h")]
    pub overlap_h: u32,
    /// Whether a site without TLS is asked: who is on the way can read and change all of it, and read the secret.
    #[serde(default)]
    pub allow_http: bool,
    /// Whether a site on this machine or in this network is asked.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Certificates (PEM) of the authorities that the site's may come from; left out: those that the system trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_file: Option<PathBuf>,
    /// Seconds until a connection has to stand, 1 to 120.
    #[serde(default = "connect_s")]
    pub connect_s: u32,
    /// Seconds until an answer has to be there whole, 1 to 600.
    #[serde(default = "answer_s")]
    pub answer_s: u32,
    /// Bytes that an answer may have, 65536 to 67108864.
    #[serde(default = "answer_bytes_max")]
    pub answer_bytes_max: usize,
}

/// A kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Collection {
    /// What sensors and meters measured.
    Entries,
    /// Insulin, food, changes of a sensor, notes.
    Treatments,
    /// What pumps, loops and phones said of themselves.
    Devicestatus,
    /// Basal rates, ratios and targets.
    Profile,
}

impl Collection {
    pub(super) const ALL: [Self; 4] = [Self::Entries, Self::Treatments, Self::Devicestatus, Self::Profile];

    /// As the site calls it.
    fn word(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Treatments => "treatments",
            Self::Devicestatus => "devicestatus",
            Self::Profile => "profile",
        }
    }
}

/// How the site is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// By order of change where the site and the token allow it, and by time for what is not in that order.
    #[default]
    Auto,
    /// By order of change alone: less is sent, and what apps write the older way is not seen.
    V3,
    /// By time alone.
    V1,
}

fn collections() -> Vec<Collection> {
    Collection::ALL.to_vec()
}

fn every_s() -> u32 {
    60
}

fn history_days() -> u32 {
    7
}

fn overlap_h() -> u32 {
    24
}

fn connect_s() -> u32 {
    10
}

fn answer_s() -> u32 {
    60
}

fn answer_bytes_max() -> usize {
    4 * 1024 * 1024
}

impl Settings {
    /// Whether all settings can be. Opens nothing.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting and repeats neither the site's name nor a secret.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let bad = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        let address = self.url.address()?;
        if !address.secure && !self.allow_http {
            return bad(
                "url",
                "is plain HTTP, which anyone on the way can read; use https, or set `allow_http = true`",
            );
        }
        if self.token_file.is_some() && self.api_secret_file.is_some() {
            return bad("api_secret_file", "has no place beside `token_file`; keep the token, it can do less harm");
        }
        if self.api == Api::V3 && self.token_file.is_none() {
            return bad(
                "token_file",
                "is needed for api = \"v3\"; make a subject with the role `readable` on the site",
            );
        }
        let once = |(place, one): (usize, &Collection)| !self.collections.iter().take(place).any(|other| other == one);
        if self.collections.is_empty() || !self.collections.iter().enumerate().all(once) {
            return bad("collections", "is to name some of entries, treatments, devicestatus, profile, each once");
        }
        for (field, value, range) in [
            ("every_s", self.every_s, 10..=86_400),
            ("history_days", self.history_days, 0..=36_500),
            ("overlap_h", self.overlap_h, 1..=168),
            ("connect_s", self.connect_s, 1..=120),
            ("answer_s", self.answer_s, 1..=600),
        ] {
            if !range.contains(&value) {
                return bad(field, &format!("is to be {} to {}", range.start(), range.end()));
            }
        }
        if !(65_536..=67_108_864).contains(&self.answer_bytes_max) {
            return bad("answer_bytes_max", "is to be 65536 to 67108864");
        }
        Ok(())
    }

    /// Reads the files that are named, as a look at the site does; the answer names the setting.
    pub(super) fn check_files(&self) -> Result<(), String> {
        let secret = self.secret().read().map(drop);
        let file = self.authority_file.as_deref();
        let checked = secret.and_then(|()| file.map_or(Ok(()), |file| tls::authorities(Some(file)).map(drop)));
        checked.map_err(|problem| problem.to_string())
    }

    fn secret(&self) -> Secret {
        match (&self.token_file, &self.api_secret_file) {
            (Some(file), _) => Secret::Token(file.clone()),
            (None, Some(file)) => Secret::Api(file.clone()),
            (None, None) => Secret::None,
        }
    }
}

/// Reads the site from `cursor` on, until `stop` is cancelled.
///
/// # Errors
/// [`SourceError`] where settings or cursor cannot be. What is wrong with the site is logged once, and tried again.
pub async fn run(
    settings: Settings,
    name: SourceName,
    cursor: Option<Vec<u8>>,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    settings.validate()?;
    let memory = cursor.as_deref().map(Memory::decode).transpose()?.unwrap_or_default();
    // Certificates are judged, and the first look is begun, by the time of day.
    if clock.wall_known(&stop).await.is_none() {
        return Ok(Ended::Stopped);
    }
    let every = Duration::from_secs(settings.every_s.into());
    let mut reader = Reader::new(&settings, memory, clock, SourceName::clone(&name), outlet, stop.clone())?;
    let (mut told, mut failures) = (String::new(), 0_u32);
    loop {
        let read = tokio::select! {
            read = reader.look() => read,
            () = stop.cancelled() => return Ok(Ended::Stopped),
        };
        let wait = match read {
            Err(Halt::Stopping) => return Ok(Ended::Stopped),
            Ok(()) => {
                if !told.is_empty() {
                    info!(source = %name, "{name}: the site is read again");
                }
                (told, failures) = (String::new(), 0);
                every
            }
            Err(Halt::Problem(problem)) => {
                let text = problem.to_string();
                if text != told {
                    warn!(source = %name, "{name}: {text}");
                    told = text;
                }
                // One collection that may not be read must not slow the others down.
                failures = if problem.is_local() { 1 } else { failures.saturating_add(1) };
                let wait = every.saturating_mul(1 << failures.min(16).saturating_sub(1)).min(WAIT_MAX.max(every));
                wait.max(problem.retry_after().unwrap_or_default().min(RETRY_AFTER_MAX))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return Ok(Ended::Stopped),
        }
    }
}

/// What a site answers becomes readings or rejects, with no more of them than fit. For `super::fuzzing` alone.
pub(super) fn fuzz_answer(bytes: &[u8]) {
    for collection in Collection::ALL {
        for enveloped in [false, true] {
            let Ok(records) = site::records(bytes, collection, enveloped) else { continue };
            for (record, _) in records {
                let mut intake = super::Intake::empty(&SourceName::from("fuzz"), proto::Lane::Live);
                reader::write(&record, proto::Change::Replace, 1, &mut intake);
                assert!(intake.samples.len() <= 64, "a record becomes few readings");
            }
        }
    }
}

/// Bytes from a site's machine are an answer within its bounds, or what is wrong with it. For `super::fuzzing` alone.
pub(super) fn fuzz_http(mut bytes: &[u8]) {
    const BYTES_MAX: usize = 65_536;
    let read = std::pin::pin!(answer::read(&mut bytes, BYTES_MAX));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(read) = read.poll(&mut context) else { panic!("all of it is there") };
    assert!(read.is_err() || read.is_ok_and(|(_, body, _)| body.len() <= BYTES_MAX));
}

/// A cursor that can be read is written and read again to the same. For `super::fuzzing` alone.
pub(super) fn fuzz_cursor(bytes: &[u8]) {
    if let Ok(memory) = Memory::decode(bytes) {
        assert_eq!(Memory::decode(&memory.encode()).ok(), Some(memory));
    }
}

#[cfg(test)]
mod tests;
