//! Where requests for certificates are answered, one at a time, on a thread of its own: it writes files and a database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use proto::enrol::{Certificate, Enrol, EnrolRefusal, Enrolled, Issued, Outcome, is_claim};
use proto::{Channel, DeviceId, Instant, Topic};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::authority::{Authority, AuthorityError};
use super::registry::{self, Asked, Decision, Registry, RegistryError};
use super::{Claimant, Cuts, registry::fingerprint};
use crate::audit::Auditor;
use crate::audit::entry::{Actor, Detail, Entry, Event};
use crate::ingest::pipeline::CUT_OFF;
use crate::ingest::{Arrival, Link, RefusalCode, Ticket, Verdict};
use crate::store::Now;

/// Requests that wait to be answered.
const WAITING_MAX: usize = 64;
/// How soon a device that waits for the operator may ask again.
const ASK_AGAIN_S: u32 = 30;
/// How soon one may ask again where something failed.
const TRY_AGAIN_S: u32 = 10;
/// How soon one that had too many may ask again.
const TOO_MANY_S: u32 = 3_600;

/// The way to the desk. Clones are the same.
#[derive(Clone)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
    links: Links,
    cuts: Cuts,
    auditor: Auditor,
}

/// How connected devices are answered.
type Links = Arc<Mutex<HashMap<DeviceId, Link>>>;

/// A request as it came.
struct Ask {
    by: Claimant,
    session: DeviceId,
    payload: Bytes,
    ticket: Ticket,
}

/// What the desk works with.
pub struct Settings {
    /// Who issues.
    pub authority: Box<dyn Authority>,
    /// Whom devices are to trust, DER.
    pub anchors: Vec<Vec<u8>>,
    /// The public key of signed receipts.
    pub receipt_key: Option<[u8; 32]>,
    /// Who is cut off, and asks for nothing.
    pub cuts: Cuts,
}

impl Desk {
    /// Opens the desk. Its thread ends when all ways to it are dropped.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn open(
        settings: Settings,
        registry: Registry,
        auditor: Auditor,
        now: Now,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (asks, mut inbox) = mpsc::channel::<Ask>(WAITING_MAX);
        let (links, cuts) = (Links::default(), settings.cuts.clone());
        let desk = Self { asks, links: Arc::clone(&links), cuts, auditor: auditor.clone() };
        let mut clerk = Clerk { settings, registry, auditor, links, now };
        let work = move || {
            while let Some(ask) = inbox.blocking_recv() {
                clerk.answer(ask);
            }
        };
        let thread = thread::Builder::new().name("enrolment".into()).spawn(work)?;
        Ok((desk, thread))
    }

    /// A connection that may be answered from now on.
    pub fn opened(&self, link: &Link) {
        lock(&self.links).insert(link.device.clone(), link.clone());
    }

    /// It has ended, if it is still the one that is known.
    pub fn closed(&self, device: &DeviceId, connection: crate::ingest::ConnectionId) {
        let mut links = lock(&self.links);
        if links.get(device).is_some_and(|link| link.connection == connection) {
            links.remove(device);
        }
    }

    /// Hands a request in. One for which there is no room is refused, and comes again. Who is cut off is refused too, where
    /// a broker lets it in still.
    pub fn ask(&self, arrival: Arrival) {
        if self.cuts.is_over(&arrival.device, arrival.connection) {
            self.auditor.denied(Event::DeniedPublish, &arrival.device, Detail::none().text("why", CUT_OFF));
            return arrival.ticket.settle(Verdict::Refused(RefusalCode::NotAuthorized));
        }
        let by = match arrival.claim {
            Some(claimant) => claimant,
            // Behind a broker the name is all that is known.
            None if is_claim(&arrival.device) => Claimant::Shared(arrival.device.clone()),
            None => Claimant::Device,
        };
        let ask = Ask { by, session: arrival.device, payload: arrival.payload, ticket: arrival.ticket };
        if let Err(mpsc::error::TrySendError::Full(ask) | mpsc::error::TrySendError::Closed(ask)) =
            self.asks.try_send(ask)
        {
            ask.ticket.settle(Verdict::Refused(RefusalCode::QuotaExceeded));
        }
    }
}

