//! What is tried, step by step: every channel of the table of topics in both directions, and what no device may do at all.

use std::time::Duration;

use anyhow::Context;
use proto::frame::{Header, Sealed};
use proto::message::{Notice, Presence, Status};
use proto::topic::Direction;
use proto::{Body, Channel, Clock, DeviceId, Epoch, Frame, Lane, Topic};

use super::Identity;
use super::probe::{Mark, Probe};

/// Between a cut and the next connection. AWS IoT lets a client id connect once a second.
const AFTER_A_CUT: Duration = Duration::from_millis(1_100);
/// Who wrote a message.
const CANARY: &str = "canary";
const GATEWAY: &str = "gateway";
/// What a message is that is to stay at the broker, or to be said after a connection's end.
const RETAINED: &str = "canary, retained";
const WILL: &str = "canary's last will";
/// Filters that would hear others, beside their very topics.
const WIDE: [&str; 4] = ["#", "+/#", "trib/1/+/#", "$SYS/#"];
/// A group of subscribers, whom brokers may judge by other rules.
const GROUP: &str = "$share/tributary-doctor/";

/// The gateway and the canary, both at the broker.
pub(super) struct Trial<'a> {
    pub(super) gateway: Probe,
    pub(super) canary: Probe,
    pub(super) identity: Identity<'a>,
    pub(super) victim: &'a DeviceId,
}

fn of(direction: Direction) -> impl Iterator<Item = Channel> {
    Channel::ALL.into_iter().filter(move |channel| channel.direction() == direction)
}

/// The names of those channels for which `is_open`, with a comma between them; none if there are none.
fn open(channels: impl Iterator<Item = Channel>, is_open: impl Fn(Channel) -> bool) -> Option<String> {
    let open: Vec<&str> = channels.filter(|channel| is_open(*channel)).map(Channel::path).collect();
    (!open.is_empty()).then(|| open.join(", "))
}

/// What means nothing, harms nobody, and is neither refused nor quarantined by a gateway that hears it.
fn payload(channel: Channel, by: &str) -> anyhow::Result<Vec<u8>> {
    Ok(match channel {
        Channel::Batch => {
            let clock = Clock::default();
            let header = Header { epoch: Epoch(*b"a canary"), first: 1, lane: Lane::Live, clock };
            let body = Body { boot: clock.boot, columns: Vec::new() }.encode().context("an empty body")?;
            Frame { header, bodies: vec![Sealed::new(body)] }.encode()
        }
        Channel::Senml => br#"[{"bn":"canary"}]"#.to_vec(),
        Channel::Hello => Notice::Gaps(Vec::new()).encode(),
        _ => Status { presence: Presence::Offline, at: None, agent: by.to_owned() }.encode(),
    })
}

