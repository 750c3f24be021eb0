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

use crate::audit::Auditor;
use crate::audit::entry::{Actor, Detail, Event};
use crate::config::Listener;
use crate::enrol::Claims;
use crate::ingest::listener::{Control, RevokedBy, tls};

/// How often the files are looked at. A revocation is in force within this and the time of a handshake.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// TLS as the files say now, and the serials that they revoke.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be.
pub(crate) fn read(files: &Listener, claims: &Claims) -> anyhow::Result<(Arc<ServerConfig>, BTreeSet<String>)> {
    let crls = match &files.crl_file {
        Some(file) => certs::read_crls(file)?,
        None => Vec::new(),
    };
    let mut revoked = BTreeSet::new();
    for crl in &crls {
        revoked.extend(certs::identity::revoked_serials(crl)?);
    }
    let chain = certs::read_certificates(&files.certificate_file)?;
    let key = certs::read_private_key(&files.key_file)?;
    let authorities = certs::read_certificates(&files.authority_file)?;
    Ok((tls::server_config(chain, key, authorities, crls, claims.clone())?, revoked))
}

/// Watches the files until `stop`; changes reach new handshakes, and revoked devices are cut off.
pub(crate) async fn watch(
    files: Listener,
    claims: Claims,
    control: Control,
    auditor: Auditor,
    stop: CancellationToken,
) {
    let mut seen = stamps(&files);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let now = stamps(&files);
        if now == seen {
            continue;
        }
        seen = now;
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
            Err(error) => {
                let error = format!("{error:#}");
                error!(error, "certificate files changed but cannot be used; the old stay");
                let detail = Detail::none().text("what", "certificate files changed but cannot be used; the old stay");
                auditor.note(Event::SettingsChanged, Actor::Gateway, None, detail.text("why", &error));
            }
        }
    }
}

/// When each file was last written; none for one that is not there.
fn stamps(files: &Listener) -> Vec<Option<SystemTime>> {
    let all: [Option<&PathBuf>; 4] =
        [Some(&files.certificate_file), Some(&files.key_file), Some(&files.authority_file), files.crl_file.as_ref()];
    let stamp = |file: &PathBuf| std::fs::metadata(file).and_then(|file| file.modified()).ok();
    all.into_iter().flatten().map(stamp).collect()
}
