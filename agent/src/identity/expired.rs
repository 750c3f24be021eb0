//! A device whose certificate expired while it was away: it goes on capturing, and shows the expired one to ask for the
//! next one, again and again.
//!
//! Whether it has expired is the gateway's to say, for this device's clock may be wrong. So each connection is tried as
//! usual first; what refuses it as an expired one is refused, or the clock where there is one, is the occasion to ask.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use proto::enrol::{Certificate, Enrol, Outcome};
use proto::{DeviceId, Nonce};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::Tls;
use super::enrol::asking;
use super::keep::Keep;
use super::operator::Operator;
use crate::clock::BootClock;
use crate::uplink::Settings;
use crate::uplink::place::Place;

/// How long after a no it is asked again: the operator may have had second thoughts.
const AFTER_A_NO: Duration = Duration::from_secs(3_600);
const DAY_S: i64 = 86_400;

/// What became of asking.
#[derive(Debug)]
enum Asked {
    /// The next certificate is here.
    Kept,
    /// The certificate has not expired: there was nothing to ask for.
    Needless,
    /// None yet; to be asked for again after this.
    NotYet(Duration),
    /// None before the operator has allowed it; to be asked for again within this.
    Waiting(Duration),
}

/// Sees to it that a device comes back whose certificate has expired.
#[derive(Debug)]
pub struct Comeback {
    device: DeviceId,
    settings: Settings,
    tls: Tls,
    clock: Arc<BootClock>,
    /// What becomes of it, and where it runs.
    asking: Option<(oneshot::Receiver<Asked>, Place)>,
    /// Nothing is asked before.
    not_before: Option<Instant>,
    operator: Operator,
}

impl Comeback {
    /// Of the device with the certificate that `settings` name.
    #[must_use]
    pub fn new(device: &DeviceId, settings: &Settings, tls: &Tls, clock: &Arc<BootClock>) -> Self {
        let (device, settings, tls, clock) = (device.clone(), settings.clone(), tls.clone(), Arc::clone(clock));
        let operator = Operator::default();
        Self { device, settings, tls, clock, asking: None, not_before: None, operator }
    }

    /// A connection ended or did not come to stand. `is_unwelcome` says that it was refused as it is with an expired
    /// certificate.
    pub fn not_connected(&mut self, is_unwelcome: bool, now: Instant) {
        if self.asking.is_none() && self.not_before.is_none_or(|not_before| now >= not_before) {
            let (device, settings, tls) = (self.device.clone(), self.settings.clone(), self.tls.clone());
            let wall = self.clock.wall_clock();
            let (waits, (sender, asked)) = (tls.waits(), oneshot::channel());
            let asking = async move {
                let _ = sender.send(ask(device, settings, tls, wall, is_unwelcome).await); // unless nobody waits any more
            };
            self.asking = Some((asked, Place::new(waits, "comeback", asking)));
        }
    }

    /// Waits until what is asked is answered; `None` at once where nothing is. Answers whether there is a certificate to
    /// connect with now. Cancel safe.
    pub async fn answered(&mut self) -> Option<bool> {
        let asked = (&mut self.asking.as_mut()?.0).await;
        self.asking = None;
        let now = Instant::now();
        match asked {
            Ok(Asked::Kept) => Some(true),
            Ok(Asked::Waiting(most)) => {
                let again = self.operator.again(most, now);
                if again.is_told {
                    warn!("the operator has to allow this device to come back: see `tributary-gateway devices list`");
                }
                self.not_before = now.checked_add(again.after);
                Some(false)
            }
            Ok(Asked::NotYet(wait)) => {
                self.not_before = now.checked_add(wait);
                Some(false)
            }
            Ok(Asked::Needless) | Err(_) => Some(false),
        }
    }
}

async fn ask(
    device: DeviceId,
    settings: Settings,
    tls: Tls,
    wall: Option<proto::Instant>,
    is_unwelcome: bool,
) -> Asked {
    match try_ask(device, settings, tls, wall, is_unwelcome).await {
        Ok(asked) => asked,
        Err(error) => {
            // With the wait of the connection that fails next.
            warn!(error = format!("{error:#}"), "a certificate could not be asked for with the one that has expired");
            Asked::NotYet(Duration::ZERO)
        }
    }
}