fn lock(links: &Links) -> MutexGuard<'_, HashMap<DeviceId, Link>> {
    links.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who answers.
struct Clerk {
    settings: Settings,
    registry: Registry,
    auditor: Auditor,
    links: Links,
    now: Now,
}

impl Clerk {
    fn answer(&mut self, ask: Ask) {
        let request = match Enrol::decode(&ask.payload) {
            Ok(request) => request,
            Err(error) => {
                warn!(device.id = %ask.session, %error, "a request for a certificate could not be read");
                return ask.ticket.settle(Verdict::Refused(RefusalCode::PayloadFormatInvalid));
            }
        };
        let outcome = self.outcome(&ask, &request);
        let payload = Enrolled { nonce: request.nonce, outcome }.encode();
        let link = lock(&self.links).get(&ask.session).cloned();
        // One that has gone asks again.
        if !link.is_some_and(|link| link.send(Channel::EnrolAnswer, payload.into())) {
            info!(device.id = %ask.session, "an answer about a certificate had nobody to go to");
        }
        ask.ticket.settle(Verdict::Settled);
    }

    fn outcome(&mut self, ask: &Ask, request: &Enrol) -> Outcome {
        // Who has a certificate is who that says, and asks for nobody else.
        let device = match &ask.by {
            Claimant::Device => &ask.session,
            Claimant::Expired { device, .. } => device,
            Claimant::Code(_) | Claimant::Shared(_) => &request.device,
        };
        if is_claim(device) {
            return Outcome::Refused(EnrolRefusal::Request);
        }
        let Ok(key) = certs::authority::key_of_request(&request.request) else {
            return Outcome::Refused(EnrolRefusal::Request);
        };
        if *device != request.device {
            return self.is_another(device, &request.device, &key);
        }
        let asked = Asked { by: &ask.by, device, key: &key };
        // In this order: who is cut off after the first is not issued what was decided before it.
        let times_cut = self.registry.times_cut(device);
        let (times_cut, decision) = match times_cut.and_then(|it| Ok((it, self.registry.decide(&asked, (self.now)())?)))
        {
            Ok(decided) => decided,
            Err(error) => return later(device, &error),
        };
        match decision {
            Decision::Known(chain) => self.issued(&chain),
            Decision::Issue => match self.issue(&asked, &request.request, times_cut) {
                Ok(chain) => self.issued(&chain),
                Err(outcome) => outcome,
            },
            Decision::Waiting => {
                warn!(device.id = %device, key = fingerprint(&key), "a device waits to be allowed: see `tributary-gateway devices allow`");
                Outcome::Waiting(ASK_AGAIN_S)
            }
            Decision::TooMany => Outcome::Later(TOO_MANY_S),
            Decision::Spent => self.spent(&ask.by, device),
            Decision::NotAllowed => self.refused(device, &key, EnrolRefusal::NotAllowed),
            Decision::NoClaim => self.refused(device, &key, EnrolRefusal::Claim),
            Decision::ClaimUsed => self.refused(device, &key, EnrolRefusal::ClaimUsed),
        }
    }

    /// `device` asked to be `wanted`.
    fn is_another(&self, device: &DeviceId, wanted: &DeviceId, key: &[u8]) -> Outcome {
        let why = EnrolRefusal::OtherDevice;
        warn!(device.id = %device, %wanted, "a device asked for the certificate of another, and got none");
        // As often as the device likes: repeats are counted.
        let topic = Topic::new(device.clone(), Channel::Enrol).to_string();
        let detail = Detail::none().text("topic", &topic).text("why", &format!("it asks to be {wanted}"));
        self.auditor.denied(Event::DeniedPublish, device, detail.text("key", &fingerprint(key)));
        Outcome::Refused(why)
    }

    fn refused(&self, device: &DeviceId, key: &[u8], why: EnrolRefusal) -> Outcome {
        warn!(device.id = %device, ?why, "a certificate was refused");
        let detail = Detail::none().text("why", &format!("{why:?}")).text("key", &fingerprint(key));
        self.auditor.note(Event::Refused, Actor::Gateway, Some(device), detail);
        Outcome::Refused(why)
    }

