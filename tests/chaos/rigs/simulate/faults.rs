//! What goes wrong, and what happens at the gateway.

use proto::message::Receipt;

use super::device::{Device, copy_database};
use super::network::{Message, SECOND};
use super::random::Random;
use super::world::{What, World};
use crate::rig::Fault;

/// How long until a store that takes nothing is tried again.
const RETRY_AFTER: u64 = 5 * SECOND;

/// A kind of trouble. Each world has some of them, so that none hides another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A connection ends.
    Cut,
    /// A connection goes silent, and nobody is told.
    Silence,
    /// A device reaches nobody for a while.
    Outage,
    /// An agent is killed.
    AgentKilled,
    /// The gateway is killed.
    CloudKilled,
    /// The gateway's database is put back to an earlier day.
    CloudRestored,
    /// The gateway's wall clock steps by years.
    CloudClock,
    /// An older file is put in place of a buffer's.
    BufferPutBack,
    /// A second device starts from a copy of the first one's disk.
    Copied,
    /// Buffers are small, and let go of what is not sent.
    Evictions,
    /// The gateway's database is away for a while: it lives, and answers nothing but pings.
    StoreAway,
}

impl Trouble {
    const ALL: [Self; 11] = [
        Self::Cut,
        Self::Silence,
        Self::Outage,
        Self::AgentKilled,
        Self::CloudKilled,
        Self::CloudRestored,
        Self::CloudClock,
        Self::BufferPutBack,
        Self::Copied,
        Self::Evictions,
        Self::StoreAway,
    ];

    /// Some kinds of trouble: each of the common ones in most worlds, the others now and then.
    pub(super) fn some(random: &mut Random) -> Vec<Self> {
        let chance = |trouble: Self| match trouble {
            Self::Cut | Self::AgentKilled | Self::Silence => 4,
            Self::Outage | Self::CloudKilled => 3,
            Self::CloudRestored | Self::CloudClock | Self::StoreAway => 2,
            Self::BufferPutBack | Self::Copied => 1,
            Self::Evictions => super::EVICTIONS_IN_SIX,
        };
        Self::ALL.into_iter().filter(|trouble| random.between(0, 6) < chance(*trouble)).collect()
    }
}

impl World {
    /// Something goes wrong, and something else later.
    pub(super) fn trouble(&mut self) -> anyhow::Result<()> {
        if self.is_quiet || self.troubles.is_empty() {
            return Ok(());
        }
        let next = self.soon(120);
        self.plan(next, What::Trouble);
        let trouble = self.random.of(&self.troubles);
        let at = self.random.place(self.devices.len());
        self.log.note(self.now, format_args!("trouble: {trouble:?} {at}"));
        match trouble {
            Trouble::Cut | Trouble::Silence => self.cut(trouble == Trouble::Silence),
            Trouble::Outage => {
                self.devices[at].offline_until = self.soon(900);
                if let Some(connection) = self.devices[at].connection {
                    self.end(connection, false);
                }
            }
            Trouble::AgentKilled => self.kill_agent(at),
            Trouble::CloudKilled => self.kill_cloud(false)?,
            Trouble::CloudRestored => self.kill_cloud(true)?,
            Trouble::CloudClock => {
                let years = i64::try_from(self.random.between(0, 20)).unwrap_or(0) - 10;
                self.cloud_off_us = years * 365 * 86_400 * 1_000_000;
                self.set_clock();
            }
            Trouble::BufferPutBack => self.put_buffer_back(at)?,
            Trouble::Copied => self.copy_device(at)?,
            // Long enough, now and then, for devices to try another connection.
            Trouble::StoreAway => self.store_away_until = self.soon(1_800),
            Trouble::Evictions => {}
        }
        Ok(())
    }

    fn kill_agent(&mut self, at: usize) {
        if let Some(connection) = self.devices[at].connection.take() {
            self.agent_leaves(connection);
        }
        self.devices[at].kill();
        if self.random.once_in(3) {
            self.boot(at);
        }
        let start = self.soon(120);
        self.plan(start, What::AgentStarts(at));
    }

