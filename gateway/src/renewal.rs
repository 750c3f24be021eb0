//! Certificates, keys and revocation lists change while the gateway runs: their files are read again when they do.
//!
//! What cannot be read or used is reported, and what was in use stays.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api;
use crate::audit::Auditor;
use crate::audit::entry::{Actor, Detail, Event};
use crate::config::{Config, Http, Listener, Lists};
use crate::enrol::Claims;
use crate::ingest::listener::{Control, tls};
use crate::named::Named;
use crate::trouble::Trouble;

/// How often the files are looked at. A revocation is in force within this and the time of a handshake.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What could not be read is read again after so long, changed or not.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The files that devices' door goes by.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    listener: Listener,
    lists: Option<Lists>,
}

impl Files {
    pub(crate) fn of(config: &Config) -> Self {
        Self { listener: config.listener.clone(), lists: config.lists() }
    }
}

/// TLS as the files say now, and the serials that they revoke.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be; when a revocation list is for a part
/// of what its authority has issued. Each names the setting.
pub(crate) fn read(files: &Files, claims: &Claims) -> anyhow::Result<(Arc<ServerConfig>, BTreeSet<String>)> {
    let Files { listener, lists } = files;
    let (crls, revoked) = match lists {
        Some(lists) => read_lists(lists.file()).named_by(lists.setting())?,
        None => (Vec::new(), BTreeSet::new()),
    };
    let unlisted = if matches!(lists, Some(Lists::Own(_))) { tls::Unlisted::LetIn } else { tls::Unlisted::Refused };
    let chain = read_own(&listener.certificate_file).named_by("listener.certificate_file")?;
    let key = certs::read_private_key(&listener.key_file).named_by("listener.key_file")?;
    let authorities = certs::read_certificates(&listener.authority_file).named_by("listener.authority_file")?;
    let lists = tls::Lists { crls, unlisted };
    let config = tls::server_config(chain, key, authorities, lists, claims.clone(), listener.tls_min);
    let config = config.context("`listener.certificate_file`, `key_file`, `authority_file` and `crl_file` together")?;
    Ok((config, revoked))
}

/// Revocation lists, and the serials that they revoke.
fn read_lists(file: &Path) -> anyhow::Result<(Vec<CertificateRevocationListDer<'static>>, BTreeSet<String>)> {
    let (crls, mut revoked) = (certs::read_crls(file)?, BTreeSet::new());
    for (place, crl) in crls.iter().enumerate() {
        let which = || format!("revocation list {} of {}", place + 1, file.display());
        certs::identity::check_whole(crl).with_context(which)?;
        revoked.extend(certs::identity::revoked_serials(crl).with_context(which)?);
    }
    Ok((crls, revoked))
}

/// A certificate of this gateway's, and what leads to its anchor.
fn read_own(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain = certs::read_certificates(file)?;
    let leaf = chain.first().map(|leaf| certs::identity::check_server(leaf)).transpose();
    leaf.with_context(|| format!("{} cannot be shown to those who connect", file.display()))?;
    Ok(chain)
}

/// TLS for people as the files say now, if they are to have it.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be.
pub(crate) fn read_http(files: &Http) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let (Some(chain), Some(key)) = (&files.certificate_file, &files.key_file) else { return Ok(None) };
    let chain = read_own(chain).named_by("http.certificate_file")?;
    let key = certs::read_private_key(key).named_by("http.key_file")?;
    let config = api::server_config(chain, key, files.tls_min);
    Ok(Some(config.context("`http.certificate_file` and `http.key_file` cannot be used; do they belong together?")?))
}

/// Watches the files until `stop`; changes reach new handshakes, and revoked devices are cut off. `seen` is how they were
/// before they were read last.
pub(crate) async fn watch(
    files: Files,
    seen: Stamps,
    claims: Claims,
    control: Control,
    auditor: Auditor,
    stop: CancellationToken,
) {
    let mut watched = Watched::new(seen);
    while watched.changed(|| stamps(&files), &stop).await {
        let wanted = (files.clone(), claims.clone());
        let read =
            tokio::task::spawn_blocking(move || read(&wanted.0, &wanted.1)).await.context("read certificate files");
        match read.and_then(|read| read) {
            Ok((config, revoked)) => {
                watched.is_read();
                control.set_tls(config);
                let revocations = revoked.len();
                let closed = control.revoke(revoked);
                let cut = closed.len();
                info!(cut, "certificates and revocation lists were read again");
                let detail = Detail::none().text("what", "certificates and revocation lists were read again");
                let detail = detail.number("revoked_certificates", revocations).number("connections_cut", cut);
                auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail);
                for (device, serial) in closed {
                    let detail = Detail::none().text("what", "a live connection was cut").text("serial", &serial);
                    auditor.note(Event::Revoked, Actor::Gateway, Some(&device), detail);
                }
            }
            Err(error) => {
                let what = "certificate files changed but cannot be used; the old stay";
                unusable(&error, what, &mut watched, &auditor);
            }
        }
    }
}

