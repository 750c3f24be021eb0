//! A client that the doctor leads by the hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use proto::Topic;
use rumqttc::{
    AsyncClient, EventLoop, LastWill, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode, TlsConfiguration,
    Transport,
};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::super::client;
use super::super::settings::Settings;

/// For each step: a connection, a subscription, a message.
const STEP_DEADLINE: Duration = Duration::from_secs(8);
/// After the last control message has come by, for what must not come. Brokers keep the order of one publisher, but
/// only of what goes by one path.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Messages that one client keeps; there are some dozens.
const HEARD_MAX: usize = 1_000;

/// A topic, and what was written there.
pub(super) type Mark = (String, Vec<u8>);

/// Who connects, and with what.
pub(super) struct Login<'a> {
    pub(super) settings: &'a Settings,
    pub(super) client_id: &'a str,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) password: Option<String>,
}

/// A connection.
pub(super) struct Probe {
    client: AsyncClient,
    event_loop: EventLoop,
    heard: Vec<Publish>,
}

impl Probe {
    /// Connects, with a last will if there is to be one.
    pub(super) async fn connect(login: Login<'_>, will: Option<&Mark>) -> anyhow::Result<Self> {
        let Login { settings, client_id, tls, password } = login;
        let mut options = MqttOptions::new(client_id, &settings.host, settings.port);
        options
            .set_keep_alive(settings.keep_alive)
            .set_clean_session(true)
            .set_transport(tls.map_or(Transport::Tcp, |tls| Transport::Tls(TlsConfiguration::Rustls(tls))));
        if let (Some(login), Some(password)) = (&settings.login, password) {
            options.set_credentials(&login.username, password);
        }
        if let Some((topic, payload)) = will {
            options.set_last_will(LastWill::new(topic, payload.clone(), QoS::AtLeastOnce, false));
        }
        let (client, event_loop) = AsyncClient::new(options, 16);
        let mut probe = Self { client, event_loop, heard: Vec::new() };
        probe.until(|packet| matches!(packet, Packet::ConnAck(_))).await.context("connect")?;
        Ok(probe)
    }

    /// Answers whether the broker grants it.
    pub(super) async fn subscribe(&mut self, filter: &str) -> anyhow::Result<bool> {
        self.client.try_subscribe(filter, QoS::AtLeastOnce)?;
        let Packet::SubAck(ack) = self.until(|packet| matches!(packet, Packet::SubAck(_))).await? else {
            return Ok(false);
        };
        Ok(ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))))
    }

    /// Publishes, and waits for the PUBACK. What comes meanwhile is kept.
    pub(super) async fn publish(&mut self, (topic, payload): &Mark, retain: bool) -> anyhow::Result<()> {
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload.clone())?;
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await.map(|_| ())
    }

    /// Forgets what it has heard so far.
    pub(super) fn forget(&mut self) {
        self.heard.clear();
    }

    /// Waits until it has heard all of `controls`, and a little longer.
    pub(super) async fn hear_all(&mut self, controls: &[Mark]) -> anyhow::Result<()> {
        let deadline = Instant::now() + STEP_DEADLINE;
        while let Some((topic, _)) = controls.iter().find(|control| !self.has_heard(control)) {
            self.step(deadline).await.with_context(|| format!("{topic} must come by, and does not"))?;
        }
        let aftermath = Instant::now() + AFTERMATH;
        while self.step(aftermath).await.is_ok() {}
        Ok(())
    }

    /// Whether this has come by.
    pub(super) fn has_heard(&self, (topic, payload): &Mark) -> bool {
        self.heard.iter().any(|publish| publish.topic == *topic && publish.payload == *payload)
    }

    /// Whether anything has come by on a topic of this beginning.
    pub(super) fn has_heard_below(&self, beginning: &str) -> bool {
        self.heard.iter().any(|publish| publish.topic.starts_with(beginning))
    }

    /// The next packet, until `deadline`. Publishes are kept.
    async fn step(&mut self, deadline: Instant) -> anyhow::Result<Option<Packet>> {
        let event = timeout_at(deadline, self.event_loop.poll()).await.context("the broker does not answer in time")?;
        match event {
            Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => {
                // Of others' topics, only what may matter: a busy broker has much to tell who may hear all of it.
                let is_ours = publish.topic.starts_with('$') || publish.topic.parse::<Topic>().is_ok();
                if is_ours && self.heard.len() < HEARD_MAX {
                    self.heard.push(publish);
                }
                Ok(None)
            }
            Ok(rumqttc::Event::Incoming(packet)) => Ok(Some(packet)),
            Ok(rumqttc::Event::Outgoing(_)) => Ok(None),
            Err(error) => Err(anyhow::anyhow!(client::explain(&error))),
        }
    }

    async fn until(&mut self, is_it: impl Fn(&Packet) -> bool) -> anyhow::Result<Packet> {
        let deadline = Instant::now() + STEP_DEADLINE;
        loop {
            if let Some(packet) = self.step(deadline).await?.filter(&is_it) {
                return Ok(packet);
            }
        }
    }
}
