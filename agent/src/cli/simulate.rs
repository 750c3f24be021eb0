//! `simulate`: a device made up, on standard output.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;

use crate::clock::BootClock;
use crate::source::simulate::{What, lines};

/// What to make up, and how fast.
#[derive(Debug, clap::Args)]
pub(super) struct Simulate {
    /// Whose readings
    #[arg(value_enum)]
    what: Kind,
    /// The same seed makes the same readings
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lines a second [default: 1 for a meter, one in five minutes for a person]
    #[arg(long)]
    rate: Option<f64>,
    /// How many lines; without it, until stopped
    #[arg(long)]
    count: Option<usize>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// A person with a glucose sensor
    Person,
    /// A household's electricity meter
    Meter,
}

impl Simulate {
    /// Prints a line when its time has come.
    ///
    /// # Errors
    /// When the device does not know the time, or nobody reads the lines.
    pub(super) fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let clock = BootClock::start([0; 8]);
        let start = clock.wall_clock().context("this machine does not know the time; set its clock")?;
        let (what, usual) = match self.what {
            Kind::Person => (What::Person, 1.0 / 300.0),
            Kind::Meter => (What::Meter, 1.0),
        };
        let rate = self.rate.unwrap_or(usual);
        anyhow::ensure!(rate > 0.0 && rate.is_finite(), "--rate must be more than 0");
        for (due, line) in lines(what, self.seed, start, rate).take(self.count.unwrap_or(usize::MAX)) {
            let now = clock.wall_clock().map_or(due.0, |now| now.0);
            std::thread::sleep(Duration::from_micros(u64::try_from(due.0 - now).unwrap_or(0)));
            writeln!(out, "{line}").and_then(|()| out.flush()).context("write to standard output")?;
        }
        Ok(())
    }
}
