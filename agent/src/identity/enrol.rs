//! A device's first certificate: asked for with a claim, kept, and then tried.

use std::path::PathBuf;
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
use super::configs::{provider, verifier};
use super::keep::Keep;
use super::receipts::ReceiptKey;
use super::{Key, Tls};
use crate::clock::BootClock;
use crate::uplink::Settings;
use crate::uplink::backoff::Backoff;
use crate::uplink::mqtt::{Arrival, Connection};

mod asking;
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
        let keep = Keep::open(&self.uplink.certificate_file, &Key::open(&self.uplink.key)?)?;
        if let Some(template) = &self.uplink.provisioning_template {
            return fleet::Fleet { enrolment: self, template, keep: &keep }.run().await;
        }
        if keep.next().is_none() {
            let issued = self.ask(keep.request(self.device.as_str())?).await?;
            let anchors = std::fs::read_to_string(&self.uplink.authority_file).unwrap_or_default();
            if issued.anchors.iter().any(|Certificate(anchor)| !anchors.contains(pem(anchor).trim())) {
                warn!("the gateway trusts authorities that {} does not name", self.uplink.authority_file.display());
            }
            if let (Some(file), Some(key)) = (&self.uplink.receipt_key_file, &issued.receipt_key) {
                certs::files::replace(file, ReceiptKey::text(key).as_bytes(), PUBLIC)?;
            }
            keep.put_next(&issued.chain.iter().map(|Certificate(der)| pem(der)).collect::<String>())?;
        }
        self.try_out(keep.next().context("the certificate that was just kept is not there")?).await?;
        keep.promote()?;
        Ok(())
    }

    /// Asks, again and again, until there is an answer that is one.
    async fn ask(&self, request: Vec<u8>) -> anyhow::Result<Issued> {
        let (config, until) = (self.config()?, Instant::now() + self.patience);
        let pace = self.uplink.pace;
        let mut backoff = Backoff::new(pace.reconnect_min, pace.reconnect_max, crate::uplink::run::seed());
        loop {
            let enrol = Enrol { nonce: nonce()?, device: self.device.clone(), request: request.clone() };
            let wait = match asking::ask(self.uplink, Arc::clone(&config), &enrol).await {
                Ok(Outcome::Issued(issued)) => return Ok(issued),
                Ok(Outcome::Refused(why)) => bail!(in_words(why)),
                Ok(Outcome::Waiting(seconds)) => {
                    info!("the operator has to allow this device: `tributary-gateway devices allow {}`", self.device);
                    Duration::from_secs(seconds.into())
                }
                Ok(Outcome::Later(seconds)) => {
                    info!("the gateway cannot answer now");
                    Duration::from_secs(seconds.into())
                }
                Err(error) => {
                    warn!(error = format!("{error:#}"), "not asked");
                    backoff.failed(Instant::now())
                }
            };
            if Instant::now() + wait > until {
                bail!(
                    "no certificate within {} s; asked again with the same claim, it goes on",
                    self.patience.as_secs()
                );
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Connects as the device, with this certificate and key.
    async fn try_out(&self, (certificate_file, key): (PathBuf, Key)) -> anyhow::Result<()> {
        let settings = Settings { certificate_file, ..self.uplink.clone() };
        let tls = Tls::open_with(&settings, Arc::new(BootClock::start(nonce()?.0)), key)?;
        let trial = async {
            let mut connection =
                Connection::dial(self.device, &settings.host, settings.port, tls, settings.pace.keep_alive);
            loop {
                match connection.next().await {
                    Arrival::Up => break,
                    Arrival::Down(why) => bail!("the new certificate does not connect: {why}"),
                    _ => {}
                }
            }
            connection.leave(Duration::from_secs(3)).await;
            Ok(())
        };
        tokio::time::timeout(TRIAL, trial).await.context("the new certificate did not connect in time")?
    }

    /// TLS with the claim for a certificate.
    fn config(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let (chain, key) = self.claim.identity()?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_webpki_verifier(verifier(&self.uplink.authority_file)?)
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
