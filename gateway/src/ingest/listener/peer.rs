//! Who is at the other end, by the certificate that it showed.

use std::sync::Arc;

use proto::DeviceId;
use proto::enrol::is_claim;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;

use super::Shared;
use super::connect::{Connect, Refusal};
use crate::enrol::Claimant;

type Stream = TlsStream<TcpStream>;

/// Who a certificate says it is.
pub(super) struct Peer {
    /// The device it names; of a claim, the name of its session.
    pub(super) device: DeviceId,
    pub(super) shown: Shown,
    /// What sort of claim it is, if it is one, and its place among those that there is room for.
    pub(super) claim: Option<(Claimant, OwnedSemaphorePermit)>,
}

/// The certificates that a connection showed.
#[derive(Debug)]
pub(super) struct Shown {
    /// Whom the first names; nobody, if it is a code.
    pub(super) named: Option<DeviceId>,
    /// Their serial numbers: its own, and those of the certificates above it.
    pub(super) serials: Vec<String>,
    /// When the life of the first begins, in seconds since 1970.
    pub(super) from: i64,
}

/// The device that the certificate names, and its serial number.
pub(super) fn named(shared: &Shared, stream: &Stream) -> Option<(DeviceId, String)> {
    let leaf = stream.get_ref().1.peer_certificates()?.first()?;
    Some(((shared.identify)(leaf).ok()?, certs::identity::serial(leaf).ok()?))
}

/// The device that the certificate names, or the claim that it is. That it names one, and one alone, the handshake has seen
/// to already; whoever came by here all the same would be refused.
pub(super) fn identity(shared: &Shared, stream: &Stream, connect: &Connect) -> Result<Peer, Refusal> {
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let unsound = |error: certs::identity::IdentityError| Refusal::Identity(error.to_string());
    let (leaf, issuers) =
        certificates.split_first().ok_or_else(|| Refusal::Identity("there is no certificate".to_owned()))?;
    let serials = certificates.iter().map(|each| certs::identity::serial(each)).collect::<Result<Vec<_>, _>>();
    let serials = serials.map_err(unsound)?;
    let from = certs::life(leaf).map_or(i64::MIN, |(from, _)| from);
    let mut shown = Shown { named: None, serials, from };
    let claimant = match shared.claims.of(leaf) {
        Some(key) => Claimant::Code(key),
        None => {
            let device = (shared.identify)(leaf).map_err(Refusal::Identity)?;
            certs::identity::check_issuers(issuers.iter().map(AsRef::as_ref)).map_err(unsound)?;
            shown.named = Some(device.clone());
            match (is_claim(&device), shown.serials.first()) {
                (true, _) => Claimant::Shared(device),
                (false, Some(serial)) if is_over(leaf) => Claimant::Expired { device, serial: serial.clone() },
                (false, _) => return Ok(Peer { device, shown, claim: None }),
            }
        }
    };
    let is_expired = matches!(claimant, Claimant::Expired { .. });
    let device = connect.claim_session().map_err(|refusal| if is_expired { Refusal::Expired } else { refusal })?;
    let seat = Arc::clone(&shared.claim_seats).try_acquire_owned().map_err(|_| Refusal::Crowded)?;
    Ok(Peer { device, shown, claim: Some((claimant, seat)) })
}

/// Whether a certificate that TLS let in has expired all the same, or does just now.
fn is_over(leaf: &[u8]) -> bool {
    certs::life(leaf).is_some_and(|(_, until)| until < crate::now().0.div_euclid(1_000_000))
}
