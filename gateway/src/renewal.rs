//! Certificates, keys and revocation lists change while the gateway runs: their files are read again when they do.
//!
//! What cannot be read or used is reported, and what was in use stays.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api;
use crate::audit::Auditor;
use crate::audit::entry::{Actor, Detail, Event};
use crate::config::{Http, Listener};
use crate::enrol::Claims;
use crate::ingest::listener::{Control, RevokedBy, tls};

/// How often the files are looked at. A revocation is in force within this and the time of a handshake.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// TLS as the files say now, and the serials that they revoke.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be; when a revocation list is for a part
/// of what its authority has issued.
pub(crate) fn read(files: &Listener, claims: &Claims) -> anyhow::Result<(Arc<ServerConfig>, BTreeSet<String>)> {
    let crls = match &files.crl_file {
        Some(file) => certs::read_crls(file)?,
        None => Vec::new(),
    };
    let mut revoked = BTreeSet::new();
    for (place, crl) in crls.iter().enumerate() {
        let which = || {
            let file = files.crl_file.as_deref().unwrap_or_else(|| std::path::Path::new("")).display();
            format!("revocation list {} of {file}", place + 1)
        };
        certs::identity::check_whole(crl).with_context(which)?;
        revoked.extend(certs::identity::revoked_serials(crl).with_context(which)?);
    }
    let chain = certs::read_certificates(&files.certificate_file)?;
    let key = certs::read_private_key(&files.key_file)?;
    let authorities = certs::read_certificates(&files.authority_file)?;
    Ok((tls::server_config(chain, key, authorities, crls, claims.clone(), files.tls_min)?, revoked))
}

/// TLS for people as the files say now, if they are to have it.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be.
pub(crate) fn read_http(files: &Http) -> anyhow::Result<Option<Arc<ServerConfig>>> {
    let (Some(chain), Some(key)) = (&files.certificate_file, &files.key_file) else { return Ok(None) };
    let (chain, key) = (certs::read_certificates(chain)?, certs::read_private_key(key)?);
    let config = api::server_config(chain, key, files.tls_min);
    Ok(Some(config.context("the certificate and key of [http] cannot be used; do they belong together?")?))
}

/// Watches the files until `stop`; changes reach new handshakes, and revoked devices are cut off.
pub(crate) async fn watch(
    files: Listener,
    claims: Claims,
    control: Control,
    auditor: Auditor,
    stop: CancellationToken,
) {
    let mut watched = Watched::new(stamps(&files));
    while watched.changed(|| stamps(&files), &stop).await {
        let wanted = (files.clone(), claims.clone());
        let read =
            tokio::task::spawn_blocking(move || read(&wanted.0, &wanted.1)).await.context("read certificate files");
        match read.and_then(|read| read) {
            Ok((config, revoked)) => {
                control.set_tls(config);
                let revocations = revoked.len();
                let closed = control.revoke(RevokedBy::Lists, revoked);
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
            Err(error) => unusable(&error, "certificate files changed but cannot be used; the old stay", &auditor),
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
                config.into_iter().for_each(|config| door.set(config));
                info!("the certificate of [http] was read again");
                let detail = Detail::none().text("what", "the certificate of [http] was read again");
                auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail);
            }
            Err(error) => {
                let what = "certificate files of [http] changed but cannot be used; the old stay";
                unusable(&error, what, &auditor);
            }
        }
    }
}

fn unusable(error: &anyhow::Error, what: &'static str, auditor: &Auditor) {
    let error = format!("{error:#}");
    error!(error, "{what}");
    let detail = Detail::none().text("what", what);
    auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail.text("why", &error));
}

/// When each file was last written; none for one that is not there.
type Stamps = Vec<Option<SystemTime>>;

/// Files as they were when they were last looked at.
struct Watched(Stamps);

impl Watched {
    fn new(seen: Stamps) -> Self {
        Self(seen)
    }

    /// Waits until they are others than before. False once `stop` is there.
    async fn changed(&mut self, look: impl Fn() -> Stamps, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return false,
            }
            let now = look();
            if now != self.0 {
                self.0 = now;
                return true;
            }
        }
    }
}

fn stamps(files: &Listener) -> Stamps {
    let all: [Option<&PathBuf>; 4] =
        [Some(&files.certificate_file), Some(&files.key_file), Some(&files.authority_file), files.crl_file.as_ref()];
    all.into_iter().flatten().map(stamp).collect()
}

fn stamps_http(files: &Http) -> Stamps {
    [files.certificate_file.as_ref(), files.key_file.as_ref()].into_iter().flatten().map(stamp).collect()
}

fn stamp(file: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|file| file.modified()).ok()
}
