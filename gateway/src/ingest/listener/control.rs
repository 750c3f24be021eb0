//! Who is connected, and the hand that cuts them off: one connection a device, none for a revoked certificate.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use proto::DeviceId;
use rustls::ServerConfig;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::session::End;
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

    /// Notes that a live connection of `device` lost its place to another. Answers whether that has happened
    /// [`CONTESTS`] times within [`CONTEST_SPAN`]; then it is counted anew.
    pub(super) fn is_contested(&self, device: &DeviceId) -> bool {
        let now = Instant::now();
        let mut seats = self.0.seats();
        seats.contests.retain(|_, times| times.iter().any(|time| now.duration_since(*time) < CONTEST_SPAN));
        if seats.contests.len() >= CONTESTED_DEVICES_MAX {
            return false; // so many at once are no copies of one disk
        }
        let times = seats.contests.entry(device.clone()).or_default();
        times.retain(|time| now.duration_since(*time) < CONTEST_SPAN);
        times.push(now);
        times.len() >= CONTESTS && seats.contests.remove(device).is_some()
    }

    /// Takes the device's seat, and ends the connection that has it. `None` if the certificate is revoked.
    pub(super) fn enter(&self, device: &DeviceId, connection: ConnectionId, serials: Vec<String>) -> Option<Entered> {
        let mut seats = self.0.seats();
        if is_any_revoked(&seats.revoked, &serials) {
            return None;
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
        Some(Entered { seat, kicked, previous })
    }
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
    /// When live connections lost their place, within the last [`CONTEST_SPAN`].
    contests: HashMap<DeviceId, Vec<Instant>>,
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

/// Takeovers of live connections of one device within [`CONTEST_SPAN`] that make an alarm. Two agents that kick each
/// other come to that within some ten seconds; one that moved from link to link may come to one or two.
const CONTESTS: usize = 3;
const CONTEST_SPAN: Duration = Duration::from_secs(60);
/// Devices of which such takeovers are remembered at once.
const CONTESTED_DEVICES_MAX: usize = 4_096;
