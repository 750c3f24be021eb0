//! One session of the claim with AWS IoT: subscribe, have a certificate signed, have it provisioned.

use std::sync::Arc;

use anyhow::bail;
use certs::signing_request;
use proto::{DeviceId, Nonce};
use rumqttc::{AsyncClient, Event, Packet, Publish, QoS, SubscribeFilter, SubscribeReasonCode};
use rustls::ClientConfig;
use tracing::warn;

use super::super::asking;
use super::message::{self, Answer, Rejection};
use crate::identity::keep::Keep;
use crate::uplink::Settings;
use crate::uplink::reason::Reason;

/// Who asks for what.
pub(super) struct Session<'a> {
    pub(super) uplink: &'a Settings,
    pub(super) device: &'a DeviceId,
    pub(super) template: &'a str,
    pub(super) keep: &'a Keep,
    /// PKCS#10, DER.
    pub(super) request: &'a [u8],
}

/// How a session ended.
pub(super) enum End {
    /// This certificate is the device's own.
    Confirmed(String),
    /// The token that goes with this certificate, of an earlier session, is not taken: the certificate may have been.
    TokenRefused(String, Rejection),
    /// AWS IoT said no.
    Rejected(Rejection),
}

impl Session<'_> {
    pub(super) async fn run(&self, tls: Arc<ClientConfig>, nonce: Nonce) -> anyhow::Result<End> {
        let name = asking::session_name(nonce)?;
        let (client, mut events) = asking::connect(self.uplink, tls, &name);
        // One of another key is of no use to this one.
        let mut offer = self.keep.offer().filter(|(_, certificate)| message::is_for(certificate, self.request));
        let is_old = offer.is_some();
        loop {
            let event = events.poll().await;
            match event.map_err(|error| Reason::new(&error, &self.uplink.host, self.uplink.port))? {
                Event::Incoming(Packet::ConnAck(_)) => client.try_subscribe_many(self.answers())?,
                Event::Incoming(Packet::SubAck(ack)) => {
                    if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                        bail!("AWS IoT lets this claim hear no answers: docs/aws-iot.md has the policy that it needs");
                    }
                    self.ask(&client, offer.as_ref())?;
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    let Some(end) = self.heard(&client, &publish, &mut offer, is_old)? else { continue };
                    asking::leave(&client, &mut events).await;
                    return Ok(end);
                }
                _ => {}
            }
        }
    }

    /// Where answers come: AWS IoT sends none to who has not subscribed before.
    fn answers(&self) -> Vec<SubscribeFilter> {
        let answers = |topic: &str| {
            ["accepted", "rejected"].map(|how| SubscribeFilter::new(format!("{topic}/{how}"), QoS::AtLeastOnce))
        };
        [message::CREATE, &message::provision(self.template)].into_iter().flat_map(answers).collect()
    }

    /// Asks for the thing with what was offered, else for an offer.
    fn ask(&self, client: &AsyncClient, offer: Option<&(String, String)>) -> anyhow::Result<()> {
        let (topic, payload) = match offer {
            Some((token, _)) => (message::provision(self.template), message::provision_request(token, self.device)?),
            None => {
                let request = signing_request::request_pem(self.request);
                (message::CREATE.to_owned(), message::create_request(&request)?)
            }
        };
        Ok(client.try_publish(topic, QoS::AtLeastOnce, false, payload)?)
    }

    fn heard(
        &self,
        client: &AsyncClient,
        publish: &Publish,
        offer: &mut Option<(String, String)>,
        is_old: bool,
    ) -> anyhow::Result<Option<End>> {
        let provision = message::provision(self.template);
        let Some((topic, how)) = publish.topic.rsplit_once('/') else { return Ok(None) };
        let (is_offer, is_accepted) = (topic == message::CREATE, how == "accepted");
        if !is_offer && topic != provision {
            return Ok(None);
        }
        let answer = Answer::read(&publish.payload)?;
        match offer.take() {
            None if is_offer && is_accepted => {
                let (token, certificate) = answer.offer(self.request)?;
                // On the disk before anybody is told to make use of it.
                self.keep.put_offer(&token, &certificate)?;
                self.ask(client, Some(&(token.clone(), certificate.clone())))?;
                *offer = Some((token, certificate));
                Ok(None)
            }
            Some((_, certificate)) if !is_offer && is_accepted => {
                if answer.thing_name != self.device.as_str() {
                    let thing = answer.thing_name.escape_debug().to_string();
                    warn!(
                        thing,
                        "the template makes a thing of another name than this device's id: see docs/aws-iot.md"
                    );
                }
                Ok(Some(End::Confirmed(certificate)))
            }
            Some((_, certificate)) if !is_offer && is_old => {
                let rejection = answer.rejection();
                let may_pass = rejection.may_pass();
                Ok(Some(if may_pass { End::Rejected(rejection) } else { End::TokenRefused(certificate, rejection) }))
            }
            // One that came twice.
            Some(kept) if is_offer => {
                *offer = Some(kept);
                Ok(None)
            }
            _ => Ok(Some(End::Rejected(answer.rejection()))),
        }
    }
}
