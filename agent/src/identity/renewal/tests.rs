//! The days of a certificate, by an invented clock.

use proto::enrol::{EnrolRefusal, Issued};

use super::*;
use crate::identity::signer::double::TokenDouble;

const DAY: i64 = 86_400;

/// A device with a certificate of 30 days.
struct Rig {
    folder: tempfile::TempDir,
    authority: certs::Authority,
    renewal: Renewal,
    began: Instant,
}

fn at(days: i64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + Duration::from_secs((1_790_000_000 + days * DAY).unsigned_abs())
}

fn wall(days: i64) -> Option<proto::Instant> {
    Some(proto::Instant((1_790_000_000 + days * DAY) * 1_000_000))
}

impl Rig {
    fn new() -> Self {
        Self::with(None)
    }

    /// With this key, or else one in a file.
    fn with(key: Option<Key>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = certs::Authority::create(&folder.path().join("ca"), "test", 300, at(0)).unwrap();
        let made = authority.issue_device("a", 30, at(0)).unwrap();
        std::fs::write(folder.path().join("x.crt"), &made.leaf.pem).unwrap();
        certs::key_file::create_private(&folder.path().join("x.key"), made.key_pem.as_bytes()).unwrap();
        let key = key.unwrap_or_else(|| Key::File(folder.path().join("x.key")));
        let trust = Trust::at(&folder.path().join("ca/ca.crt"), None);
        let renewal = Renewal::new(&"a".parse().unwrap(), &folder.path().join("x.crt"), &key, trust);
        Self { folder, authority, renewal, began: Instant::now() }
    }

