//! A Unix socket that takes NDJSON and answers each line once it is stored.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::fields::{Key, Mapping, SeriesSettings};
use super::format::LineFormat;
use super::record::{Parser, TimeField};
use super::times::TimeSettings;
use super::{BadSetting, Ended, Outlet, SourceClock, SourceError, SourceName};

mod client;
mod place;

use client::{Shared, serve};
use place::Place;

/// Bytes a socket's path may have: 107 are the system's bound, and it is made beside its place first.
const PATH_BYTES_MAX: usize = 100;
/// How long to wait where the system has no file descriptor to give.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long connections may take to give their last answers when the agent stops.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// A socket's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the socket is; its folder must be there.
    pub path: PathBuf,
    /// Where each record's own time is. Left out: records are stamped as they arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeSettings>,
    /// The zone of local times; needed where records have times without offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Bytes one line may have.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
    /// Programs that may be connected at once, 1 to 64.
    #[serde(default = "connections_max")]
    pub connections_max: usize,
    /// Seconds without a byte after which a connection is closed, 1 to 86400.
    #[serde(default = "idle_s")]
    pub idle_s: u32,
    /// What each record holds.
    pub series: Vec<SeriesSettings>,
}

fn line_bytes_max() -> usize {
    16 * 1024
}

fn connections_max() -> usize {
    8
}

fn idle_s() -> u32 {
    300
}

impl Settings {
    /// Whether all settings can be. Opens nothing.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let wrong = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        if !self.path.is_absolute() || self.path.file_name().is_none() {
            return wrong("path", "is to be an absolute path, such as /run/tributary/readings.sock");
        }
        if self.path.as_os_str().len() > PATH_BYTES_MAX {
            return wrong("path", "is longer than the 100 bytes that a socket's path may have");
        }
        if !(256..=65_536).contains(&self.line_bytes_max) {
            return wrong("line_bytes_max", "is to be 256 to 65536");
        }
        if !(1..=64).contains(&self.connections_max) {
            return wrong("connections_max", "is to be 1 to 64");
        }
        if !(1..=86_400).contains(&self.idle_s) {
            return wrong("idle_s", "is to be 1 to 86400");
        }
        self.parser().map(|_| ())
    }

    fn parser(&self) -> Result<Parser, BadSetting> {
        let mapping = Mapping::new(&self.series)?;
        let keys = mapping.keys().chain(self.time.as_ref().map(|time| &time.column));
        for (index, key) in keys.enumerate() {
            if let Key::Number(_) = key {
                let field =
                    if index < mapping.len() { format!("series[{index}].column") } else { "time.column".into() };
                return Err(BadSetting::new(field, "is to be a name in quotes: a key or dotted path"));
            }
        }
        let time = self.time.as_ref().map(|time| TimeField::new(time, self.time_zone.as_deref())).transpose()?;
        Ok(Parser { format: LineFormat::Json, mapping, time, columns: None })
    }
}

/// Listens until it is told to stop.
///
/// # Errors
/// [`SourceError`] where it cannot listen.
pub async fn run(
    settings: Settings,
    name: SourceName,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    settings.validate()?;
    let unusable = |problem| SourceError::Unusable(format!("{} {problem}", settings.path.display()));
    let (listener, place) = Place::listen(&settings.path).await.map_err(unusable)?;
    let (parser, idle) = (settings.parser()?, Duration::from_secs(settings.idle_s.into()));
    let shared = Arc::new(Shared::new(parser, settings.line_bytes_max, idle, name, outlet, clock));
    let mut clients = JoinSet::new();
    while !stop.is_cancelled() {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) if clients.len() < settings.connections_max => {
                    clients.spawn(serve(client, Arc::clone(&shared), stop.clone()));
                }
                Ok((client, _)) => turn_away(&client),
                Err(error) => {
                    warn!(source = %shared.name, "cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = clients.join_next(), if !clients.is_empty() => {
                if ended.is_err_and(|error| error.is_panic()) {
                    warn!(source = %shared.name, "a connection broke; please report this");
                }
            }
            () = stop.cancelled() => {}
        }
    }
    stop_listening(listener, place);
    let _ = timeout(STOP_GRACE, async { while clients.join_next().await.is_some() {} }).await;
    Ok(Ended::Stopped)
}

/// Says so, where that can be said at once.
fn turn_away(client: &UnixStream) {
    let answer = b"{\"ok\":false,\"error\":\"too many connections; close one or raise `connections_max`\"}\n";
    let _ = client.try_write(answer);
}

fn stop_listening(listener: UnixListener, place: Place) {
    drop(listener);
    drop(place);
}

#[cfg(test)]
mod tests;
