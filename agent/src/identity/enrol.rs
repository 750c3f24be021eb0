//! A device's first certificate: asked for with a claim, kept, and then tried.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use certs::claim::Code;
use certs::signing_request;
use proto::enrol::{Certificate, Enrol, EnrolRefusal, Issued, Outcome};
use proto::{DeviceId, Nonce};
use rustls::ClientConfig;
use tracing::{info, warn};

use super::claim::Claim;
use super::configs::{provider, timed, verifier};
use super::expired::is_over;
use super::keep::Keep;
use super::operator::Operator;
use super::receipts::ReceiptKey;
use super::trust::Trust;
use super::{Key, Tls};
use crate::clock::BootClock;
use crate::uplink::Settings;
use crate::uplink::backoff::Backoff;
use crate::uplink::mqtt::{Arrival, Connection};
use crate::uplink::reason::Reason;

pub(super) mod asking;
mod fleet;

/// Whom to believe is for everybody to see.
const PUBLIC: u32 = 0o644;
/// How long the new certificate may take to connect.
const TRIAL: Duration = Duration::from_secs(60);

/// What is to be enrolled, and how.
pub struct Enrolment<'a> {
    /// Who this is to be.
    pub device: &'a DeviceId,
    /// Where to, and where the certificate is to lie.
    pub uplink: &'a Settings,
    /// What to ask with.
    pub claim: &'a Claim,
    /// How long to ask again: the operator may have to allow it, and the gateway may be away.
    pub patience: Duration,
    /// Whether to have another certificate although the one that is there connects. A claim of the gateway's is good once
    /// and says so itself; one of AWS IoT is good for ever.
    pub again: bool,
}

