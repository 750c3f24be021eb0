//! Who is connected, and the hand that cuts them off: one connection a device, none for a revoked certificate.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use proto::DeviceId;
use rustls::ServerConfig;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::contests::{Claim, Contests, Elsewhere};
use super::end::End;
use super::peer::Shown;
use crate::enrol::Cuts;
use crate::enrol::registry::Coming;
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
    /// they showed, and lets none of them in again: the device's own, or that of an authority below the root. They are those
    /// of the authorities' lists, and replace what the lists said before. Answers which were closed: the device, and its
    /// certificate's serial number.
    pub fn revoke(&self, serials: BTreeSet<String>) -> Vec<(DeviceId, String)> {
        let mut seats = self.0.seats();
        seats.listed = serials;
        self.0.cut_off(&mut seats)
    }

    /// Closes the connections of whoever is cut off by now, as the registry says. Answers which, as [`Control::revoke`].
    pub fn cut_off(&self) -> Vec<(DeviceId, String)> {
        self.0.cut_off(&mut self.0.seats())
    }

    /// From now on it is kept who comes and goes, for [`Control::news`].
    pub fn follow(&self) {
        self.0.seats().news.get_or_insert_default();
    }

    /// Who came and who left since this was asked last, each with its connection.
    #[must_use]
    pub fn news(&self) -> Vec<(ConnectionId, Coming)> {
        self.0.seats().news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// All gateways know by this number that `connection` of `device` is here.
    pub fn noted(&self, device: &DeviceId, connection: ConnectionId, number: i64) {
        let mut seats = self.0.seats();
        let occupant = seats.taken.get_mut(device).filter(|occupant| occupant.connection == connection);
        occupant.into_iter().for_each(|occupant| occupant.number = Some(number));
    }

    /// Another gateway says by this number that somebody came there, or left. The newer one has the place: a connection here
    /// with the same certificate and a lower number ends, as if the other had come here. Answers whether one did.
    pub fn heard(&self, number: i64, coming: &Coming) -> bool {
        let Coming { device, serial, is_there } = coming;
        let mut seats = self.0.seats();
        if !is_there {
            seats.elsewhere.left(device);
            return false;
        }
        let is_older =
            |it: &&mut Occupant| it.shown.serials.first() == Some(serial) && it.number.is_some_and(|own| own < number);
        let has_ended = seats.taken.get_mut(device).filter(is_older).is_some_and(|it| it.end(End::TakenOver));
        if has_ended {
            seats.elsewhere.came(device, serial.clone(), Instant::now());
        }
        has_ended
    }

    /// The devices that are connected, in no order.
    #[must_use]
    pub fn connected(&self) -> Vec<DeviceId> {
        self.0.seats().taken.keys().cloned().collect()
    }

    pub(super) fn new(config: Arc<ServerConfig>, cuts: Cuts) -> Self {
        Self(Arc::new(Registry { tls: RwLock::new(config), seats: Mutex::default(), cuts }))
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
    pub(super) fn enter(&self, device: &DeviceId, connection: ConnectionId, shown: Shown) -> Result<Entered, NoEntry> {
        let mut seats = self.0.seats();
        if self.0.is_revoked(&seats.listed, &shown) {
            return Err(NoEntry::Revoked);
        }
        // Who comes with another certificate, as after renewal, is no copy.
        let serial = shown.serials.first();
        let is_same = seats.elsewhere.has(device, serial)
            || seats.taken.get(device).is_some_and(|occupant| occupant.shown.serials.first() == serial);
        if is_same && let Claim::Kept { is_first } = seats.contests.claim(device, Instant::now()) {
            return Err(NoEntry::Contested { is_first });
        }
        let (kick, kicked) = oneshot::channel();
        let gone = CancellationToken::new();
        seats.tell(device, connection, &shown, true);
        seats.elsewhere.left(device);
        let occupant = Occupant { connection, shown, number: None, kick: Some(kick), gone: gone.clone() };
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
            let left = seats.taken.remove(&self.device);
            left.iter().for_each(|left| seats.tell(&self.device, self.connection, &left.shown, false));
        }
    }
}

