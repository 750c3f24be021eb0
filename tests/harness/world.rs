//! A world of one's own: a cloud, devices, an authority, a seed, and the judge over all of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cloud::Cloud;
use crate::device::{Device, Shape};
use crate::oracle::{Allowed, Ruling};
use crate::pki::{Files, Pki};

/// Everything that runs, and the seed that all chance in it comes from.
pub struct World {
    /// Where it all lies.
    pub folder: PathBuf,
    /// Who signs certificates.
    pub pki: Pki,
    /// Where all chance comes from.
    pub random: Random,
    /// The gateway and its database.
    pub cloud: Cloud,
    /// The devices.
    pub devices: Vec<Device>,
}

impl World {
    /// A cloud without devices, running.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path, seed: u64) -> Self {
        let pki = Pki::create(&folder.join("pki"));
        let cloud = Cloud::start(&folder.join("cloud"), pki.server());
        Self::around(folder, seed, pki, cloud)
    }

    /// A world around a cloud that is there.
    #[must_use]
    pub fn around(folder: &Path, seed: u64, pki: Pki, cloud: Cloud) -> Self {
        Self { folder: folder.into(), pki, random: Random::new(seed), cloud, devices: Vec::new() }
    }

    /// Adds a device that sends to the cloud; it does not run yet.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn add(&mut self, id: &str, shape: &Shape) -> &mut Device {
        let files = self.pki.device(id);
        self.add_with(id, &files, shape)
    }

    /// The same, with a certificate that is there.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn add_with(&mut self, id: &str, files: &Files, shape: &Shape) -> &mut Device {
        let folder = self.folder.join(format!("{id}-{}", self.devices.len()));
        let device = Device::new(&folder, id, self.cloud.port(), files, shape);
        self.devices.push(device);
        self.devices.last_mut().expect("it was just put there")
    }

    /// Once faults have stopped: waits until all that devices hold is settled in the cloud, and ends the agents in good
    /// order. Answers whether the backlog reached zero within `deadline`.
    ///
    /// # Errors
    /// When a database cannot be read, or an agent does not end.
    pub fn settle(&mut self, deadline: Duration) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            for device in self.devices.iter_mut().filter(|device| device.agent.process.is_none()) {
                device.start();
            }
            while !self.is_drained()? {
                if began.elapsed() > deadline {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            for device in &mut self.devices {
                device.stop()?;
            }
            // Stopping seals what was gathered meanwhile: that has to arrive too.
            if self.is_drained()? {
                return Ok(true);
            }
        }
    }

    /// Whether everything that was offered is taken in, and all that was taken in is settled in the cloud.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn is_drained(&self) -> anyhow::Result<bool> {
        for device in &self.devices {
            if !device.is_drained(&self.cloud)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same, without regard to what was appended to files since their agents started.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn is_drained_of_lines(&self) -> anyhow::Result<bool> {
        for device in &self.devices {
            if !device.input.is_line_read() || device.has_batches_in_flight(&self.cloud)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Holds the database against what was offered to all devices. The agents do not run.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn judge(&self, allowed: Allowed) -> anyhow::Result<Ruling> {
        let mut sum = Ruling::default();
        for device in &self.devices {
            sum.add(device.judge(&self.cloud, allowed)?);
        }
        Ok(sum)
    }
}

/// Xorshift (Marsaglia, 2003), seeded through splitmix so that neighbouring seeds differ.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Whether something happens that has one chance in `of`.
    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// A while between these milliseconds.
    pub fn millis(&mut self, from: u64, until: u64) -> Duration {
        Duration::from_millis(from + self.below(until - from))
    }

    /// One of `length` things.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}
