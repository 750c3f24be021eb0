//! The quiet time: everything works, and every backlog must go.

use std::collections::HashSet;

use proto::{DeviceId, Epoch};

use super::device::Device;
use super::network::{SECOND, Weather};
use super::world::World;

/// What was on its way when the quiet time began has arrived after this.
const LATELY: u64 = 120 * SECOND;

impl World {
    /// From here on everything works.
    pub(super) fn quieten(&mut self) -> anyhow::Result<()> {
        self.log.note(self.now, format_args!("quiet"));
        (self.is_quiet, self.quiet_since) = (true, self.now);
        self.weather = Weather::FAIR;
        self.commit_max = SECOND / 50;
        self.store_away_until = 0;
        self.devices.iter_mut().for_each(|device| device.offline_until = 0);
        self.start_cloud()?;
        for at in 0..self.devices.len() {
            self.start_agent(at)?;
        }
        Ok(())
    }

    /// Whether every backlog is gone, and every device that holds something was told so lately: a gateway that was put
    /// back to an earlier day is asked again by the next hello. Asks the sessions first, because that is cheap; they are
    /// not believed.
    pub(super) fn is_done(&mut self) -> anyhow::Result<bool> {
        let at_rest = |device: &Device| device.running.as_ref().is_some_and(|running| running.session.unsettled() == 0);
        if !self.devices.iter().all(at_rest) || self.cloud.is_waiting() {
            return Ok(false);
        }
        for device in self.devices.iter().filter(|device| device.told_at < self.quiet_since + LATELY) {
            if device.running.as_ref().is_some_and(|running| !running.spans.is_empty()) {
                return Ok(false);
            }
        }
        Ok(self.backlog()? == 0)
    }

    /// Batches in buffers that no receipt covers.
    pub(super) fn backlog(&self) -> anyhow::Result<u64> {
        let mut waiting = 0;
        for running in self.devices.iter().filter_map(|device| device.running.as_ref()) {
            let contents = running.buffer.contents()?;
            let open = |rows| running.marked.missing_in(rows).count();
            waiting += contents.held.iter().chain(contents.gaps.iter()).map(open).sum::<u64>();
        }
        Ok(waiting)
    }

    /// What buffers hold without a receipt, by identity.
    pub(super) fn held(&self) -> anyhow::Result<HashSet<(DeviceId, Epoch, u64)>> {
        let mut held = HashSet::new();
        for device in &self.devices {
            let Some(running) = &device.running else { continue };
            let contents = running.buffer.contents()?;
            let rows = contents.held.iter().flat_map(|rows| rows.first..=rows.last);
            let identity = |row| running.identity(row).map(|(epoch, number)| (device.name.clone(), epoch, number));
            held.extend(rows.filter_map(identity));
        }
        Ok(held)
    }
}
