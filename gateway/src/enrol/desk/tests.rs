//! Who is answered what, at a real desk with a registry in a real file.

use std::time::SystemTime;

use certs::authority::Reason;
use certs::signing_request;
use proto::Nonce;
use tempfile::TempDir;

use super::super::authority::{Held, Issued as Signed};
use super::*;
use crate::audit::checkpoint::Checkpoints;
use crate::audit::{self, Keeper, chain};
use crate::ingest::{ConnectionId, Messages};
use crate::store::audit::{Ask as Question, Found, Trail as _};
use crate::store::{Side, sqlite};

const PATIENCE: Duration = Duration::from_secs(20);
const CODE: [u8; 32] = [1; 32];

/// Issues a certificate to whoever it is told to, and would be seen to do so.
struct Stamp;

impl Authority for Stamp {
    fn issue(&mut self, device: &DeviceId, _: &[u8], _: SystemTime) -> Result<Signed, AuthorityError> {
        let chain = signing_request::certificate_pem(device.as_str().as_bytes()).into_bytes();
        let not_after = proto::Instant(crate::now().0 + 90 * 86_400_000_000);
        Ok(Signed { serial: format!("{device}-1"), not_after, chain })
    }

    fn certificates(&mut self, _: &DeviceId) -> Result<Vec<Held>, AuthorityError> {
        Ok(Vec::new())
    }

    fn revoke(&mut self, _: &Held, _: Reason, _: SystemTime) -> Result<(), AuthorityError> {
        Ok(())
    }
}

struct Rig {
    folder: TempDir,
    registry: Registry,
    desk: Desk,
    keeper: Keeper,
}

impl Rig {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        let store = sqlite::Store::open(&path, crate::now).unwrap();
        let checkpoints = Checkpoints::open(&folder.path().join("gateway.audit")).unwrap();
        let trail = Box::new(store.writer.trail());
        let (auditor, keeper) = audit::start(trail, checkpoints, audit::Settings::default(), crate::now).unwrap();
        let cuts = Cuts::default();
        let settings = Settings { authority: Box::new(Stamp), anchors: Vec::new(), receipt_key: None, cuts };
        let side = || Registry::new(Side::sqlite(&path));
        let (desk, _) = Desk::open(settings, side(), auditor, crate::now).unwrap();
        Self { registry: side(), desk, keeper, folder }
    }

    /// What `by`, in a session called `session`, is answered when it asks to be `device`.
    async fn ask(&self, by: Option<Claimant>, session: &str, device: &str) -> Outcome {
        let (link, mut answers): (Link, Messages) = Link::new(id(session), ConnectionId(7));
        self.desk.opened(&link);
        let key = signing_request::new_key().unwrap();
        let request = signing_request::request(&key, device).unwrap();
        let enrol = Enrol { nonce: Nonce([9; 8]), device: id(device), request };
        let (ticket, verdict) = Ticket::new();
        self.desk.ask(Arrival {
            device: id(session),
            connection: ConnectionId(7),
            claim: by,
            channel: Channel::Enrol,
            packet_id: Some(1),
            resent: false,
            payload: enrol.encode().into(),
            ticket,
        });
        let settled = tokio::time::timeout(PATIENCE, verdict).await.unwrap().unwrap();
        assert_eq!(settled, Verdict::Settled, "it is answered, and acknowledged");
        let (channel, answer) = answers.try_recv().unwrap();
        assert_eq!(channel, Channel::EnrolAnswer);
        Enrolled::decode(&answer).unwrap().outcome
    }

    /// What the trail has in the end: events, about whom, with their details.
    fn close(self) -> Vec<(String, Option<String>, String)> {
        drop(self.desk);
        self.keeper.stop(PATIENCE);
        let mut trail = sqlite::Trail::open(&self.folder.path().join("gateway.db")).unwrap();
        let found = trail.page(&Question { after: Some(0), subject: None, entries_max: 100 }).unwrap();
        let told = |found| match found {
            Found::Link(chain::Link { event, subject, detail, .. }) => (event, subject, detail),
            other => panic!("{other:?}"),
        };
        found.into_iter().map(told).collect()
    }
}

fn id(name: &str) -> DeviceId {
    name.parse().unwrap()
}

/// The device that was issued a certificate, as the stamp signs it.
fn issued_to(outcome: &Outcome) -> Option<String> {
    let Outcome::Issued(issued) = outcome else { return None };
    Some(String::from_utf8(issued.chain.first()?.0.clone()).unwrap())
}

#[tokio::test]
async fn who_has_a_certificate_and_asks_for_anothers_is_refused_told_why_and_written_down() {
    let rig = Rig::open();
    let expired = || Claimant::Expired { device: id("a"), serial: "07".into() };
    let other = Outcome::Refused(EnrolRefusal::OtherDevice);
    assert_eq!(rig.ask(None, "a", "b").await, other, "over its own connection, or behind a broker");
    assert_eq!(rig.ask(None, "a", "b").await, other, "again");
    assert_eq!(rig.ask(Some(expired()), "claim-00112233", "b").await, other, "with a certificate that has expired");
    assert_eq!(issued_to(&rig.ask(None, "a", "a").await).as_deref(), Some("a"));
    let told = rig.close();
    let refusals: Vec<_> = told.iter().filter(|(event, ..)| event == "denied_publish").collect();
    assert_eq!(refusals.len(), 3, "each has another key: {told:?}");
    for (_, subject, detail) in refusals {
        assert_eq!(subject.as_deref(), Some("a"));
        assert!(detail.contains("it asks to be b") && detail.contains("trib/1/a/enrol"), "{detail}");
    }
    let issued: Vec<_> = told.iter().filter(|(event, ..)| event == "renewed" || event == "issued").collect();
    assert_eq!(issued.len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_code_for_one_device_gets_no_other_a_certificate() {
    let mut rig = Rig::open();
    let until = proto::Instant(crate::now().0 + 3_600_000_000);
    rig.registry.add_claim(&CODE, Some(&id("a")), crate::now(), until).unwrap();
    let code = || Some(Claimant::Code(CODE));
    assert_eq!(rig.ask(code(), "claim-00112233", "b").await, Outcome::Refused(EnrolRefusal::Claim));
    assert_eq!(issued_to(&rig.ask(code(), "claim-00112233", "a").await).as_deref(), Some("a"));
    let told = rig.close();
    let refused: Vec<_> = told.iter().filter(|(event, ..)| event == "refused").collect();
    assert!(matches!(refused[..], [(_, Some(subject), _)] if subject == "b"), "{told:?}");
}

#[tokio::test]
async fn whoever_is_refused_again_and_again_does_not_fill_the_trail() {
    let mut rig = Rig::open();
    let until = proto::Instant(crate::now().0 + 3_600_000_000);
    rig.registry.add_claim(&CODE, Some(&id("a")), crate::now(), until).unwrap();
    for _ in 0..50 {
        rig.ask(Some(Claimant::Code(CODE)), "claim-00112233", "b").await;
    }
    let told = rig.close();
    let refused = told.iter().filter(|(event, ..)| event == "refused").count();
    assert!((1..=10).contains(&refused), "{refused} entries of 50");
}