impl Enrolment<'_> {
    /// Asks until there is a certificate, and connects with it. A run that was interrupted, at whatever step, is gone on
    /// with by the next.
    ///
    /// # Errors
    /// The gateway said no, time ran out, or a file cannot be used.
    pub async fn run(&self) -> anyhow::Result<()> {
        let key = Key::open(&self.uplink.key)?;
        let keep = Keep::open(&self.uplink.certificate_file, &key)?;
        let clock = Arc::new(BootClock::start(nonce()?.0));
        if let Some(template) = &self.uplink.provisioning_template {
            return fleet::Fleet { enrolment: self, template, key: &key, keep: &keep, clock: &clock }.run().await;
        }
        // One that was issued and expired before it was ever tried is asked for again, for the same key.
        let is_over = |file: &Path| clock.wall_clock().is_some_and(|wall| is_over(file, wall));
        if keep.next().is_none_or(|(certificate, _)| is_over(&certificate)) {
            let issued = match self.ask(keep.request(self.device.as_str())?, &clock).await? {
                Ok(issued) => issued,
                Err(why) => return self.after_a_no(why, &keep, key, clock).await,
            };
            if Trust::of(self.uplink).lacks_an_anchor(&issued) {
                warn!("the gateway trusts authorities that {} does not name", self.uplink.authority_file.display());
            }
            if let (Some(file), Some(key)) = (&self.uplink.receipt_key_file, &issued.receipt_key) {
                certs::files::replace(file, ReceiptKey::text(key).as_bytes(), PUBLIC)?;
            }
            keep.put_next(&issued.chain.iter().map(|Certificate(der)| pem(der)).collect::<String>())?;
        }
        let next = keep.next().context("the certificate that was just kept is not there")?;
        self.try_out(next, clock).await?;
        keep.promote()?;
        Ok(())
    }

    /// A claim that is over does no harm where the run before came to its end, and nobody heard of it.
    async fn after_a_no(&self, why: EnrolRefusal, keep: &Keep, key: Key, clock: Arc<BootClock>) -> anyhow::Result<()> {
        let current = (self.uplink.certificate_file.clone(), key);
        if !keep.has_current() || self.try_out(current, clock).await.is_err() {
            bail!(in_words(why));
        }
        warn!("no other certificate: {}. The one that is there connects", in_words(why));
        Ok(keep.forget_next()?)
    }

    /// Asks, again and again, until there is an answer that is one.
    async fn ask(&self, request: Vec<u8>, clock: &Arc<BootClock>) -> anyhow::Result<Result<Issued, EnrolRefusal>> {
        let until = Instant::now() + self.patience;
        // Brokers know a shared claim by the name in its certificate, whatever it calls itself.
        let (given_name, mut goes_by_it) = (self.claim.name(), false);
        let pace = self.uplink.pace;
        let mut backoff = Backoff::new(pace.reconnect_min, pace.reconnect_max, crate::uplink::run::seed());
        let mut operator = Operator::default();
        let mut last = None;
        loop {
            let enrol = Enrol { nonce: nonce()?, device: self.device.clone(), request: request.clone() };
            let name = match given_name.as_ref().filter(|_| goes_by_it) {
                Some(name) => name.clone(),
                None => asking::session_name(enrol.nonce)?,
            };
            let wait = match asking::ask(self.uplink, self.config(clock)?, &name, &enrol).await {
                Ok(Outcome::Issued(issued)) => return Ok(Ok(issued)),
                Ok(Outcome::Refused(why)) => return Ok(Err(why)),
                Ok(Outcome::Waiting(seconds)) => {
                    last = None;
                    let again = operator.again(Duration::from_secs(seconds.into()), Instant::now());
                    if again.is_told {
                        info!(
                            "the operator has to allow this device: `tributary-gateway devices allow {}`",
                            self.device
                        );
                    }
                    again.after
                }
                Ok(Outcome::Later(seconds)) => {
                    last = None;
                    info!("the gateway cannot answer now");
                    Duration::from_secs(seconds.into())
                }
                Err(error) if error.is::<asking::Unanswered>() && given_name.is_some() => {
                    goes_by_it = !goes_by_it;
                    info!(%error, "asking again by another name");
                    backoff.failed(Instant::now())
                }
                Err(error) => {
                    let why = self.in_full(&error);
                    if last.as_ref() != Some(&why) {
                        warn!("not asked: {why}");
                    }
                    last = Some(why);
                    backoff.failed(Instant::now())
                }
            };
            if Instant::now() + wait > until {
                let (seconds, last) = (self.patience.as_secs(), last.map(|last| format!(": {last}")));
                bail!(
                    "no certificate within {seconds} s; asked again with the same claim, it goes on{}",
                    last.unwrap_or_default()
                );
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// `error`, with what may be wrong where the other end does not want a code.
    fn in_full(&self, error: &anyhow::Error) -> String {
        const CODE: &str = "a code is good once, and at a gateway's own listener only, which alone knows it: behind a broker, \
             enrol with a shared claim (`--claim-certificate`)";
        let is_refusal = error.downcast_ref().is_some_and(Reason::is_refusal) || error.is::<asking::Unanswered>();
        match self.claim {
            Claim::Code(_) if is_refusal => format!("{error:#}; {CODE}"),
            _ => format!("{error:#}"),
        }
    }

    /// Connects as the device, with a certificate and its key.
    async fn try_out(&self, (certificate_file, key): (PathBuf, Key), clock: Arc<BootClock>) -> anyhow::Result<()> {
        let settings = Settings { certificate_file, ..self.uplink.clone() };
        let tls = Tls::open_with(&settings, clock, key)?;
        let trial = async {
            let mut connection =
                Connection::dial(self.device, &settings.host, settings.port, tls, settings.pace.keep_alive);
            loop {
                match connection.next().await {
                    Arrival::Up => break,
                    Arrival::Down(reason) => bail!("the certificate does not connect: {reason}"),
                    _ => {}
                }
            }
            connection.leave(Duration::from_secs(3)).await;
            Ok(())
        };
        tokio::time::timeout(TRIAL, trial).await.context("the certificate did not connect in time")?
    }

    /// TLS with the claim for a certificate. A device that does not know the time takes the gateway's certificate's own.
    fn config(&self, clock: &Arc<BootClock>) -> anyhow::Result<Arc<ClientConfig>> {
        let (chain, key) = self.claim.identity()?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .dangerous() // as for all connections: the verifiers are rustls' own, with another idea of the time
            .with_custom_certificate_verifier(timed(verifier(&self.uplink.authority_file)?, clock))
            .with_client_auth_cert(chain, key)
            .context("the claim's certificate and key cannot be used together")?;
        Ok(Arc::new(config))
    }
}

fn nonce() -> anyhow::Result<Nonce> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("get random numbers from the system")?;
    Ok(Nonce(bytes))
}

fn in_words(why: EnrolRefusal) -> &'static str {
    match why {
        EnrolRefusal::Request => "the gateway does not take such a signing request",
        EnrolRefusal::ClaimUsed => {
            "the claim was used already, with another key; have the operator make a new one, and find out who used it"
        }
        EnrolRefusal::Claim => "the claim is over, or it is for another device; have the operator make a new one",
        EnrolRefusal::NotAllowed => "the operator does not want this device, or another has its id",
        EnrolRefusal::NoAuthority => "that gateway issues no certificates",
        EnrolRefusal::OtherDevice => "the certificate that was asked with is another device's",
    }
}

/// A certificate as PEM.
fn pem(der: &[u8]) -> String {
    signing_request::certificate_pem(der)
}

/// A code that was typed or piped in.
///
/// # Errors
/// When it is none.
pub fn typed(text: &str) -> anyhow::Result<Claim> {
    let code: Code = text.trim().parse()?;
    Ok(Claim::Code(code))
}

#[cfg(test)]
mod tests;
