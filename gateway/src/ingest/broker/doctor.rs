//! Whether the broker lets one device publish as another: tried with a canary, a device that exists for nothing else.
//!
//! Each try has a counterpart that must work, so that nothing is proven by silence: the canary publishes as somebody
//! else and then as itself, and the gateway must hear only the latter; the gateway writes to somebody else and then to
//! the canary, which must hear only the latter; the canary writes itself a receipt, and then the gateway does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use proto::message::{Presence, Status};
use proto::{Channel, DeviceId, Topic};
use rumqttc::{
    AsyncClient, EventLoop, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::settings::{Files, Settings};
use super::{client, tls};

/// For each step: a connection, a subscription, a message.
const STEP_DEADLINE: Duration = Duration::from_secs(8);
/// After the canary's last message has come by, for what must not come. Brokers keep the order of one publisher, but
/// only of what goes by one path.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Messages that one client keeps; there are a handful.
const HEARD_MAX: usize = 1_000;
/// Who wrote a message.
const CANARY: &str = "canary";
const GATEWAY: &str = "gateway";

/// What the canary could do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// Whose topics it tried.
    pub victim: DeviceId,
    /// What it could do and must not; empty when all is well.
    pub faults: Vec<String>,
}

/// A client that the doctor leads by the hand.
struct Probe {
    client: AsyncClient,
    event_loop: EventLoop,
    heard: Vec<Publish>,
}

/// Tries what a device must not be able to do. `canary` are the files of its certificate and key.
///
/// The gateway's own client is another one meanwhile; brokers that bind client ids to certificates take it for the same,
/// so there the gateway must not run, and what waits for it is forgotten (and sent again by devices).
///
/// # Errors
/// When it cannot be tried: nothing is proven then.
pub async fn examine(settings: &Settings, canary: Files) -> anyhow::Result<Findings> {
    let (certificate, _) = canary.own.as_ref().context("the canary has no certificate")?;
    let chain = certs::read_certificates(certificate)?;
    let leaf = chain.first().with_context(|| format!("{} holds no certificate", certificate.display()))?;
    let id: DeviceId = certs::identity::device_id(leaf)?.parse()?;
    let victim = victim_of(&id)?;
    let (gateway_tls, password) = super::member::read_identity(settings)?;
    anyhow::ensure!(gateway_tls.is_some(), "`broker.tls` is false: without certificates there is nothing to prove");
    let gateway = format!("{}-doctor", settings.client_id);
    let gateway = Probe::connect(settings, &gateway, gateway_tls, password).await.context("as the gateway")?;
    let identity = Identity { settings, files: &canary, id: &id };
    let mut trial = Trial { gateway, canary: identity.connect().await?, identity, victim: &victim };
    let mut faults = Vec::new();
    if trial.publishes_as_another().await.context("try to publish as another")? {
        faults.push(format!("{id} can publish as {victim}"));
    }
    if trial.hears_another().await.context("try to hear another")? {
        faults.push(format!("{id} can hear what is meant for {victim}"));
    }
    if trial.writes_receipts().await.context("try to write a receipt")? {
        faults.push(format!("{id} can write receipts"));
    }
    Ok(Findings { victim, faults })
}

/// Who the canary is, for as many connections as it needs.
struct Identity<'a> {
    settings: &'a Settings,
    files: &'a Files,
    id: &'a DeviceId,
}

impl Identity<'_> {
    async fn connect(&self) -> anyhow::Result<Probe> {
        let tls = tls::client_config(self.files)?;
        Probe::connect(self.settings, self.id.as_str(), Some(tls), None).await.context("as the canary")
    }
}

/// The gateway and the canary, both at the broker.
struct Trial<'a> {
    gateway: Probe,
    canary: Probe,
    identity: Identity<'a>,
    victim: &'a DeviceId,
}

