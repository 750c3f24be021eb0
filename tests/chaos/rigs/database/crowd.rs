//! Devices beside, many enough to fill the gateways' pipelines while the database is away. They are there so that others
//! find no room, and they must have their pings answered all the same.

use std::time::Duration;

use anyhow::Context;
use harness::World;
use harness::mqtt::{Packet, Stream};
use proto::message::{Hello, Notice};
use proto::{Channel, DeviceId, Nonce, Topic, VERSION};

/// Devices, half of them at each gateway.
const DEVICES: usize = 32;
/// What each of them publishes. Times sixteen this is more than a pipeline takes: 256 in one commit, and 256 each before
/// the recorder and before the judge.
const PUBLISHES: u16 = 60;
/// For the gateway to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// All of them; or nobody.
#[derive(Default)]
pub(super) struct Crowd(Vec<(DeviceId, Stream)>);

impl Crowd {
    /// Connects all of them by `port`.
    pub(super) fn connect(world: &World, port: u16) -> anyhow::Result<Self> {
        let connect = |index: usize| {
            let name = format!("crowd-{index}");
            let mut stream = Stream::connect(port, &world.pki.device(&name))?;
            // They ping when they are told to, so no keep alive ends them.
            stream.send(&Packet::Connect { client: name.clone(), clean: true, keep_alive_s: 0 })?;
            let answer = stream.wait(DEADLINE).context("wait for CONNACK")?;
            anyhow::ensure!(matches!(answer, Packet::ConnAck { code: 0, .. }), "not let in: {answer:?}");
            Ok((name.parse()?, stream))
        };
        Ok(Self((0..DEVICES).map(connect).collect::<anyhow::Result<_>>()?))
    }

    /// Publishes more than there is room for.
    pub(super) fn press(&mut self) -> anyhow::Result<()> {
        // Who holds nothing says so, which is to be recorded, and lasts until it is.
        let hello = Hello { nonce: Nonce([1; 8]), versions: (1, VERSION), epochs: Vec::new() };
        let payload = Notice::Hello(hello).encode();
        for (device, stream) in &mut self.0 {
            let topic = Topic::new(device.clone(), Channel::Hello).to_string();
            for id in 1..=PUBLISHES {
                let (topic, payload) = (topic.clone(), payload.clone());
                stream.send(&Packet::Publish { topic, id: Some(id), dup: false, retain: false, payload })?;
            }
        }
        Ok(())
    }

    /// How many have a ping answered, and nothing acknowledged before.
    pub(super) fn answered(&mut self) -> anyhow::Result<usize> {
        for (_, stream) in &mut self.0 {
            stream.send(&Packet::PingReq)?;
        }
        Ok(self.0.iter_mut().filter_map(|(_, stream)| stream.wait(DEADLINE).ok()).filter(is_pong).count())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn is_pong(packet: &Packet) -> bool {
    matches!(packet, Packet::PingResp)
}
