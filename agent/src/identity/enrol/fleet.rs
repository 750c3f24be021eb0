//! A first certificate from AWS IoT itself: fleet provisioning by claim, over its MQTT topics.
//!
//! AWS IoT signs the request, which gives a certificate that lets nobody in and a token that lives an hour; with the
//! token, a template makes the thing, attaches a policy and activates the certificate (AWS IoT Core developer guide,
//! "Device provisioning MQTT API"). The same request makes another certificate each time. So what was offered is on the
//! disk before the template is asked for: whenever the power goes or an answer is lost, the same offer is asked for
//! again; and where its token is not taken any more, the certificate itself tells, by connecting or not, whether it had
//! been taken.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use rustls::ClientConfig;
use tracing::{info, warn};

use super::super::claim::Claim;
use super::super::keep::Keep;
use super::super::key::Key;
use super::{Enrolment, nonce};
use crate::clock::BootClock;
use crate::uplink::backoff::Backoff;

mod message;
mod session;

use session::{End, Session};

/// An enrolment with AWS IoT.
pub(super) struct Fleet<'a> {
    pub(super) enrolment: &'a Enrolment<'a>,
    pub(super) template: &'a str,
    pub(super) key: &'a Key,
    pub(super) keep: &'a Keep,
    pub(super) clock: &'a Arc<BootClock>,
}

impl Fleet<'_> {
    /// Goes on from whatever is on the disk until the device has connected with a certificate of its own.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        if let Claim::Code(_) = self.enrolment.claim {
            bail!(
                "AWS IoT knows no codes: with `uplink.provisioning_template`, enrol with --claim-certificate and --claim-key"
            );
        }
        if self.is_enrolled().await {
            return Ok(());
        }
        let until = Instant::now() + self.enrolment.patience;
        let pace = self.enrolment.uplink.pace;
        let mut backoff = Backoff::new(pace.reconnect_min, pace.reconnect_max, crate::uplink::run::seed());
        let mut is_token_refused = false;
        loop {
            let step = self.step(&mut is_token_refused).await?;
            let wait = match step {
                Step::Connected => break,
                Step::Next => continue,
                Step::Again => backoff.failed(Instant::now()),
            };
            if Instant::now() + wait > until {
                let seconds = self.enrolment.patience.as_secs();
                bail!("no certificate within {seconds} s; asked again with the same claim, it goes on");
            }
            tokio::time::sleep(wait).await;
        }
        self.keep.promote()?;
        self.keep.forget_offer()?;
        Ok(())
    }

    /// Whether all is done, and this is a run too many: the last one may have ended without a chance to say so.
    async fn is_enrolled(&self) -> bool {
        if self.enrolment.again || self.keep.next().is_some() || !self.keep.has_current() {
            return false;
        }
        let current = (self.enrolment.uplink.certificate_file.clone(), self.key.clone());
        match self.enrolment.try_out(current, Arc::clone(self.clock)).await {
            Ok(()) => true,
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    "the certificate that is there does not connect; asking for another"
                );
                false
            }
        }
    }

    /// One connection: as the device, if there is a certificate that may be its own; else with the claim.
    async fn step(&self, is_token_refused: &mut bool) -> anyhow::Result<Step> {
        if let Some(next) = self.keep.next() {
            let certificate = std::fs::read_to_string(&next.0).unwrap_or_default();
            let Err(error) = self.enrolment.try_out(next, Arc::clone(self.clock)).await else {
                return Ok(Step::Connected);
            };
            if self.keep.offer().is_none_or(|(_, offered)| offered != certificate) {
                return Err(error); // it was confirmed
            }
            self.keep.withdraw_next()?;
            // Only now, and not in a run before: this network carries connections to there.
            if std::mem::take(is_token_refused) {
                warn!(error = format!("{error:#}"), "what was offered is void; asking for another certificate");
                self.keep.forget_offer()?;
                return Ok(Step::Again);
            }
        }
        match self.ask(self.enrolment.config(self.clock)?).await {
            Ok(End::Confirmed(certificate)) => {
                self.keep.put_next(&certificate)?;
                self.keep.forget_offer()?;
                Ok(Step::Next)
            }
            Ok(End::TokenRefused(certificate, rejection)) => {
                info!(%rejection, "the token of an earlier run is not taken; trying whether its certificate was");
                self.keep.put_next(&certificate)?;
                *is_token_refused = true;
                Ok(Step::Next)
            }
            Ok(End::Rejected(rejection)) if rejection.may_pass() => {
                info!(%rejection, "AWS IoT cannot answer now");
                Ok(Step::Again)
            }
            Ok(End::Rejected(rejection)) => bail!("AWS IoT gives this device no certificate: {rejection}"),
            Err(error) => {
                warn!(error = format!("{error:#}"), "not asked");
                Ok(Step::Again)
            }
        }
    }

    async fn ask(&self, config: Arc<ClientConfig>) -> anyhow::Result<End> {
        let request = self.keep.request(self.enrolment.device.as_str())?;
        let session = Session {
            uplink: self.enrolment.uplink,
            device: self.enrolment.device,
            template: self.template,
            keep: self.keep,
            request: &request,
        };
        let asked = session.run(config, nonce()?);
        let asked = tokio::time::timeout(super::asking::SESSION, asked).await;
        asked.context("no answer from AWS IoT in time")?
    }
}

/// What to do next.
enum Step {
    /// The device has connected with its own certificate.
    Connected,
    /// At once, whatever is next.
    Next,
    /// The same, after a while.
    Again,
}