    async fn asked(&mut self, days: i64, after: Duration) -> Option<Enrol> {
        match self.renewal.due(wall(days), self.began + after).await {
            Some(Step::Ask(message)) => Some(Enrol::decode(&message).unwrap()),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    async fn answer(&mut self, nonce: Nonce, outcome: Outcome) -> Option<Step> {
        self.renewal.answered(&Enrolled { nonce, outcome }.encode(), self.began).await
    }
}

#[tokio::test]
async fn it_is_asked_for_when_two_thirds_are_over_and_not_before_nor_without_a_clock() {
    let mut rig = Rig::new();
    assert!(rig.renewal.due(None, rig.began).await.is_none());
    assert!(rig.asked(19, LOOK_EVERY).await.is_none());
    let enrol = rig.asked(21, LOOK_EVERY * 2).await.unwrap();
    assert_eq!(enrol.device.as_str(), "a");
    assert!(rig.asked(21, LOOK_EVERY * 3).await.is_none(), "an answer may still come");
    let again = rig.asked(21, LOOK_EVERY * 2 + ASK_AGAIN).await.unwrap();
    let key = |enrol: &Enrol| certs::authority::key_of_request(&enrol.request).unwrap();
    assert_eq!(key(&again), key(&enrol), "for the same key, so that the answer is the same");
    assert_ne!(again.nonce, enrol.nonce);
}

#[tokio::test]
async fn what_is_issued_is_kept_beside_the_old_one_and_connected_with() {
    let mut rig = Rig::new();
    let enrol = rig.asked(21, Duration::ZERO).await.unwrap();
    let leaf = rig.authority.sign_request(&enrol.request, "a", 30, at(21)).unwrap();
    let issued = || {
        let chain = vec![Certificate(leaf.der.to_vec())];
        Outcome::Issued(Issued { chain, anchors: Vec::new(), receipt_key: None })
    };
    let old = std::fs::read(rig.folder.path().join("x.crt")).unwrap();
    assert_eq!(rig.answer(Nonce([0; 8]), issued()).await, None, "nobody asked that");
    assert_eq!(rig.answer(enrol.nonce, issued()).await, Some(Step::Reconnect));
    assert_eq!(std::fs::read(rig.folder.path().join("x.crt")).unwrap(), old);
    assert_eq!(std::fs::read_to_string(rig.folder.path().join("x.crt.next")).unwrap(), leaf.pem);
    // As long as it has not connected, it is tried, and no other is asked for.
    let later = rig.began + ASK_AGAIN;
    assert_eq!(rig.renewal.due(wall(22), later).await, Some(Step::Reconnect));
    assert_eq!(rig.renewal.due(wall(22), later).await, None);
}

#[tokio::test]
async fn an_answer_that_was_lost_with_its_connection_is_asked_for_over_the_next_one() {
    let mut rig = Rig::new();
    let first = rig.asked(21, Duration::ZERO).await.unwrap();
    assert!(rig.asked(21, LOOK_EVERY).await.is_none(), "it may still come");
    rig.renewal.lost();
    let second = rig.asked(21, LOOK_EVERY).await.unwrap();
    assert_ne!(first.nonce, second.nonce);
    assert_eq!(rig.answer(first.nonce, Outcome::Later(5)).await, None, "the first one's answer is nobody's");
    assert!(rig.asked(21, LOOK_EVERY * 2).await.is_none());
}

#[tokio::test]
async fn one_that_expired_before_it_connected_is_asked_for_again_for_the_same_key() {
    let mut rig = Rig::new();
    let enrol = rig.asked(21, Duration::ZERO).await.unwrap();
    let leaf = rig.authority.sign_request(&enrol.request, "a", 5, at(21)).unwrap();
    let chain = vec![Certificate(leaf.der.to_vec())];
    let issued = Outcome::Issued(Issued { chain, anchors: Vec::new(), receipt_key: None });
    assert_eq!(rig.answer(enrol.nonce, issued).await, Some(Step::Reconnect));
    assert_eq!(rig.renewal.due(wall(25), rig.began + ASK_AGAIN).await, Some(Step::Reconnect));
    let again = rig.asked(27, ASK_AGAIN + LOOK_EVERY).await.unwrap();
    let key = |enrol: &Enrol| certs::authority::key_of_request(&enrol.request).unwrap();
    assert_eq!(key(&again), key(&enrol));
}

#[tokio::test]
async fn one_that_comes_later_is_asked_for_later_and_a_no_is_heard() {
    let mut rig = Rig::new();
    let enrol = rig.asked(21, Duration::ZERO).await.unwrap();
    assert_eq!(rig.answer(enrol.nonce, Outcome::Later(5)).await, None);
    let enrol = rig.asked(21, Duration::from_secs(5)).await.unwrap();
    assert_eq!(rig.answer(enrol.nonce, Outcome::Refused(EnrolRefusal::NotAllowed)).await, None);
    assert!(rig.asked(21, Duration::from_secs(60)).await.is_none());
}

#[tokio::test]
async fn a_token_that_takes_its_time_is_not_waited_for_and_its_request_goes_out_once_it_is_signed() {
    let (unhold, hold) = std::sync::mpsc::sync_channel(0);
    let token = TokenDouble::held(hold);
    let public = token.public();
    let mut rig = Rig::with(Some(Key::in_token("double", token).unwrap()));
    let began = Instant::now();
    assert!(rig.asked(21, Duration::ZERO).await.is_none());
    assert!(rig.asked(21, Duration::from_secs(10)).await.is_none());
    assert!(began.elapsed() < MOMENT * 8, "a moment for each look, not as long as the token takes");
    drop(unhold);
    let enrol = rig.asked(21, Duration::from_secs(20)).await.expect("it has been signed by now");
    assert_eq!(certs::authority::key_of_request(&enrol.request).unwrap(), public);
    let leaf = rig.authority.sign_request(&enrol.request, "a", 30, at(21)).unwrap();
    let chain = vec![Certificate(leaf.der.to_vec())];
    let issued = Outcome::Issued(Issued { chain, anchors: Vec::new(), receipt_key: None });
    assert_eq!(rig.answer(enrol.nonce, issued).await, Some(Step::Reconnect), "the nonce that went out is the one");
}
