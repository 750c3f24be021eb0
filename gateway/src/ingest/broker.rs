//! The second door: devices connect to a broker (Mosquitto, EMQX, HiveMQ, AWS IoT Core), and the gateway is one of its
//! clients.
//!
//! The gateway subscribes to all devices' topics as a member of a shared group, takes what comes at QoS 1, and
//! acknowledges each publish when the pipeline has settled it, in the order of arrival. Who a device is, the broker's
//! access list says: a publish on `trib/1/{device}/…` is that device's, so nobody else may be let publish there.
//!
//! Each connection is made anew, with a client of its own, so that nothing of a lost one leaks into the next: above
//! all no acknowledgement, for packet ids are used again. What a lost connection had not acknowledged the broker
//! delivers again, and the ledger knows it. A broker that forgets everything costs nothing, because devices free their
//! buffers by receipts.
//!
//! `client` is the seam around the MQTT client, `session` decides what a delivered message means, `devices` knows who
//! is there, `member` waits for all of it.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Intake;
use crate::enrol::Cuts;
use member::Member;

mod backoff;
mod client;
pub mod counters;
mod devices;
pub mod doctor;
mod member;
mod session;
mod settings;
pub mod tls;

pub use counters::Counters;
pub use settings::{Files, Login, Settings};

/// Reads and checks the files that `settings` name.
///
/// # Errors
/// When one is missing, unreadable, readable by others, or not what it should be.
pub fn check_files(settings: &Settings) -> anyhow::Result<()> {
    member::read_identity(settings).map(|_| ())
}

/// The door to a broker.
#[derive(Debug)]
pub struct Broker {
    settings: Settings,
    intake: Intake,
    cuts: Cuts,
    counters: Arc<Counters>,
}

impl Broker {
    /// A door that is not open yet. `intake` takes what devices send.
    #[must_use]
    pub fn new(settings: Settings, intake: Intake) -> Self {
        Self { settings, intake, cuts: Cuts::default(), counters: Arc::default() }
    }

    /// The same, which writes to nobody who is cut off.
    #[must_use]
    pub fn with_cuts(self, cuts: Cuts) -> Self {
        Self { cuts, ..self }
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Is there for the broker's devices until `stop`, whatever becomes of the broker. Then nothing more is taken in,
    /// what was taken gets its verdict within `stop_grace`, and all connections have ended when this returns. It
    /// returns early only when the pipeline has gone, or by a defect.
    pub async fn run(self, stop: CancellationToken) {
        let mut members = JoinSet::new();
        for place in 1..=self.settings.connections {
            let client_id = self.settings.client_id_of(place);
            let (settings, cuts, counters) = (self.settings.clone(), self.cuts.clone(), Arc::clone(&self.counters));
            let member = Member::new(settings, client_id, self.intake.clone(), cuts, counters);
            members.spawn(member.run(stop.clone()));
        }
        drop(self.intake);
        while let Some(ended) = members.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection to the broker failed; this is a defect, please report it");
                return; // whoever runs this notices, where a missing connection among several might go unnoticed
            }
        }
    }
}
