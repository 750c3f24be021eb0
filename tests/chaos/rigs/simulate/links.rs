//! Connections: dialled, standing, pinged, cut, and what is sent by them.

use agent::uplink::session::Event;
use proto::Channel;

use super::network::{Message, SECOND};
use super::world::{What, World};

impl World {
    pub(super) fn dial(&mut self, at: usize) {
        let connection = self.network.dial(at);
        self.devices[at].connection = Some(connection);
        self.log.note(self.now, format_args!("{at} dials {connection}"));
        let reachable = self.cloud.is_running() && self.devices[at].offline_until <= self.now;
        let when = self.soon(if self.is_quiet { 1 } else { 3 });
        if reachable {
            self.plan(when, What::Stands(connection));
        } else if self.random.once_in(2) {
            self.plan(when, What::DialFails(connection));
        } // else nobody answers at all, and the session must see to it
    }

    /// The agent ends its connection; the gateway may learn it late.
    pub(super) fn hang_up(&mut self, at: usize) {
        if let Some(connection) = self.devices[at].connection.take() {
            self.log.note(self.now, format_args!("{at} hangs up {connection}"));
            self.agent_leaves(connection);
        }
    }

    /// A dialled connection stands, if the gateway is there and the agent still wants it.
    pub(super) fn stands(&mut self, connection: usize) -> anyhow::Result<()> {
        let at = self.network.connections[connection].device;
        if self.devices[at].connection != Some(connection) {
            return Ok(());
        }
        if !self.cloud.is_running() || self.devices[at].offline_until > self.now {
            return self.agent_loses(connection);
        }
        self.log.note(self.now, format_args!("{connection} stands"));
        self.network.connections[connection].gateway_has_it = true;
        let name = self.devices[at].name.clone();
        if let Some(old) = self.cloud.opened(&name, connection) {
            // The gateway ends the connection that it takes over from; what it had read of it is still on its way in.
            let (gateway, agent) = (self.soon(1), self.soon(2));
            self.plan(gateway, What::GatewayLoses(old));
            self.plan(agent, What::AgentLoses(old));
        }
        self.commit_soon();
        self.plan(self.now + self.ping_every(at), What::Ping(connection));
        self.tell(at, Event::Connected)
    }

    /// The agent's client pings, as rumqttc does: in even steps, and it gives up where the last ping has no answer.
    pub(super) fn ping(&mut self, connection: usize) -> anyhow::Result<()> {
        let at = self.network.connections[connection].device;
        if self.devices[at].connection != Some(connection) {
            return Ok(());
        }
        if std::mem::replace(&mut self.network.connections[connection].awaits_pong, true) {
            self.log.note(self.now, format_args!("{connection} answers no ping"));
            return self.agent_loses(connection);
        }
        self.plan(self.now + self.ping_every(at), What::Ping(connection));
        let [arrives, _] = self.network.send_up(connection, self.now, self.weather, &mut self.random);
        if let Some(when) = arrives {
            self.plan(when, What::PingArrives(connection));
        }
        Ok(())
    }

    /// The gateway answers a ping at once.
    pub(super) fn ping_arrives(&mut self, connection: usize) {
        if self.network.connections[connection].gateway_has_it && self.network.arrives(connection, self.now) {
            self.acknowledge(connection);
        }
    }

    /// A packet goes to the agent that says nothing but that the gateway lives.
    pub(super) fn acknowledge(&mut self, connection: usize) {
        if !self.network.connections[connection].gateway_has_it {
            return;
        }
        if let Some(when) = self.network.send_down(connection, self.now, self.weather, &mut self.random) {
            self.plan(when, What::Heard(connection));
        }
    }

    /// Such a packet reaches the agent.
    pub(super) fn heard(&mut self, connection: usize) -> anyhow::Result<()> {
        let at = self.network.connections[connection].device;
        if self.devices[at].connection != Some(connection) {
            return Ok(());
        }
        self.network.connections[connection].awaits_pong = false;
        self.tell(at, Event::Heard)
    }

    fn ping_every(&self, at: usize) -> u64 {
        u64::try_from(self.devices[at].pace.keep_alive.as_micros()).unwrap_or(u64::MAX)
    }

    /// The gateway knows that a connection has ended.
    pub(super) fn gateway_loses(&mut self, connection: usize) {
        let ended = &mut self.network.connections[connection];
        if std::mem::take(&mut ended.gateway_has_it) {
            let name = self.devices[ended.device].name.clone();
            self.cloud.closed(&name, connection);
            self.commit_soon();
        }
    }

    /// Publishes; a connection that takes nothing is lost.
    pub(super) fn send(&mut self, at: usize, channel: Channel, payload: Vec<u8>) {
        let Some(connection) = self.devices[at].connection else { return self.tell_only(at, Event::Lost) };
        let message = Message { connection, channel, payload: payload.into() };
        let [first, again] = self.network.send_up(connection, self.now, self.weather, &mut self.random);
        if let Some(when) = first {
            self.plan(when, What::Up(message.clone()));
        }
        // A hello is not said again: its words are true only when they are said.
        if let (Some(when), true) = (again, channel == Channel::Batch) {
            self.plan(when, What::UpAgain(message));
        }
    }

    /// The agent knows that its connection has ended.
    pub(super) fn agent_loses(&mut self, connection: usize) -> anyhow::Result<()> {
        let at = self.network.connections[connection].device;
        if self.devices[at].connection != Some(connection) {
            return Ok(());
        }
        self.devices[at].connection = None;
        self.agent_leaves(connection);
        self.tell(at, Event::Lost)
    }

    /// The agent's end is closed: what it sent may still arrive for a moment, and the gateway learns of it some time.
    pub(super) fn agent_leaves(&mut self, connection: usize) {
        let until = self.soon(2);
        self.network.silence(connection, until);
        self.network.connections[connection].agent_has_it = false;
        let learns = until + self.random.between(0, 45 * SECOND);
        self.plan(learns, What::GatewayLoses(connection));
    }

    /// Ends one of the connections that stand.
    pub(super) fn cut(&mut self, silently: bool) {
        let standing = self.network.standing();
        if !standing.is_empty() {
            let connection = self.random.of(&standing);
            self.end(connection, silently);
        }
    }

    /// From now on nothing gets through; each end learns it some time, or by itself.
    pub(super) fn end(&mut self, connection: usize, silently: bool) {
        let until = self.soon(2);
        self.network.silence(connection, until);
        if !silently {
            let agent = self.soon(3);
            self.plan(agent, What::AgentLoses(connection));
        }
        let gateway = until + self.random.between(0, 45 * SECOND);
        self.plan(gateway, What::GatewayLoses(connection));
    }
}