    /// A claim that many share has made as many certificates as it may: an entry of its own for the first, and a count.
    fn spent(&self, by: &Claimant, device: &DeviceId) -> Outcome {
        if let Claimant::Shared(claim) = by {
            warn!(device.id = %device, %claim, "a shared claim has made as many certificates as it may: see `authority.claim_per_hour_max` and `authority.claim_in_all_max`");
            let why = "this shared claim has made as many certificates as it may";
            self.auditor.denied(Event::DeniedPublish, claim, Detail::none().text("why", why));
        }
        Outcome::Later(TOO_MANY_S)
    }

    /// Has the authority issue, and notes it. The PEM of the chain.
    fn issue(&mut self, asked: &Asked<'_>, request: &[u8], times_cut: i64) -> Result<Vec<u8>, Outcome> {
        let &Asked { by, device, key } = asked;
        let now = (self.now)();
        let at = UNIX_EPOCH + Duration::from_micros(now.0.try_into().unwrap_or(0));
        let issued = match self.settings.authority.issue(device, request, at) {
            Ok(issued) => issued,
            Err(AuthorityError::Request(_)) => return Err(Outcome::Refused(EnrolRefusal::Request)),
            Err(error) => return Err(later(device, &error)),
        };
        let certificate = registry::Certificate {
            serial: issued.serial,
            device: device.clone(),
            key: key.to_vec(),
            not_after: issued.not_after,
            chain: issued.chain,
        };
        let entries = entries(asked, &certificate.serial, now);
        let claim = if let Claimant::Shared(claim) = by { Some(claim) } else { None };
        let made = registry::Made { certificate: &certificate, times_cut, claim, entries: &entries };
        self.registry.keep(&made, now).map_err(|error: RegistryError| later(device, &error))?;
        self.auditor.is_written(entries.len());
        self.settings.cuts.issued(device, &certificate.serial);
        let until = jiff::Timestamp::from_microsecond(certificate.not_after.0).unwrap_or(jiff::Timestamp::MAX);
        info!(device.id = %device, serial = certificate.serial, %until, "issued a certificate");
        Ok(certificate.chain)
    }

    fn issued(&self, chain: &[u8]) -> Outcome {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(chain).map(|der| der.map(|der| Certificate(der.to_vec()))).collect();
        let Ok(chain) = chain else { return Outcome::Later(TRY_AGAIN_S) };
        let anchors = self.settings.anchors.iter().cloned().map(Certificate).collect();
        Outcome::Issued(Issued { chain, anchors, receipt_key: self.settings.receipt_key })
    }
}

/// What the audit trail says of a certificate, before anybody has it.
fn entries(asked: &Asked<'_>, serial: &str, time: Instant) -> Vec<Entry> {
    let Asked { by, device, key } = asked;
    let event = match by {
        Claimant::Device | Claimant::Expired { .. } => Event::Renewed,
        Claimant::Code(_) | Claimant::Shared(_) => Event::Issued,
    };
    let detail = Detail::none().text("serial", serial).text("key", &fingerprint(key));
    let (detail, used) = match by {
        Claimant::Expired { serial, .. } => (detail.text("expired", serial), None),
        Claimant::Shared(claim) => (detail.text("shared_claim", claim.as_str()), None),
        Claimant::Code(claim) => (detail, Some(Detail::none().text("claim", &fingerprint(claim)))),
        Claimant::Device => (detail, None),
    };
    let entry = |actor, event, detail| Entry { time, actor, event, subject: Some((*device).clone()), detail };
    let used = used.map(|detail| entry(Actor::Device((*device).clone()), Event::ClaimUsed, detail));
    std::iter::once(entry(Actor::Gateway, event, detail)).chain(used).collect()
}

fn later(device: &DeviceId, error: &dyn std::error::Error) -> Outcome {
    error!(device.id = %device, %error, "a request for a certificate could not be answered; the device asks again");
    Outcome::Later(TRY_AGAIN_S)
}

#[cfg(test)]
mod tests;
