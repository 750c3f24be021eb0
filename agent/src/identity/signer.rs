//! A private key that stays in a token (PKCS#11): it signs, and takes its time.
//!
//! rustls asks for a signature in the middle of a handshake and waits for it. A token answers after milliseconds or
//! seconds, or never. So it has a thread to itself, which does one thing after the other; whoever asks waits for at most
//! [`PATIENCE`]. And whoever asks is a connection on a thread of its own (see [`crate::uplink::place`]), so that nothing
//! else waits with it: no source, no other connection.

use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use certs::key_file::KeyFileError;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// What holds a P-256 key and signs with it.
pub trait Token: Send + 'static {
    /// Makes it ready, unless it is: the uncompressed public point (0x04, x, y), where the token knows it.
    ///
    /// # Errors
    /// When it cannot be used; the message names the setting.
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError>;

    /// The ECDSA signature of `message` with SHA-256, as r and s of 32 bytes each. Only called when it is ready.
    ///
    /// # Errors
    /// When it does not sign; it is opened anew before it is asked again.
    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], TokenError>;
}

/// Why a token does not sign.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// A setting leads nowhere.
    #[error("`uplink.key.{setting}`: {why}")]
    Setting {
        /// Which, without the table's name.
        setting: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The PIN file cannot be used.
    #[error("`uplink.key.pin_file`: {0}")]
    PinFile(Arc<KeyFileError>),
    /// It is there, and does not do what it should.
    #[error("the token does not {action}: {why}")]
    Failed {
        /// What was asked of it.
        action: &'static str,
        /// What its module says.
        why: String,
    },
    /// It does not answer.
    #[error("the token has not answered for {} s", PATIENCE.as_secs())]
    Silent,
    /// An earlier question is not answered yet.
    #[error("the token is still busy with what it was asked before")]
    Busy,
    /// Its thread has ended.
    #[error("the token's thread has ended")]
    Gone,
}

/// A handle on a token's thread, which ends with the last handle. Clones are the same handle.
#[derive(Clone, Debug)]
pub(super) struct TokenKey(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    questions: SyncSender<Question>,
    /// As the token said last.
    public: Mutex<Option<[u8; 65]>>,
}

struct Question {
    /// None: be ready.
    message: Option<Vec<u8>>,
    answer: SyncSender<Result<Answer, TokenError>>,
}

enum Answer {
    Ready(Option<[u8; 65]>),
    Signed([u8; 64]),
}

impl TokenKey {
    /// Gives `token` a thread. Nothing is asked of it yet.
    pub(super) fn new(token: impl Token) -> std::io::Result<Self> {
        // One at a time: whoever finds it busy comes again with the next connection.
        let (questions, asked) = mpsc::sync_channel(1);
        // Not waited for: a token that never answers would keep the program from ending.
        std::thread::Builder::new().name("token".to_owned()).spawn(move || serve(token, &asked))?;
        Ok(Self(Arc::new(Shared { questions, public: Mutex::default() })))
    }

    /// Waits until the token is ready, and answers whether its public key is another than before. Blocks, for at most
    /// [`PATIENCE`].
    pub(super) fn ready(&self) -> Result<bool, TokenError> {
        let Answer::Ready(public) = self.ask(None)? else { return Ok(false) };
        let mut known = self.0.public.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *known, public) != public)
    }

    fn ask(&self, message: Option<Vec<u8>>) -> Result<Answer, TokenError> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.0.questions.try_send(Question { message, answer }).map_err(|error| match error {
            TrySendError::Full(_) => TokenError::Busy,
            TrySendError::Disconnected(_) => TokenError::Gone,
        })?;
        answered.recv_timeout(PATIENCE).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => TokenError::Silent,
            mpsc::RecvTimeoutError::Disconnected => TokenError::Gone,
        })?
    }
}

/// The token's thread: one question after the other, until nobody can ask any more.
fn serve(mut token: impl Token, asked: &Receiver<Question>) {
    for Question { message, answer } in asked {
        let done = match message {
            None => token.open().map(Answer::Ready),
            Some(message) => token.open().and_then(|_| token.sign(&message)).map(Answer::Signed),
        };
        // Whoever asked may have lost patience.
        let _ = answer.send(done);
    }
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let point = (*self.0.public.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(SubjectPublicKeyInfoDer::from([P256_HEADER, &point].concat()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        match self.ask(Some(message.to_vec())) {
            Ok(Answer::Signed(pair)) => Ok(to_der(&pair)),
            Ok(Answer::Ready(_)) => Err(rustls::Error::General("the token answered another question".to_owned())),
            Err(error) => Err(rustls::Error::General(error.to_string())),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

/// An ECDSA signature as TLS wants it (RFC 3279, section 2.2.3): a sequence of two integers.
fn to_der(pair: &[u8; 64]) -> Vec<u8> {
    let (r, s) = pair.split_at(32);
    let body = [integer(r), integer(s)].concat();
    // At most 70 bytes: lengths take one byte each.
    [&[0x30, u8::try_from(body.len()).unwrap_or(u8::MAX)], body.as_slice()].concat()
}

/// A DER integer: no zeros in front but the one that keeps it positive.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count().min(big_endian.len() - 1);
    let digits = &big_endian[zeros..];
    let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
    let length = u8::try_from(sign.len() + digits.len()).unwrap_or(u8::MAX);
    [&[0x02, length], sign, digits].concat()
}

/// For a token to answer. A smart card takes a second; a handshake that takes longer than this has failed anyway.
pub const PATIENCE: Duration = Duration::from_secs(30);
const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
/// What stands before an uncompressed P-256 point to make it a SubjectPublicKeyInfo (RFC 5480).
const P256_HEADER: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[cfg(test)]
mod tests {
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
        let key = TokenKey::new(Mute(hang)).unwrap();
        let asking: Vec<_> = (0..2)
            .map(|_| {
                let key = key.clone();
                std::thread::spawn(move || key.ask(None).map(|_| ()))
            })
            .collect();
        // One that is being served and one that waits: then there is no more room.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let refused = |key: &TokenKey| {
            let (answer, _answered) = mpsc::sync_channel(1);
            key.0.questions.try_send(Question { message: None, answer }).is_err()
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
}
