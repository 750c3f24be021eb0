//! What each device may do with each device's topics: everything that is not its own is answered with a refusal, and
//! nothing of it is ever read or written.

use std::sync::Arc;

use harness::Pki;
use proto::{Channel, Topic};
use rustls::ClientConfig;

mod alone;
mod pairs;
mod payloads;
mod reads;
mod together;

use crate::part::{Found, Plan};
use crate::site::{NEIGHBOUR, Site, now_s, pack};

/// Names that begin like each other, and the shortest and longest there are.
const NAMES: [&str; 20] = [
    "meter",
    "meter-",
    "meter-1",
    "meter-11",
    "meter-1-",
    "1",
    "trib",
    "batch",
    "status",
    "sys",
    "share",
    "a",
    "aa",
    "0-0",
    "x--x",
    "cgm-7",
    "cgm-70",
    "receipt",
    "hello",
    "long-63-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let pki = Pki::create(&plan.folder.join("pki"));
    let site = Site::start(&plan.folder, pki.server(), None, pki.device(NEIGHBOUR))?;
    let configs: anyhow::Result<Vec<_>> = NAMES.iter().map(|name| crate::wire::config(&pki.device(name))).collect();
    let mut matrix = Matrix { site, configs: configs?, said: 0, stored: [0; NAMES.len()], found: Found::default() };
    alone::run(plan, &mut matrix)?;
    together::run(&mut matrix)?;
    reads::run(&mut matrix)?;
    let spoken = payloads::run(&mut matrix, &pki)?;
    let Matrix { site, stored, mut found, .. } = matrix;
    let mut expected: Vec<_> = NAMES.iter().map(|name| (*name).to_owned()).zip(stored).collect();
    expected.push((payloads::SENDER.to_owned(), spoken));
    found.count("rights_readings_of_their_own", usize::try_from(stored.iter().sum::<u64>())?);
    // One reading more or less than what each was let publish of its own would be a cross write.
    if let Err(error) = site.conclude(&expected) {
        found.wrong(format!("cross writes: {error:#}"));
    }
    pairs::run(plan, &mut found)?;
    Ok(found)
}

/// The gateway, its devices, and what each has been let write.
struct Matrix {
    site: Site,
    configs: Vec<Arc<ClientConfig>>,
    said: u64,
    stored: [u64; NAMES.len()],
    found: Found,
}

impl Matrix {
    fn port(&self) -> u16 {
        self.site.port()
    }

    /// A reading that nobody else has said.
    fn reading(&mut self) -> Vec<u8> {
        self.said += 1;
        pack("cell", now_s() - 200_000 + self.said, self.said)
    }

    /// One answer, of what kind, and whether it was the one due.
    fn cell(&mut self, kind: &'static str, is_right: bool, what: impl FnOnce() -> String) {
        self.found.count("rights_cells", 1);
        self.found.count(kind, 1);
        self.found.check(is_right, || format!("{kind}: {}", what()));
    }
}

/// The topic of a device's channel.
fn topic(owner: usize, channel: Channel) -> String {
    Topic::new(NAMES[owner].parse().expect("a device id"), channel).to_string()
}

/// Whether a device may publish there.
fn is_up(channel: Channel) -> bool {
    channel.direction() == proto::topic::Direction::Up
}
