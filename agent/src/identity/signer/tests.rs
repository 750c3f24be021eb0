//! Doubles of tokens: one that hangs, and one that signs.

use std::sync::atomic::{AtomicBool, Ordering};

use super::double::TokenDouble;
use super::*;

#[test]
fn a_signature_becomes_two_shortest_positive_integers() {
    let mut pair = [0; 64];
    assert_eq!(to_der(&pair), [0x30, 6, 2, 1, 0, 2, 1, 0]);
    (pair[31], pair[32]) = (0x7f, 0x80);
    let s = [&[2, 33, 0, 0x80][..], &[0; 31]].concat();
    assert_eq!(to_der(&pair), [&[0x30, 38, 2, 1, 0x7f], s.as_slice()].concat());
    pair = [0xff; 64];
    assert_eq!(to_der(&pair)[..4], [0x30, 70, 2, 33]);
    assert_eq!(to_der(&pair).len(), 72);
}

/// Says nothing for as long as its channel is open.
struct Mute(Receiver<()>);

impl Token for Mute {
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError> {
        let _ = self.0.recv();
        Ok(None)
    }

    fn sign(&mut self, _: &[u8]) -> Result<[u8; 64], TokenError> {
        Ok([1; 64])
    }
}

#[test]
fn a_token_that_hangs_is_asked_no_third_time_and_works_when_it_comes_to() {
    let (unhang, hang) = mpsc::sync_channel(0);
    let key = TokenKey::new("mute", Mute(hang)).unwrap();
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let key = key.clone();
            std::thread::spawn(move || key.ask(Asked::Ready).map(|_| ()))
        })
        .collect();
    // One that is being served and one that waits: then there is no more room.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let refused = |key: &TokenKey| {
        let (answer, _answered) = mpsc::sync_channel(1);
        key.0.questions.as_ref().unwrap().try_send(Question { what: Asked::Ready, answer }).is_err()
    };
    while !refused(&key) {
        assert!(std::time::Instant::now() < deadline, "it takes any number of questions");
    }
    assert!(matches!(key.ready(), Err(TokenError::Busy)));
    drop(unhang);
    for asked in asking {
        let _ = asked.join().unwrap(); // answered, or refused as busy
    }
    while key.ready().is_err() {
        assert!(std::time::Instant::now() < deadline, "it does not come to");
    }
    assert!(SigningKey::public_key(&key).is_none());
    let signer = key.choose_scheme(&[SignatureScheme::ED25519, SCHEME]).unwrap();
    assert_eq!(signer.sign(b"x").unwrap(), to_der(&[1; 64]));
    assert!(key.choose_scheme(&[SignatureScheme::ED25519]).is_none());
}

#[test]
fn a_signing_request_is_signed_by_the_key_that_it_is_about_and_only_then() {
    let token = TokenDouble::empty();
    let public = token.public();
    let key = TokenKey::new("double", token).unwrap();
    assert!(key.ready().is_ok_and(|is_news| !is_news), "it has no key yet");
    let request = key.request("meter-7").unwrap();
    // An authority takes no request that its key did not sign.
    assert_eq!(certs::authority::key_of_request(&request).unwrap(), public);
    assert!(!key.ready().unwrap(), "the same key that the request was about");
    assert_eq!(certs::authority::key_of_request(&key.request("meter-7").unwrap()).unwrap(), public);
}

/// Knows its public key, and does not sign.
struct Unwilling;

impl Token for Unwilling {
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError> {
        Ok(Some([4; 65]))
    }

    fn sign(&mut self, _: &[u8]) -> Result<[u8; 64], TokenError> {
        Err(TokenError::Failed { action: "sign", why: "it was pulled out".to_owned() })
    }
}

#[test]
fn a_token_that_does_not_sign_says_why_there_is_no_request() {
    let error = TokenKey::new("double", Unwilling).unwrap().request("meter-7").unwrap_err().to_string();
    assert!(error.contains("it was pulled out"), "{error}");
}

/// Takes its time to be let go of, and notes that it was.
struct Leisurely(Arc<AtomicBool>);

impl Drop for Leisurely {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(100));
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Token for Leisurely {
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError> {
        Ok(None)
    }

    fn sign(&mut self, _: &[u8]) -> Result<[u8; 64], TokenError> {
        Ok([1; 64])
    }
}

#[test]
fn the_last_handle_waits_until_the_token_was_let_go_of() {
    let is_gone = Arc::new(AtomicBool::new(false));
    let key = TokenKey::new("leisurely", Leisurely(Arc::clone(&is_gone))).unwrap();
    key.ready().unwrap();
    drop(key.clone());
    assert!(!is_gone.load(Ordering::SeqCst), "there is another handle");
    drop(key);
    assert!(is_gone.load(Ordering::SeqCst), "the program may end now, and with it what the token works with");
}

#[test]
fn the_last_handle_does_not_wait_for_ever_for_a_token_that_hangs() {
    let (_unhang, hang) = mpsc::sync_channel(0);
    let key = TokenKey::new("mute", Mute(hang)).unwrap();
    let (answer, _answered) = mpsc::sync_channel(1);
    key.0.questions.as_ref().unwrap().try_send(Question { what: Asked::Ready, answer }).map_err(|_| "full").unwrap();
    let began = std::time::Instant::now();
    drop(key);
    assert!((FAREWELL..PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
}
