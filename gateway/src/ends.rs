//! When the gateway's own certificates and the authorities of its devices end, for `/metrics`: long before the doctor's
//! next round, and where nobody asks it.
//!
//! A file that cannot be read keeps the end that it had, as the gateway keeps what it had of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use certs::inspect;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// How often the files are read: five small ones at most.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Whose a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This gateway's: the next one is issued in a minute.
    Own,
    /// An authority's, which takes months to replace: all devices have to learn of the next one.
    Authority,
}

/// A file of certificates, and when the first of them ends.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) whose: Whose,
    /// As a metric has them: what the file is for.
    pub(crate) labels: &'static str,
    path: PathBuf,
    /// In seconds since 1970; 0 while nobody knows.
    at_s: Arc<AtomicI64>,
}

impl End {
    pub(crate) fn of(whose: Whose, labels: &'static str, path: &Path) -> Self {
        let end = Self { whose, labels, path: path.into(), at_s: Arc::default() };
        end.look();
        end
    }

    /// Seconds until the first of them ends, which are less than nothing once it has; none while nobody knows.
    pub(crate) fn seconds_left(&self, now_s: i64) -> Option<i64> {
        let at_s = self.at_s.load(Ordering::Relaxed);
        (at_s != 0).then(|| at_s.saturating_sub(now_s))
    }

    fn look(&self) {
        let Ok(chain) = certs::read_certificates(&self.path) else { return };
        let ends = chain.iter().filter_map(|der| inspect::certificate(der).ok()).map(|facts| facts.life.1);
        if let Some(first) = ends.min() {
            self.at_s.store(first, Ordering::Relaxed);
        }
    }
}

/// What the settings name, read once.
pub(crate) fn of(config: &Config) -> Vec<End> {
    let issuer = config.authority.as_ref().and_then(|authority| authority.path.as_ref());
    let issuer = issuer.map(|folder| folder.join("ca.crt"));
    let broker = config.broker.as_ref().and_then(|broker| broker.certificate_file.as_ref());
    let (listener, http) = (&config.listener, config.http.certificate_file.as_ref());
    [
        (Whose::Own, r#"{of="listener"}"#, Some(&listener.certificate_file)),
        (Whose::Own, r#"{of="http"}"#, http),
        (Whose::Own, r#"{of="broker"}"#, broker),
        (Whose::Authority, r#"{of="listener"}"#, Some(&listener.authority_file)),
        (Whose::Authority, r#"{of="issuer"}"#, issuer.as_ref()),
    ]
    .into_iter()
    .filter_map(|(whose, labels, path)| path.map(|path| End::of(whose, labels, path)))
    .collect()
}

/// Reads them again now and then, until `stop`.
pub(crate) async fn keep(ends: Vec<End>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let ends = ends.clone();
        let look = tokio::task::spawn_blocking(move || ends.iter().for_each(End::look));
        if look.await.is_err() {
            return; // only when the runtime ends
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    const DAY_S: i64 = 86_400;
    const START_S: i64 = 1_790_000_000;

    fn at(second: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second.unsigned_abs())
    }

    #[test]
    fn the_first_certificate_of_a_file_to_end_counts_and_a_file_that_cannot_be_read_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let authority = certs::Authority::create(&folder.path().join("ca"), "test", 300, at(START_S)).unwrap();
        let file = folder.path().join("gateway.crt");
        let for_days = |days| authority.issue_server(&["localhost"], days, at(START_S)).unwrap().leaf.pem;
        let (short, long) = (for_days(20), for_days(200));
        std::fs::write(&file, format!("{long}{short}")).unwrap();
        let end = End::of(Whose::Own, "", &file);
        let days_left = |now_s: i64| end.seconds_left(now_s).unwrap().div_euclid(DAY_S);
        assert_eq!(days_left(START_S + DAY_S / 2), 19);
        assert_eq!(days_left(START_S + 20 * DAY_S + DAY_S / 2), -1, "it has ended");
        std::fs::write(&file, "nothing of use").unwrap();
        end.look();
        assert_eq!(days_left(START_S + DAY_S / 2), 19, "what was in use stays");
        std::fs::write(&file, &long).unwrap();
        end.look();
        assert_eq!(days_left(START_S + DAY_S / 2), 199);
        assert_eq!(End::of(Whose::Own, "", &folder.path().join("none.crt")).seconds_left(START_S), None);
    }
}
