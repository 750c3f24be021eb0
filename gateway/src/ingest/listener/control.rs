//! Who is connected, and the hand that cuts them off: one connection a device, none for a revoked certificate.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use proto::DeviceId;
use rustls::ServerConfig;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::contests::{Claim, Contests};
use super::end::End;
use crate::ingest::ConnectionId;

/// A handle on a listener's live connections. Clones are the same handle.
#[derive(Clone, Debug)]
pub struct Control(Arc<Registry>);

impl Control {
    /// Closes the device's connection. Answers whether it had one.
    pub fn disconnect(&self, device: &DeviceId) -> bool {
        self.0.seats().taken.get_mut(device).is_some_and(|occupant| occupant.end(End::Cut))
    }

    /// New connections shake hands with `config` from now on: a renewed certificate, newer revocation lists.
    pub fn set_tls(&self, config: Arc<ServerConfig>) {
        *self.0.tls.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Closes the connections that have one of `serials` (as `certs::identity::serial` writes them) among the certificates
    /// they showed, and lets none of them in again: the device's own, or that of an authority below the root. Replaces
    /// what the same source said before. Answers which were closed: the device, and its certificate's serial number.
    pub fn revoke(&self, by: RevokedBy, serials: BTreeSet<String>) -> Vec<(DeviceId, String)> {
        let mut seats = self.0.seats();
        seats.revoked.insert(by, serials);
        let Seats { taken, revoked, .. } = &mut *seats;
        let of_those = taken.iter_mut().filter(|(_, it)| is_any_revoked(revoked, &it.serials));
        let own = |it: &Occupant| it.serials.first().cloned().unwrap_or_default();
        of_those.filter_map(|(device, it)| it.end(End::Revoked).then(|| (device.clone(), own(it)))).collect()
    }

    /// The devices that are connected, in no order.
    #[must_use]
    pub fn connected(&self) -> Vec<DeviceId> {
        self.0.seats().taken.keys().cloned().collect()
    }

    pub(super) fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(Registry { tls: RwLock::new(config), seats: Mutex::default() }))
    }

    pub(super) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.tls.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A live connection of `device` lost its place to another.
    pub(super) fn contested(&self, device: &DeviceId) {
        self.0.seats().contests.lost(device, Instant::now());
    }

    /// A quiet connection of `device` lost its place to another, and answered.
    pub(super) fn answered(&self, device: &DeviceId) {
        self.0.seats().contests.answered(device, Instant::now());
    }

    /// Takes the device's seat, and ends the connection that has it.
    pub(super) fn enter(
        &self,
        device: &DeviceId,
        connection: ConnectionId,
        serials: Vec<String>,
    ) -> Result<Entered, NoEntry> {
        let mut seats = self.0.seats();
        if is_any_revoked(&seats.revoked, &serials) {
            return Err(NoEntry::Revoked);
        }
        // Who comes with another certificate, as after renewal, is no copy.
        let is_same = seats.taken.get(device).is_some_and(|occupant| occupant.serials.first() == serials.first());
        if is_same && let Claim::Kept { is_first } = seats.contests.claim(device, Instant::now()) {
            return Err(NoEntry::Contested { is_first });
        }
        let (kick, kicked) = oneshot::channel();
        let gone = CancellationToken::new();
        let occupant = Occupant { connection, serials, kick: Some(kick), gone: gone.clone() };
        let previous = seats.taken.insert(device.clone(), occupant).map(|mut previous| {
            previous.end(End::TakenOver);
            previous.gone
        });
        drop(seats);
        let seat = Seat { device: device.clone(), connection, registry: Arc::clone(&self.0), gone: gone.drop_guard() };
        Ok(Entered { seat, kicked, previous })
    }
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoEntry {
    /// A certificate among those shown is revoked.
    Revoked,
    /// Another connection has it that took it from a live one a moment ago; whether this is the first try since.
    Contested { is_first: bool },
}

/// What comes of entering.
pub(super) struct Entered {
    pub(super) seat: Seat,
    /// Why the connection must end, once it must.
    pub(super) kicked: oneshot::Receiver<End>,
    /// Done once the connection that had the seat before has ended and said so to the pipeline.
    pub(super) previous: Option<CancellationToken>,
}

/// A connection's place in the registry, until dropped.
pub(super) struct Seat {
    device: DeviceId,
    connection: ConnectionId,
    registry: Arc<Registry>,
    #[expect(dead_code, reason = "tells a successor when it is dropped")]
    gone: tokio_util::sync::DropGuard,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.registry.seats();
        if seats.taken.get(&self.device).is_some_and(|occupant| occupant.connection == self.connection) {
            seats.taken.remove(&self.device);
        }
    }
}

#[derive(Debug)]
struct Registry {
    tls: RwLock<Arc<ServerConfig>>,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: HashMap<DeviceId, Occupant>,
    revoked: HashMap<RevokedBy, BTreeSet<String>>,
    contests: Contests,
}

fn is_any_revoked(revoked: &HashMap<RevokedBy, BTreeSet<String>>, serials: &[String]) -> bool {
    serials.iter().any(|serial| revoked.values().any(|revoked| revoked.contains(serial)))
}

/// Who says that certificates are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevokedBy {
    /// The authority's revocation lists.
    Lists,
    /// The registry that all gateways share.
    Registry,
}

#[derive(Debug)]
struct Occupant {
    connection: ConnectionId,
    /// Of its certificate and of those above it that it showed.
    serials: Vec<String>,
    kick: Option<oneshot::Sender<End>>,
    gone: CancellationToken,
}

impl Occupant {
    /// Tells the connection to end, once. Answers whether it heard.
    fn end(&mut self, why: End) -> bool {
        self.kick.take().is_some_and(|kick| kick.send(why).is_ok())
    }
}

impl Registry {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    fn control() -> Control {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Control::new(Arc::new(config.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()))))
    }

    #[test]
    fn who_showed_a_revoked_certificate_anywhere_in_its_chain_is_cut_off_and_kept_out() {
        let control = control();
        let enter = |name: &str, serials: [&str; 2]| {
            let serials = serials.map(str::to_owned).to_vec();
            control.enter(&name.parse().unwrap(), ConnectionId::fresh(), serials)
        };
        let mut of_issuer = enter("a", ["07", "02"]).unwrap();
        let mut itself = enter("b", ["08", "03"]).unwrap();
        let mut other = enter("c", ["09", "03"]).unwrap();
        let closed = control.revoke(RevokedBy::Lists, ["02".to_owned(), "08".to_owned()].into());
        let closed: BTreeSet<String> =
            closed.into_iter().map(|(device, serial)| format!("{device} {serial}")).collect();
        assert_eq!(closed, BTreeSet::from(["a 07".to_owned(), "b 08".to_owned()]));
        assert!(matches!(of_issuer.kicked.try_recv(), Ok(End::Revoked)));
        assert!(matches!(itself.kicked.try_recv(), Ok(End::Revoked)));
        assert!(other.kicked.try_recv().is_err());
        for (name, serials) in [("a", ["07", "02"]), ("d", ["10", "02"]), ("b", ["08", "03"])] {
            assert!(matches!(enter(name, serials), Err(NoEntry::Revoked)), "{name}");
        }
        // What the registry says stays when the lists say otherwise.
        control.revoke(RevokedBy::Registry, ["03".to_owned()].into());
        control.revoke(RevokedBy::Lists, BTreeSet::new());
        assert!(enter("a", ["07", "02"]).is_ok() && matches!(enter("c", ["09", "03"]), Err(NoEntry::Revoked)));
    }
}
