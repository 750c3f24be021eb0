//! Which devices are there, as far as their messages tell: the broker itself does not say who is connected to it.

use std::collections::{HashMap, VecDeque};

use proto::DeviceId;

use crate::ingest::ConnectionId;

/// Devices that were heard and have not taken leave; who was silent longest goes when there are too many.
#[derive(Debug)]
pub(super) struct Devices {
    open: HashMap<DeviceId, Open>,
    /// In the order in which they came, or were last spared. Those that left are still in it for a while.
    order: VecDeque<(DeviceId, ConnectionId)>,
    max: usize,
}

#[derive(Debug)]
struct Open {
    connection: ConnectionId,
    /// Heard since it was last looked at.
    heard: bool,
}

/// Who had to go.
pub(super) type Gone = (DeviceId, ConnectionId);

impl Devices {
    /// Room for `max` devices.
    pub(super) fn new(max: usize) -> Self {
        Self { open: HashMap::new(), order: VecDeque::new(), max: max.max(1) }
    }

    /// The connection of a device that is there.
    pub(super) fn hear(&mut self, device: &DeviceId) -> Option<ConnectionId> {
        let open = self.open.get_mut(device)?;
        open.heard = true;
        Some(open.connection)
    }

    /// A device begins a connection; it had none. Answers who had to go for it.
    pub(super) fn open(&mut self, device: DeviceId) -> (ConnectionId, Option<Gone>) {
        let gone = (self.open.len() >= self.max).then(|| self.evict()).flatten();
        let connection = ConnectionId::fresh();
        self.open.insert(device.clone(), Open { connection, heard: false });
        self.order.push_back((device, connection));
        if self.order.len() > 2 * self.open.len() + 16 {
            let open = &self.open;
            self.order.retain(|(device, id)| open.get(device).is_some_and(|open| open.connection == *id));
        }
        (connection, gone)
    }

    /// A device's connection has ended.
    pub(super) fn close(&mut self, device: &DeviceId) -> Option<ConnectionId> {
        self.open.remove(device).map(|open| open.connection)
    }

    /// Nobody is known to be there any more.
    pub(super) fn close_all(&mut self) -> Vec<Gone> {
        self.order.clear();
        self.open.drain().map(|(device, open)| (device, open.connection)).collect()
    }

    /// The one that came first and was not heard since it was last looked at (second chance, as of pages).
    fn evict(&mut self) -> Option<Gone> {
        loop {
            let (device, connection) = self.order.pop_front()?;
            match self.open.get_mut(&device) {
                Some(open) if open.connection == connection && open.heard => {
                    open.heard = false;
                    self.order.push_back((device, connection));
                }
                Some(open) if open.connection == connection => {
                    self.open.remove(&device);
                    return Some((device, connection));
                }
                _ => {} // it left by itself
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: usize) -> DeviceId {
        format!("meter-{number}").parse().unwrap()
    }

    #[test]
    fn who_was_silent_longest_goes_when_there_are_too_many() {
        let mut devices = Devices::new(3);
        for number in 0..3 {
            assert_eq!(devices.open(device(number)).1, None);
        }
        devices.hear(&device(0));
        let gone = devices.open(device(3)).1.unwrap();
        assert_eq!(gone.0, device(1), "the first was heard since");
        assert_eq!((devices.open.len(), devices.hear(&device(1))), (3, None));
    }

    #[test]
    fn devices_that_come_and_go_leave_nothing_behind() {
        let mut devices = Devices::new(10);
        for _ in 0..1_000 {
            for number in 0..5 {
                devices.open(device(number));
            }
            for number in 0..5 {
                devices.close(&device(number));
            }
        }
        assert!(devices.order.len() <= 32, "{}", devices.order.len());
        devices.open(device(1));
        assert_eq!(devices.close_all().len(), 1);
        assert_eq!(devices.open.len(), 0);
    }
}