impl Trial<'_> {
    fn own(&self, channel: Channel) -> String {
        Topic::new(self.identity.id.clone(), channel).to_string()
    }

    fn others(&self, channel: Channel) -> String {
        Topic::new(self.victim.clone(), channel).to_string()
    }

    async fn publishes_as_another(&mut self) -> anyhow::Result<bool> {
        // Who may write on the second would get another's certificate.
        for channel in [Channel::Status, Channel::Enrol] {
            let (own, others) = (self.own(channel), self.others(channel));
            for topic in [&own, &others] {
                let granted = self.gateway.subscribe(topic).await?;
                anyhow::ensure!(granted, "the broker does not let this gateway read {topic}");
            }
            let _ = self.canary.publish(&others, CANARY).await; // denied, or cut off, or acknowledged and dropped
            self.canary = self.identity.connect().await?;
            self.canary.publish(&own, CANARY).await?;
            if self.gateway.heard_until((&own, CANARY), (&others, CANARY)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn hears_another(&mut self) -> anyhow::Result<bool> {
        let (own, others) = (self.own(Channel::Receipt), self.others(Channel::Receipt));
        // Some brokers grant it and then deliver nothing, some cut off who asks.
        if self.canary.subscribe(&others).await.is_err() {
            self.canary = self.identity.connect().await?;
        }
        anyhow::ensure!(self.canary.subscribe(&own).await?, "the broker does not let a device read {own}");
        self.gateway.publish(&others, GATEWAY).await?;
        self.gateway.publish(&own, GATEWAY).await?;
        self.canary.heard_until((&own, GATEWAY), (&others, GATEWAY)).await
    }

    async fn writes_receipts(&mut self) -> anyhow::Result<bool> {
        let own = self.own(Channel::Receipt);
        self.canary.heard.clear(); // the gateway has written there before
        if self.canary.publish(&own, CANARY).await.is_err() {
            return Ok(false); // it was cut off for it
        }
        self.gateway.publish(&own, GATEWAY).await?;
        self.canary.heard_until((&own, GATEWAY), (&own, CANARY)).await
    }
}

/// Somebody who is not there: the canary's name with another end.
fn victim_of(canary: &DeviceId) -> anyhow::Result<DeviceId> {
    let name: String = canary.as_str().chars().take(DeviceId::BYTES_MAX - "-victim".len()).collect();
    Ok(format!("{name}-victim").parse()?)
}

impl Probe {
    async fn connect(
        settings: &Settings,
        client_id: &str,
        tls: Option<Arc<ClientConfig>>,
        password: Option<String>,
    ) -> anyhow::Result<Self> {
        let mut options = MqttOptions::new(client_id, &settings.host, settings.port);
        options
            .set_keep_alive(settings.keep_alive)
            .set_clean_session(true)
            .set_transport(tls.map_or(Transport::Tcp, |tls| Transport::Tls(TlsConfiguration::Rustls(tls))));
        if let (Some(login), Some(password)) = (&settings.login, password) {
            options.set_credentials(&login.username, password);
        }
        let (client, event_loop) = AsyncClient::new(options, 16);
        let mut probe = Self { client, event_loop, heard: Vec::new() };
        probe.until(|packet| matches!(packet, Packet::ConnAck(_))).await.context("connect")?;
        Ok(probe)
    }

    /// Answers whether the broker grants it.
    async fn subscribe(&mut self, filter: &str) -> anyhow::Result<bool> {
        self.client.try_subscribe(filter, QoS::AtLeastOnce)?;
        let Packet::SubAck(ack) = self.until(|packet| matches!(packet, Packet::SubAck(_))).await? else {
            return Ok(false);
        };
        Ok(ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))))
    }

    /// Publishes a status, which means something nowhere else and harms nobody, and waits for the PUBACK. What comes
    /// meanwhile is kept.
    async fn publish(&mut self, topic: &str, by: &str) -> anyhow::Result<()> {
        let status = Status { presence: Presence::Offline, at: None, agent: by.to_owned() };
        self.client.try_publish(topic, QoS::AtLeastOnce, false, status.encode())?;
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await.map(|_| ())
    }

    /// Waits until it has heard `control`, and a little longer. Answers whether it heard `forbidden`.
    async fn heard_until(&mut self, control: Mark<'_>, forbidden: Mark<'_>) -> anyhow::Result<bool> {
        let deadline = Instant::now() + STEP_DEADLINE;
        while !self.heard.iter().any(|publish| is(publish, control)) {
            self.step(deadline).await.with_context(|| format!("{} must come by, and does not", control.0))?;
        }
        let aftermath = Instant::now() + AFTERMATH;
        while self.step(aftermath).await.is_ok() {}
        Ok(self.heard.iter().any(|publish| is(publish, forbidden)))
    }

    /// The next packet, until `deadline`. Publishes are kept.
    async fn step(&mut self, deadline: Instant) -> anyhow::Result<Option<Packet>> {
        let event = timeout_at(deadline, self.event_loop.poll()).await.context("the broker does not answer in time")?;
        match event {
            Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => {
                if self.heard.len() < HEARD_MAX {
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

/// A topic, and who wrote there.
type Mark<'a> = (&'a str, &'a str);

fn is(publish: &Publish, (topic, by): Mark<'_>) -> bool {
    publish.topic == topic && Status::decode(&publish.payload).is_ok_and(|status| status.agent == by)
}
