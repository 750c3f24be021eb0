//! Looks again and again for claims that were made and certificates that were revoked, by whichever gateway or command.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Claims, Registry};
use crate::audit::Auditor;
use crate::audit::entry::{Actor, Detail, Event};
use crate::ingest::listener::{Control, RevokedBy};
use crate::store::Now;

/// A revocation is in force on every gateway within this, and the time of a question to the database.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Keeps `claims` and `control` at what the registry says, until `stop`. While it cannot be asked, what is known stays.
pub async fn keep(
    registry: Registry,
    claims: Claims,
    control: Control,
    auditor: Auditor,
    now: Now,
    stop: CancellationToken,
) {
    let (mut registry, mut known, mut is_failing) = (registry, None, false);
    loop {
        let look = tokio::task::spawn_blocking(move || {
            let seen = look(&mut registry, now);
            (registry, seen)
        });
        let Ok((back, seen)) = look.await else { return }; // only when the runtime ends
        registry = back;
        match seen {
            Ok((keys, revoked)) => {
                claims.set(keys.into_iter().collect());
                if known.as_ref() != Some(&revoked) {
                    for (device, serial) in control.revoke(RevokedBy::Registry, revoked.clone()) {
                        info!(device.id = %device, serial, "its certificate was revoked, and its connection ended");
                        let detail = Detail::none().text("what", "a live connection was cut").text("serial", &serial);
                        auditor.note(Event::Revoked, Actor::Gateway, Some(&device), detail);
                    }
                    known = Some(revoked);
                }
                is_failing = false;
            }
            Err(error) if !std::mem::replace(&mut is_failing, true) => {
                error!(%error, "claims and revocations cannot be read; those that are known stay");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

type Seen = (Vec<[u8; 32]>, BTreeSet<String>);

fn look(registry: &mut Registry, now: Now) -> Result<Seen, super::registry::RegistryError> {
    let now = now();
    Ok((registry.live_claims(now)?, registry.revoked(now)?.into_iter().collect()))
}
