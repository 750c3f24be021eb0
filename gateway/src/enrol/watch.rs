//! Looks again and again for claims that were made and devices that were cut off, by whichever gateway or command.

use std::time::Duration;

use proto::DeviceId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::cuts::CutOff;
use super::registry::{Coming, Ear, RegistryError};
use super::{Claims, Registry};
use crate::audit::Auditor;
use crate::audit::entry::{self, Actor, Detail};
use crate::ingest::listener::Control;
use crate::ingest::{ConnectionId, Event, Intake};
use crate::store::Now;
use crate::store::postgres::unique;

/// A revocation is in force on every gateway within this, and the time of a question to the database.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who has to know.
pub struct Told {
    /// What may be shown, and by whom no more. Connections are ended and the pipeline takes nothing by it.
    pub claims: Claims,
    /// The listener's connections.
    pub control: Control,
    /// The pipeline: who is barred is not there any more, though a broker holds its connection still.
    pub intake: Intake,
    /// The trail of what was cut.
    pub auditor: Auditor,
}

/// Has `claims` know what the registry says, before anybody is let in. Blocks.
///
/// # Errors
/// The registry cannot be asked.
pub fn learn(registry: &mut Registry, claims: &Claims, now: Now) -> Result<(), RegistryError> {
    let (keys, said) = look(registry, now)?;
    claims.set(keys.into_iter().collect());
    claims.cuts().set(said);
    Ok(())
}

/// Keeps them at what the registry says, until `stop`. While it cannot be asked, what is known stays.
pub async fn keep(registry: Registry, told: Told, now: Now, stop: CancellationToken) {
    let (mut registry, mut is_failing, mut untold) = (registry, false, Vec::new());
    let mut ear = registry.is_shared().then(|| Ear::new(unique()));
    if ear.is_some() {
        told.control.follow();
    }
    loop {
        let ours = told.control.news();
        let look = tokio::task::spawn_blocking(move || {
            let seen = look(&mut registry, now);
            // What could not be told is not told later: whoever is connected elsewhere by then has been so for long.
            let met = ear.as_mut().filter(|_| seen.is_ok()).map(|ear| meet(&mut registry, ear, ours, now));
            (registry, ear, seen, met)
        });
        let Ok((back, ears, seen, met)) = look.await else { return }; // only when the runtime ends
        (registry, ear) = (back, ears);
        met.into_iter().for_each(|met| told.meet(met));
        match seen {
            Ok((keys, said)) => {
                told.claims.set(keys.into_iter().collect());
                untold.extend(told.cut(said));
                is_failing = false;
            }
            Err(error) if !std::mem::replace(&mut is_failing, true) => {
                error!(%error, "claims and revocations cannot be read; those that are known stay");
            }
            Err(_) => {}
        }
        untold.retain(|device| !told.is_told(device));
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Told {
    /// Ends what the registry has cut off since it was looked at last. Answers who is barred that was not.
    fn cut(&self, said: CutOff) -> Vec<DeviceId> {
        let Some(barred) = self.claims.cuts().set(said) else { return Vec::new() };
        for (device, serial) in self.control.cut_off() {
            info!(device.id = %device, serial, "its certificate was revoked, and its connection ended");
            let detail = Detail::none().text("what", "a live connection was cut").text("serial", &serial);
            self.auditor.note(entry::Event::Revoked, Actor::Gateway, Some(&device), detail);
        }
        barred
    }

    /// Takes in what gateways told each other.
    fn meet(&self, met: Result<Met, RegistryError>) {
        let (ours, theirs) = match met {
            Ok(met) => met,
            // The next look says so, if it is the database.
            Err(error) => return debug!(%error, "who is connected where was not told"),
        };
        for (connection, number, coming) in ours {
            self.control.noted(&coming.device, connection, number);
        }
        for (number, coming) in theirs {
            if self.control.heard(number, &coming) {
                warn!(device.id = %coming.device, "this device has come to another gateway with the same certificate; is it in use twice?");
            }
        }
    }

    /// Has the pipeline know that a device is not there any more, if it has room: a store that is away holds up nothing here.
    fn is_told(&self, device: &DeviceId) -> bool {
        let event = Event::Barred { device: device.clone() };
        !matches!(self.intake.try_send(event), Err(mpsc::error::TrySendError::Full(_)))
    }
}

/// Who came here, by which number the others know it; and who came to them.
type Met = (Vec<(ConnectionId, i64, Coming)>, Vec<(i64, Coming)>);

fn meet(
    registry: &mut Registry,
    ear: &mut Ear,
    ours: Vec<(ConnectionId, Coming)>,
    now: Now,
) -> Result<Met, RegistryError> {
    let (connections, comings): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
    let (numbers, theirs) = registry.meet(ear, &comings, now())?;
    let ours = connections.into_iter().zip(numbers).zip(comings);
    let ours =
        ours.filter(|(_, coming)| coming.is_there).map(|((connection, number), coming)| (connection, number, coming));
    Ok((ours.collect(), theirs))
}

type Seen = (Vec<[u8; 32]>, CutOff);

fn look(registry: &mut Registry, now: Now) -> Result<Seen, RegistryError> {
    let now = now();
    Ok((registry.live_claims(now)?, registry.cut_off(now)?))
}
