//! What lies between agents and gateway: connections that are cut, go silent, hold back and repeat.
//!
//! Within a connection order holds, as TCP keeps it; between connections it does not: what was on its way when a
//! connection ended may still arrive after the next one stands.

use bytes::Bytes;
use proto::Channel;

use super::random::Random;

/// A second, in the world's microseconds.
pub(super) const SECOND: u64 = 1_000_000;

/// One connection. They are never reused; their place in the list is their name.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Whose.
    pub(super) device: usize,
    /// Whether the agent believes in it, or is still dialling.
    pub(super) agent_has_it: bool,
    /// Whether the gateway has opened and not closed it.
    pub(super) gateway_has_it: bool,
    /// From then on nothing that is sent arrives, and nobody is told.
    silent: bool,
    /// What is on its way still arrives until then.
    arrives_until: u64,
    /// The agent's client has pinged, and awaits the answer.
    pub(super) awaits_pong: bool,
    /// When the last message in each direction arrives: the next one is behind it.
    up_last: u64,
    down_last: u64,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// The longest a message takes, in microseconds.
    pub(super) delay_max: u64,
    /// One message in so many arrives twice; 0 for none.
    pub(super) twice: u64,
    /// One receipt in so many is dropped, as the gateway does when a device reads too slowly; 0 for none.
    pub(super) receipt_lost: u64,
}

impl Weather {
    /// As a network should be.
    pub(super) const FAIR: Self = Self { delay_max: SECOND / 20, twice: 0, receipt_lost: 0 };
}

/// A message to a gateway or to an agent.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) connection: usize,
    pub(super) channel: Channel,
    pub(super) payload: Bytes,
}

/// All connections that ever were.
#[derive(Default)]
pub(super) struct Network {
    pub(super) connections: Vec<Connection>,
}

impl Network {
    /// A connection of `device` that is being dialled.
    pub(super) fn dial(&mut self, device: usize) -> usize {
        self.connections.push(Connection {
            device,
            agent_has_it: true,
            gateway_has_it: false,
            silent: false,
            arrives_until: u64::MAX,
            awaits_pong: false,
            up_last: 0,
            down_last: 0,
        });
        self.connections.len() - 1
    }

    /// When a message sent `now` arrives, if it does, and when it arrives again, if it does that.
    pub(super) fn send_up(&mut self, at: usize, now: u64, weather: Weather, random: &mut Random) -> [Option<u64>; 2] {
        let connection = &mut self.connections[at];
        if connection.silent {
            return [None, None];
        }
        let arrives = connection.up_last.max(now + random.between(100, weather.delay_max));
        connection.up_last = arrives;
        let twice = weather.twice > 0 && random.once_in(weather.twice);
        let again = twice.then(|| arrives + random.between(1, 30 * SECOND));
        [(arrives < connection.arrives_until).then_some(arrives), again]
    }

    /// When a message to an agent sent `now` arrives, if it does.
    pub(super) fn send_down(&mut self, at: usize, now: u64, weather: Weather, random: &mut Random) -> Option<u64> {
        let connection = &mut self.connections[at];
        if connection.silent {
            return None;
        }
        connection.down_last = connection.down_last.max(now + random.between(100, weather.delay_max));
        Some(connection.down_last)
    }

    /// Nothing more that is sent arrives; what is on its way does until `until`.
    pub(super) fn silence(&mut self, at: usize, until: u64) {
        let connection = &mut self.connections[at];
        connection.silent = true;
        connection.arrives_until = connection.arrives_until.min(until);
    }

    /// Whether what was sent up and is due `now` arrives.
    pub(super) fn arrives(&self, at: usize, now: u64) -> bool {
        now < self.connections[at].arrives_until
    }

    /// Connections that both ends believe in.
    pub(super) fn standing(&self) -> Vec<usize> {
        let stands = |connection: &Connection| connection.agent_has_it && connection.gateway_has_it;
        (0..self.connections.len()).filter(|at| stands(&self.connections[*at])).collect()
    }
}