impl Trial<'_> {
    fn own(&self, channel: Channel, by: &str) -> anyhow::Result<Mark> {
        Ok((Topic::new(self.identity.id.clone(), channel).to_string(), payload(channel, by)?))
    }

    fn others(&self, channel: Channel, by: &str) -> anyhow::Result<Mark> {
        Ok((Topic::new(self.victim.clone(), channel).to_string(), payload(channel, by)?))
    }

    fn marks(&self, direction: Direction, is_own: bool, by: &str) -> anyhow::Result<Vec<Mark>> {
        of(direction).map(|channel| if is_own { self.own(channel, by) } else { self.others(channel, by) }).collect()
    }

    /// Connects anew, once a second at most: some brokers allow no more.
    async fn after_a_cut(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(AFTER_A_CUT).await;
        self.again().await
    }

    async fn again(&mut self) -> anyhow::Result<()> {
        self.canary = self.identity.connect(None).await?;
        Ok(())
    }

    /// Publishes on each of another's topics, and then on each of its own: the gateway must hear the latter alone.
    pub(super) async fn publishes_as_another(&mut self, faults: &mut Vec<String>) -> anyhow::Result<()> {
        let (own, others) = (self.marks(Direction::Up, true, CANARY)?, self.marks(Direction::Up, false, CANARY)?);
        for (topic, _) in own.iter().chain(&others) {
            let granted = self.gateway.subscribe(topic).await?;
            anyhow::ensure!(granted, "the broker does not let this gateway read {topic}");
        }
        let retained = self.others(Channel::Status, RETAINED)?;
        for (mark, retain) in others.iter().map(|mark| (mark, false)).chain([(&retained, true)]) {
            // Denied, or cut off, or acknowledged and dropped.
            if self.canary.publish(mark, retain).await.is_err() {
                self.after_a_cut().await?;
            }
        }
        self.again().await?;
        for mark in &own {
            self.canary.publish(mark, false).await.with_context(|| format!("write on {}", mark.0))?;
        }
        self.gateway.hear_all(&own).await?;
        let (id, victim) = (self.identity.id, self.victim);
        let heard = |channel| self.others(channel, CANARY).is_ok_and(|mark| self.gateway.has_heard(&mark));
        if let Some(channels) = open(of(Direction::Up), heard) {
            faults.push(format!("{id} can publish as {victim}: {channels}"));
        }
        if self.gateway.has_heard(&retained) {
            faults.push(format!("{id} can leave a status at the broker that is {victim}'s"));
            // Nothing of it is to stay there.
            let _ = self.canary.publish(&(retained.0, Vec::new()), true).await;
        }
        Ok(())
    }

    /// Has a last will on another's status, and then on its own, and goes without a word.
    pub(super) async fn wills_as_another(&mut self, faults: &mut Vec<String>) -> anyhow::Result<()> {
        let (own, others) = (self.own(Channel::Status, WILL)?, self.others(Channel::Status, WILL)?);
        // Some brokers refuse the connection.
        drop(self.identity.connect(Some(&others)).await);
        drop(self.identity.connect(Some(&own)).await.context("with a last will of its own")?);
        self.gateway.hear_all(std::slice::from_ref(&own)).await?;
        if self.gateway.has_heard(&others) {
            faults.push(format!("{} can have a last will that is {}'s", self.identity.id, self.victim));
        }
        self.again().await
    }

    /// Asks for everything that it must not hear; then others are written to, and it itself.
    pub(super) async fn hears_another(&mut self, faults: &mut Vec<String>) -> anyhow::Result<()> {
        let mut granted = Vec::new();
        for filter in self.filters()? {
            match self.canary.subscribe(&filter).await {
                // Some brokers grant it and then deliver nothing.
                Ok(true) => granted.push(filter),
                Ok(false) => {}
                // Some cut off who asks.
                Err(_) => {
                    self.after_a_cut().await?;
                    for filter in &granted {
                        self.canary.subscribe(filter).await?;
                    }
                }
            }
        }
        let (own, others) = (self.marks(Direction::Down, true, GATEWAY)?, self.marks(Direction::Down, false, GATEWAY)?);
        for (topic, _) in &own {
            anyhow::ensure!(self.canary.subscribe(topic).await?, "the broker does not let a device read {topic}");
        }
        // What devices send, it may not even hear of itself: by that right it would hear the others'.
        for mark in &self.marks(Direction::Up, true, CANARY)? {
            self.canary.publish(mark, false).await?;
        }
        for mark in others.iter().chain(&own) {
            self.gateway.publish(mark, false).await?;
        }
        self.canary.hear_all(&own).await?;
        self.judge_hearing(faults);
        Ok(())
    }

    fn judge_hearing(&self, faults: &mut Vec<String>) {
        let (id, canary) = (self.identity.id, &self.canary);
        let heard = |mark: anyhow::Result<Mark>| mark.is_ok_and(|mark| canary.has_heard(&mark));
        if let Some(channels) = open(of(Direction::Down), |channel| heard(self.others(channel, GATEWAY))) {
            faults.push(format!("{id} can hear what is meant for {}: {channels}", self.victim));
        }
        if let Some(channels) = open(of(Direction::Up), |channel| heard(self.own(channel, CANARY))) {
            faults.push(format!("{id} can hear what devices send: {channels}"));
        }
        if canary.has_heard_below("$") {
            faults.push(format!("{id} can hear what the broker says of itself"));
        }
    }

    fn filters(&self) -> anyhow::Result<Vec<String>> {
        let others = Channel::ALL.into_iter().map(|channel| Ok(self.others(channel, CANARY)?.0));
        let all: anyhow::Result<Vec<String>> = others.collect();
        let wide = WIDE.map(str::to_owned).into_iter().chain(Channel::ALL.map(Topic::filter_of_all));
        let shared = Channel::ALL.map(|channel| format!("{GROUP}{}", Topic::filter_of_all(channel)));
        Ok(all?.into_iter().chain(wide).chain(shared).collect())
    }

    /// Writes itself what only the gateway may, and then the gateway does.
    pub(super) async fn writes_as_the_gateway(&mut self, faults: &mut Vec<String>) -> anyhow::Result<()> {
        let (forged, true_ones) =
            (self.marks(Direction::Down, true, CANARY)?, self.marks(Direction::Down, true, GATEWAY)?);
        self.canary.forget(); // the gateway has written there before
        for mark in &forged {
            if self.canary.publish(mark, false).await.is_err() {
                // It was cut off for it.
                self.after_a_cut().await?;
                for (topic, _) in &forged {
                    anyhow::ensure!(
                        self.canary.subscribe(topic).await?,
                        "the broker does not let a device read {topic}"
                    );
                }
            }
        }
        for mark in &true_ones {
            self.gateway.publish(mark, false).await?;
        }
        self.canary.hear_all(&true_ones).await?;
        let heard = |channel| self.own(channel, CANARY).is_ok_and(|mark| self.canary.has_heard(&mark));
        if let Some(channels) = open(of(Direction::Down), heard) {
            faults.push(format!("{} can write what only the gateway may: {channels}", self.identity.id));
        }
        Ok(())
    }
}
