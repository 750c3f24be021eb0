//! One session of a claim: connect, ask, hear.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use proto::enrol::{CLAIM_PREFIX, Enrol, Enrolled, Outcome};
use proto::{Channel, DeviceId, Nonce, Topic};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::ClientConfig;

use crate::uplink::Settings;
use crate::uplink::reason::Reason;

/// How long all of it may take: a handshake, and a certificate that is signed.
pub(super) const SESSION: Duration = Duration::from_secs(60);
/// Requests of ours that wait for the client: one to subscribe, one to ask.
const REQUESTS_MAX: usize = 4;
/// An answer of four certificates and four anchors, with room.
const PACKET_BYTES_MAX: usize = 64 * 1024;

/// A gateway answers before it acknowledges. A broker between acknowledges first, and also what it lets nobody have.
const AFTER_PUBACK: Duration = Duration::from_secs(5);

/// The request was acknowledged, and no answer came.
#[derive(Debug, thiserror::Error)]
#[error(
    "the request was taken and not answered: a broker is between, which knows this claim by another name or has no gateway"
)]
pub(in crate::identity) struct Unanswered;

/// Asks once, in a session of this name. Whatever goes wrong on the way may be tried again.
pub(in crate::identity) async fn ask(
    uplink: &Settings,
    tls: Arc<ClientConfig>,
    name: &DeviceId,
    enrol: &Enrol,
) -> anyhow::Result<Outcome> {
    let asking = session(uplink, tls, name, enrol);
    let late = || format!("no answer from {}:{} within {} s", uplink.host, uplink.port, SESSION.as_secs());
    tokio::time::timeout(SESSION, asking).await.with_context(late)?
}

async fn session(uplink: &Settings, tls: Arc<ClientConfig>, name: &DeviceId, enrol: &Enrol) -> anyhow::Result<Outcome> {
    let (client, mut events) = connect(uplink, tls, name);
    let topic = |channel| Topic::new(name.clone(), channel).to_string();
    let mut patience = SESSION;
    loop {
        let event = tokio::time::timeout(patience, events.poll()).await.map_err(|_| Unanswered)?;
        match event.map_err(|error| Reason::new(&error, &uplink.host, uplink.port))? {
            Event::Incoming(Packet::ConnAck(_)) => {
                client.try_subscribe(topic(Channel::EnrolAnswer), QoS::AtMostOnce)?;
            }
            Event::Incoming(Packet::SubAck(ack)) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    bail!("the gateway lets a claim hear no answer");
                }
                client.try_publish(topic(Channel::Enrol), QoS::AtLeastOnce, false, enrol.encode())?;
            }
            Event::Incoming(Packet::PubAck(_)) => patience = AFTER_PUBACK,
            Event::Incoming(Packet::Publish(publish)) if publish.topic == topic(Channel::EnrolAnswer) => {
                let answer = Enrolled::decode(&publish.payload).context("the answer cannot be read")?;
                if answer.nonce == enrol.nonce {
                    leave(&client, &mut events).await;
                    return Ok(answer.outcome);
                }
            }
            _ => {}
        }
    }
}

/// A client of its own for this session, which dials when it is polled.
pub(super) fn connect(uplink: &Settings, tls: Arc<ClientConfig>, name: &DeviceId) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(name.as_str(), &uplink.host, uplink.port);
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_clean_session(true)
        .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
        .set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)));
    AsyncClient::new(options, REQUESTS_MAX)
}

/// Takes leave, whether the other end hears it or not.
pub(super) async fn leave(client: &AsyncClient, events: &mut EventLoop) {
    let _ = client.try_disconnect();
    let _ = tokio::time::timeout(Duration::from_secs(1), events.poll()).await;
}

/// What a session calls itself where it may choose: others may hold the same claim.
pub(in crate::identity) fn session_name(nonce: Nonce) -> anyhow::Result<DeviceId> {
    let nonce = u64::from_be_bytes(nonce.0);
    format!("{CLAIM_PREFIX}{nonce:016x}").parse().context("name a claim's session")
}