async fn try_ask(
    device: DeviceId,
    settings: Settings,
    tls: Tls,
    wall: Option<proto::Instant>,
    is_unwelcome: bool,
) -> anyhow::Result<Asked> {
    let (certificate, key, name) = (settings.certificate_file.clone(), tls.key().clone(), device.clone());
    let prepare = move || -> anyhow::Result<Option<Vec<u8>>> {
        if !is_unwelcome && !wall.is_some_and(|wall| is_over(&certificate, wall)) {
            return Ok(None);
        }
        Ok(Some(Keep::open(&certificate, &key)?.request(name.as_str())?))
    };
    let Some(request) = spawn_blocking(prepare).await.context("make a request")?? else { return Ok(Asked::Needless) };
    error!("this device's certificate has expired: readings are kept here, and a new one is asked for with it");
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).context("get random numbers from the system")?;
    let enrol = Enrol { nonce: Nonce(nonce), device, request };
    let name = asking::session_name(enrol.nonce)?;
    match asking::ask(&settings, tls.current(), &name, &enrol).await? {
        Outcome::Issued(issued) => {
            let pem = |Certificate(der): &Certificate| certs::signing_request::certificate_pem(der);
            let chain: String = issued.chain.iter().map(pem).collect();
            let keep = move || Keep::open(&settings.certificate_file, tls.key())?.put_next(&chain);
            spawn_blocking(keep).await.context("keep the next certificate")??;
            info!("the next certificate is here; connecting with it");
            Ok(Asked::Kept)
        }
        Outcome::Waiting(seconds) => Ok(Asked::Waiting(Duration::from_secs(seconds.into()))),
        Outcome::Later(seconds) => Ok(Asked::NotYet(Duration::from_secs(seconds.into()))),
        Outcome::Refused(why) => {
            error!(?why, "the gateway gives this device no certificate any more; it needs a new claim");
            Ok(Asked::NotYet(AFTER_A_NO))
        }
    }
}

/// Whether the certificate in `file` has expired at `wall`. Not if it cannot be read: whoever connects says what is wrong
/// with it.
#[must_use]
pub fn is_over(file: &Path, wall: proto::Instant) -> bool {
    left_s(file, wall).is_some_and(|left_s| left_s < 0)
}

/// How the certificate in `file` stands at `wall`, for people.
#[must_use]
pub fn standing(file: &Path, wall: Option<proto::Instant>) -> String {
    match wall.map(|wall| left_s(file, wall)) {
        None => "unknown, as the time is".to_owned(),
        Some(None) => "none that can be read".to_owned(),
        Some(Some(left_s @ 0..)) => format!("good for {} days", left_s / DAY_S),
        Some(Some(left_s)) => {
            format!("expired {} days ago; a new one is asked for while the agent runs", -left_s / DAY_S)
        }
    }
}

/// The seconds that it is good for still.
fn left_s(file: &Path, wall: proto::Instant) -> Option<i64> {
    let chain = certs::read_certificates(file).ok()?;
    let (_, until) = certs::life(chain.first()?)?;
    Some(until - wall.0.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_over_after_its_last_second_and_how_it_stands_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let at = std::time::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let authority = certs::Authority::create(&folder.path().join("ca"), "test", 300, at).unwrap();
        let path = folder.path().join("x.crt");
        std::fs::write(&path, &authority.issue_device("a", 30, at).unwrap().leaf.pem).unwrap();
        let last = 1_790_000_000 - 300 + 30 * DAY_S - 1;
        let wall = |seconds: i64| proto::Instant((last + seconds) * 1_000_000);
        assert_eq!([-1, 0, 1].map(|seconds| is_over(&path, wall(seconds))), [false, false, true]);
        assert!(!is_over(&folder.path().join("none"), wall(9)), "there is none");
        assert_eq!(standing(&path, Some(wall(-3 * DAY_S))), "good for 3 days");
        assert!(standing(&path, Some(wall(2 * DAY_S))).starts_with("expired 2 days ago"));
        assert_eq!(standing(&path, None), "unknown, as the time is");
    }
}