#[derive(Debug)]
struct Registry {
    tls: RwLock<Arc<ServerConfig>>,
    seats: Mutex<Seats>,
    cuts: Cuts,
}

#[derive(Debug, Default)]
struct Seats {
    taken: HashMap<DeviceId, Occupant>,
    /// Serial numbers of what the authorities' lists revoke.
    listed: BTreeSet<String>,
    contests: Contests,
    elsewhere: Elsewhere,
    /// Who came and left, if anybody asks.
    news: Option<Vec<(ConnectionId, Coming)>>,
}

impl Seats {
    /// Keeps it for other gateways, if there are any. Of a claim nothing is told: many may show it at once.
    fn tell(&mut self, device: &DeviceId, connection: ConnectionId, shown: &Shown, is_there: bool) {
        let Some(news) = self.news.as_mut().filter(|_| shown.named.as_ref() == Some(device)) else { return };
        if news.len() >= NEWS_MAX {
            return;
        }
        let serial = shown.serials.first().cloned().unwrap_or_default();
        news.push((connection, Coming { device: device.clone(), serial, is_there }));
    }
}

/// News that wait for the database. Beyond it a certificate in use twice is noticed by the gateway that it is used at.
const NEWS_MAX: usize = 65_536;

#[derive(Debug)]
struct Occupant {
    connection: ConnectionId,
    shown: Shown,
    /// By which all gateways know of it, once they do.
    number: Option<i64>,
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

    /// Whether one of the certificates that were shown counts no more.
    fn is_revoked(&self, listed: &BTreeSet<String>, shown: &Shown) -> bool {
        let named = shown.named.as_ref().zip(shown.serials.first());
        shown.serials.iter().any(|serial| listed.contains(serial))
            || named.is_some_and(|(device, serial)| self.cuts.condemns(device, serial, shown.from))
    }

    /// Ends the connections whose certificates count no more; what they have sent and nobody has committed neither.
    fn cut_off(&self, seats: &mut Seats) -> Vec<(DeviceId, String)> {
        let Seats { taken, listed, .. } = seats;
        let mut closed = Vec::new();
        for (device, occupant) in taken.iter_mut().filter(|(_, it)| self.is_revoked(listed, &it.shown)) {
            // First, so that nothing slips by between.
            self.cuts.end(occupant.connection);
            if occupant.end(End::Revoked) {
                closed.push((device.clone(), occupant.shown.serials.first().cloned().unwrap_or_default()));
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;
    use crate::enrol::cuts::Standing;

    fn control() -> Control {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = config.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        Control::new(Arc::new(config), Cuts::default())
    }

    #[test]
    fn who_showed_a_revoked_certificate_anywhere_in_its_chain_is_cut_off_and_kept_out() {
        let control = control();
        let enter = |name: &str, serials: [&str; 2]| {
            let device: DeviceId = name.parse().unwrap();
            let serials = serials.map(str::to_owned).to_vec();
            let shown = Shown { named: Some(device.clone()), serials, from: 0 };
            control.enter(&device, ConnectionId::fresh(), shown)
        };
        let mut of_issuer = enter("a", ["07", "02"]).unwrap();
        let mut itself = enter("b", ["08", "03"]).unwrap();
        let mut other = enter("c", ["09", "03"]).unwrap();
        let closed = control.revoke(["02".to_owned(), "08".to_owned()].into());
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
        let standing = Standing { revoked: ["09".to_owned()].into(), cut: None };
        control.0.cuts.set([("c".parse().unwrap(), standing)].into());
        control.revoke(BTreeSet::new());
        assert!(enter("a", ["07", "02"]).is_ok() && matches!(enter("c", ["09", "03"]), Err(NoEntry::Revoked)));
        assert!(matches!(other.kicked.try_recv(), Ok(End::Revoked)));
    }
}