    /// Kills the gateway, puts its database aside now and then, or back to what was put aside.
    fn kill_cloud(&mut self, restore: bool) -> anyhow::Result<()> {
        if !self.cloud.is_running() {
            return Ok(());
        }
        self.oracle.look()?;
        self.oracle.close()?;
        self.cloud.kill();
        for connection in 0..self.network.connections.len() {
            if self.network.connections[connection].gateway_has_it {
                self.network.connections[connection].gateway_has_it = false;
                let silently = self.random.once_in(4);
                self.end(connection, silently);
            }
        }
        if restore && self.cloud.snapshots > 0 {
            let snapshot = self.random.place(self.cloud.snapshots);
            self.cloud.restore(snapshot)?;
            self.is_history_whole = false;
            self.oracle.open(self.cloud.path())?;
            self.oracle.restored()?;
            self.oracle.close()?;
        } else {
            self.cloud.snapshot()?;
        }
        let start = self.soon(60);
        self.plan(start, What::CloudStarts);
        Ok(())
    }

    /// Starts the gateway, if it does not run.
    pub(super) fn start_cloud(&mut self) -> anyhow::Result<()> {
        if !self.cloud.is_running() {
            self.log.note(self.now, format_args!("the gateway starts"));
            self.cloud.start()?;
            self.oracle.open(self.cloud.path())?;
            self.is_commit_due = false;
        }
        Ok(())
    }

    /// Puts a copy of the buffer's file aside, or one that was put aside back.
    fn put_buffer_back(&mut self, at: usize) -> anyhow::Result<()> {
        self.kill_agent(at);
        let copies = self.devices[at].copies;
        if copies == 0 {
            return self.devices[at].put_aside();
        }
        let copy = self.random.place(copies);
        let device = &self.devices[at];
        copy_database(&device.aside(copy), &device.path)?;
        self.oracle.look()?;
        self.oracle.buffer_put_back(&self.devices[at].name);
        self.is_history_whole = false;
        Ok(())
    }

    /// A second device with the first one's disk, name and certificate. Once in a world.
    fn copy_device(&mut self, at: usize) -> anyhow::Result<()> {
        let copied = self.devices.iter().any(|device| device.path.ends_with("copied.db"));
        if copied || !self.devices[at].path.exists() {
            return Ok(());
        }
        self.kill_agent(at);
        let from = &self.devices[at];
        let path = self.folder.join("copied.db");
        copy_database(&from.path, &path)?;
        self.is_history_whole = false;
        let device = Device::new(from.name.clone(), path, from.bytes_max, from.pace);
        self.devices.push(device);
        let copy = self.devices.len() - 1;
        self.boot(copy);
        let (start, read) = (self.soon(60), self.soon(60));
        self.plan(start, What::AgentStarts(copy));
        self.plan(read, What::Read(copy));
        Ok(())
    }

    /// The gateway has read a message.
    pub(super) fn reaches_cloud(&mut self, message: &Message) {
        if self.cloud.is_running() {
            let name = self.devices[self.network.connections[message.connection].device].name.clone();
            self.cloud.arrived(&name, message.connection, message.channel, message.payload.clone());
            self.commit_soon();
        }
    }

    pub(super) fn commit_soon(&mut self) {
        if !self.is_commit_due {
            self.is_commit_due = true;
            let when = self.now + self.random.between(1, self.commit_max);
            self.plan(when, What::Commit);
        }
    }

    /// The gateway records what waits, and says so; each receipt is held against the database as it is sent.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        if self.now < self.store_away_until {
            self.plan(self.now + RETRY_AFTER, What::Commit);
            return Ok(());
        }
        self.is_commit_due = false;
        let committed = self.cloud.commit()?;
        self.oracle.look()?;
        let seed = self.seed;
        let refused = committed.refused as u64;
        self.found.fault(Fault::Mutated, refused, || format!("seed {seed}: the gateway refused {refused} items"));
        for (connection, device, payload) in committed.receipts {
            let receipt = Receipt::decode(&payload)?;
            self.oracle.receipt(&device, &receipt, &mut self.found, seed);
            if self.weather.receipt_lost > 0 && self.random.once_in(self.weather.receipt_lost) {
                continue;
            }
            let message = Message { connection, channel: proto::Channel::Receipt, payload };
            let when = self.network.send_down(connection, self.now, self.weather, &mut self.random);
            if let Some(when) = when {
                self.plan(when, What::Down(message));
            }
        }
        committed.acknowledged.into_iter().for_each(|connection| self.acknowledge(connection));
        Ok(())
    }
}
