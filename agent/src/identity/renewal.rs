//! The next certificate, asked for over the device's own connection when two thirds of this one's life are over.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proto::enrol::{Certificate, Enrol, Enrolled, Outcome};
use proto::{DeviceId, Nonce};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::expired::is_over;
use super::keep::{Keep, KeepError};
use super::key::Key;
use super::trust::Trust;

/// How long an answer is waited for before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(3_600);
/// How often to look at the certificate's dates, and how soon one that did not connect is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// How long the uplink waits for a request to be made before it goes on with other things.
const MOMENT: Duration = Duration::from_secs(1);

/// What is to be done about the certificate.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// To publish this on `enrol`.
    Ask(Vec<u8>),
    /// To connect anew, with the certificate that is there and has not connected yet.
    Reconnect,
}

type Making = JoinHandle<Result<Option<Step>, KeepError>>;

/// Watches over one certificate's life.
#[derive(Debug)]
pub struct Renewal {
    device: DeviceId,
    certificate: PathBuf,
    key: Key,
    trust: Trust,
    /// A request that is being made: a token may take its time to sign it.
    making: Option<(Nonce, Making)>,
    asked: Option<Nonce>,
    /// Nothing is done before.
    not_before: Option<Instant>,
}

impl Renewal {
    /// Of the `certificate` for `key`, of a device that trusts whom `trust` says.
    #[must_use]
    pub fn new(device: &DeviceId, certificate: &Path, key: &Key, trust: Trust) -> Self {
        let (device, certificate, key) = (device.clone(), certificate.into(), key.clone());
        Self { device, certificate, key, trust, making: None, asked: None, not_before: None }
    }

    /// What is to be done now, while connected. `wall` is the time of day, if it is known. What takes longer than a
    /// moment is told by a later call.
    pub async fn due(&mut self, wall: Option<proto::Instant>, now: Instant) -> Option<Step> {
        if self.making.is_none() {
            if self.not_before.is_some_and(|not_before| now < not_before) {
                return None;
            }
            self.not_before = Some(now + LOOK_EVERY);
            let (certificate, key, device) = (self.certificate.clone(), self.key.clone(), self.device.clone());
            let nonce = nonce()?;
            // Flash may take its time, and a token more.
            let making = spawn_blocking(move || prepare(&certificate, &key, &device, nonce, wall));
            self.making = Some((nonce, making));
        }
        let (nonce, making) = self.making.as_mut()?;
        let (nonce, made) = (*nonce, timeout(MOMENT, making).await.ok()?);
        self.making = None;
        match made {
            Ok(Ok(step)) => {
                if matches!(step, Some(Step::Ask(_))) {
                    self.asked = Some(nonce);
                    self.not_before = Some(now + ASK_AGAIN);
                }
                step
            }
            Ok(Err(error)) => {
                error!(%error, "the next certificate cannot be asked for; trying again later");
                None
            }
            Err(_) => None, // the runtime ends
        }
    }

    /// The connection has ended. What was asked over it and not answered is asked again over the next one.
    pub fn lost(&mut self) {
        if self.asked.take().is_some() {
            self.not_before = None;
        }
    }

    /// What came on `enrol/answer`.
    pub async fn answered(&mut self, payload: &[u8], now: Instant) -> Option<Step> {
        let answer = match Enrolled::decode(payload) {
            Ok(answer) => answer,
            Err(error) => {
                warn!(%error, "an answer about the next certificate could not be read");
                return None;
            }
        };
        self.asked.take_if(|asked| *asked == answer.nonce)?; // else it is an older request's, or nobody's
        let issued = match answer.outcome {
            Outcome::Issued(issued) => issued,
            Outcome::Waiting(seconds) | Outcome::Later(seconds) => {
                info!(seconds, "the next certificate comes later");
                self.not_before = Some(now + Duration::from_secs(seconds.into()));
                return None;
            }
            Outcome::Refused(why) => {
                error!(?why, "the gateway gives this device no next certificate");
                return None;
            }
        };
        let chain: String =
            issued.chain.iter().map(|Certificate(der)| certs::signing_request::certificate_pem(der)).collect();
        let (certificate, key, trust) = (self.certificate.clone(), self.key.clone(), self.trust.clone());
        let keep = move || {
            trust.compare(&issued);
            Keep::open(&certificate, &key)?.put_next(&chain)
        };
        let kept = spawn_blocking(keep).await;
        match kept {
            Ok(Ok(())) => {
                info!("the next certificate is here; connecting with it");
                Some(Step::Reconnect)
            }
            Ok(Err(error)) => {
                error!(%error, "the next certificate cannot be kept; trying again later");
                None
            }
            Err(_) => None,
        }
    }
}

fn prepare(
    certificate: &Path,
    key: &Key,
    device: &DeviceId,
    nonce: Nonce,
    wall: Option<proto::Instant>,
) -> Result<Option<Step>, KeepError> {
    let keep = Keep::open(certificate, key)?;
    let is_over = |file: &std::path::Path| wall.is_some_and(|wall| is_over(file, wall));
    if keep.next().is_some_and(|(next, _)| !is_over(&next)) {
        return Ok(Some(Step::Reconnect));
    }
    let is_due = wall.is_some_and(|wall| is_two_thirds_over(certificate, wall));
    if !is_due {
        return Ok(None);
    }
    let request = keep.request(device.as_str())?;
    Ok(Some(Step::Ask(Enrol { nonce, device: device.clone(), request }.encode())))
}

/// Whether two thirds of the life of the certificate in `file` are over. Not if it cannot be read: whoever connects says
/// what is wrong with it.
fn is_two_thirds_over(file: &Path, wall: proto::Instant) -> bool {
    let Ok(chain) = certs::read_certificates(file) else { return false };
    let life = chain.first().and_then(|leaf| certs::life(leaf));
    life.is_some_and(|(from, until)| wall.0 / 1_000_000 >= from + (until - from) / 3 * 2)
}

fn nonce() -> Option<Nonce> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    Some(Nonce(bytes))
}

#[cfg(test)]
mod tests;