/// The same of the door for people, if that has TLS: changes reach new handshakes.
pub(crate) async fn watch_http(files: Http, door: Option<api::Tls>, auditor: Auditor, stop: CancellationToken) {
    let Some(door) = door else { return stop.cancelled().await };
    let mut watched = Watched::new(stamps_http(&files));
    while watched.changed(|| stamps_http(&files), &stop).await {
        let wanted = files.clone();
        let read = tokio::task::spawn_blocking(move || read_http(&wanted)).await.context("read certificate files");
        match read.and_then(|read| read) {
            Ok(config) => {
                watched.is_read();
                config.into_iter().for_each(|config| door.set(config));
                info!("the certificate of [http] was read again");
                let detail = Detail::none().text("what", "the certificate of [http] was read again");
                auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail);
            }
            Err(error) => {
                let what = "certificate files of [http] changed but cannot be used; the old stay";
                unusable(&error, what, &mut watched, &auditor);
            }
        }
    }
}

fn unusable(error: &anyhow::Error, what: &'static str, watched: &mut Watched, auditor: &Auditor) {
    let error = format!("{error:#}");
    if !watched.is_unreadable(&error) {
        return;
    }
    error!(error, "{what}");
    let detail = Detail::none().text("what", what);
    auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail.text("why", &error));
}

/// When each file was last written; none for one that is not there.
pub(crate) type Stamps = Vec<Option<SystemTime>>;

/// Files as they were when they were last looked at. What could not be read is read again even if nobody changes it: a
/// process may have had no descriptor left, and a revocation must not wait for the next.
struct Watched {
    seen: Stamps,
    /// [`LOOK_EVERY`], and [`AGAIN_AFTER`].
    paces: (Duration, Duration),
    again_at: Option<Instant>,
    /// Whether they are looked at for that reason alone.
    is_again: bool,
    trouble: Trouble,
}

impl Watched {
    fn new(seen: Stamps) -> Self {
        Self { seen, paces: (LOOK_EVERY, AGAIN_AFTER), again_at: None, is_again: false, trouble: Trouble::none() }
    }

    fn is_read(&mut self) {
        self.trouble.is_over(Instant::now());
    }

    /// Notes that they cannot be used; whether that is to be said.
    fn is_unreadable(&mut self, why: &str) -> bool {
        self.again_at = Some(Instant::now() + self.paces.1);
        self.trouble.is_news(why, Instant::now()) || !self.is_again
    }

    /// Waits until they are others than before, or are to be read again. False once `stop` is there.
    async fn changed(&mut self, look: impl Fn() -> Stamps, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.paces.0) => {}
                () = stop.cancelled() => return false,
            }
            let now = look();
            self.is_again = now == self.seen;
            if !self.is_again || self.again_at.is_some_and(|at| Instant::now() >= at) {
                (self.seen, self.again_at) = (now, None);
                return true;
            }
        }
    }
}

/// How the listener's files are now.
pub(crate) fn stamps(files: &Files) -> Stamps {
    let Listener { certificate_file, key_file, authority_file, .. } = &files.listener;
    let own = [certificate_file, key_file, authority_file].map(PathBuf::as_path);
    own.into_iter().chain(files.lists.as_ref().map(Lists::file)).map(stamp).collect()
}

fn stamps_http(files: &Http) -> Stamps {
    [files.certificate_file.as_ref(), files.key_file.as_ref()].into_iter().flatten().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|file| file.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_could_not_be_read_is_read_again_though_nobody_changes_it_and_is_told_of_once() {
        let stop = CancellationToken::new();
        let at = |second| vec![Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second))];
        let again_after = Duration::from_millis(50);
        let mut watched = Watched { paces: (Duration::from_millis(5), again_after), ..Watched::new(at(1)) };
        assert!(watched.changed(|| at(2), &stop).await);
        let mut noted = Instant::now();
        assert!(watched.is_unreadable("no descriptor is left"));
        for _ in 0..3 {
            assert!(watched.changed(|| at(2), &stop).await);
            assert!(noted.elapsed() >= again_after, "{:?}", noted.elapsed());
            noted = Instant::now();
            assert!(!watched.is_unreadable("no descriptor is left"), "it was said");
        }
        assert!(watched.changed(|| at(3), &stop).await);
        assert!(watched.is_unreadable("no descriptor is left"), "of a file that was changed it is said again");
        assert!(watched.changed(|| at(3), &stop).await);
        watched.is_read();
        let again = tokio::time::timeout(again_after * 10, watched.changed(|| at(3), &stop)).await;
        assert!(again.is_err(), "it was read, and nobody has changed it");
    }
}
