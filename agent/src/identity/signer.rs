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
use certs::signing_request::request_by;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::keep::KeepError;

/// What holds a P-256 key and signs with it.
pub trait Token: Send + 'static {
    /// Makes it ready, unless it is: the uncompressed public point (0x04, x, y), where the token knows it.
    ///
    /// # Errors
    /// When it cannot be used; the message names the setting.
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError>;

    /// The public point of its key, which it makes where there is none yet, if it can.
    ///
    /// # Errors
    /// When it cannot be used, or has no key and makes none, or does not show the public half.
    fn make(&mut self) -> Result<[u8; 65], TokenError> {
        self.open()?.ok_or(TokenError::NoPublicKey)
    }

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
    /// Nobody can ask for a certificate without.
    #[error("the token does not show the key's public half, which a signing request needs")]
    NoPublicKey,
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
pub struct TokenKey(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    /// None at the very end alone.
    questions: Option<SyncSender<Question>>,
    /// Says nothing, and ends when the thread has let go of the token.
    ended: Mutex<Receiver<Never>>,
    /// As the token said last.
    public: Mutex<Option<[u8; 65]>>,
}

impl Drop for Shared {
    /// Waits until the token's thread has let go of the token, for at most [`FAREWELL`]. A program that ends while a module
    /// closes its session tears down what the module works with, and some crash then.
    fn drop(&mut self) {
        self.questions = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(FAREWELL);
    }
}

enum Never {}

struct Question {
    what: Asked,
    answer: SyncSender<Result<Answer, TokenError>>,
}

enum Asked {
    Ready,
    Make,
    Sign(Vec<u8>),
}

enum Answer {
    Ready(Option<[u8; 65]>),
    Signed([u8; 64]),
}

impl TokenKey {
    /// Gives `token` a thread. Nothing is asked of it yet.
    pub(super) fn new(name: &str, token: impl Token) -> std::io::Result<Self> {
        // One at a time: whoever finds it busy comes again with the next connection.
        let (questions, asked) = mpsc::sync_channel(1);
        let (at_end, ended) = mpsc::sync_channel(0);
        // Not joined: a token that never answers would keep the program from ending.
        std::thread::Builder::new().name("token".to_owned()).spawn(move || {
            let _at_end = at_end; // goes after the token
            serve(token, &asked);
        })?;
        let (questions, ended) = (Some(questions), Mutex::new(ended));
        Ok(Self(Arc::new(Shared { name: name.to_owned(), questions, ended, public: Mutex::default() })))
    }

    /// Waits until the token is ready, and answers whether its public key is another than before. Blocks, for at most
    /// [`PATIENCE`].
    pub(super) fn ready(&self) -> Result<bool, TokenError> {
        let Answer::Ready(public) = self.ask(Asked::Ready)? else { return Ok(false) };
        Ok(self.learn(public) != public)
    }

    /// A signing request for its key, made in the token where there is none, with `name` in it. Blocks, for at most twice
    /// [`PATIENCE`].
    pub(super) fn request(&self, name: &str) -> Result<Vec<u8>, KeepError> {
        let Answer::Ready(Some(public)) = self.ask(Asked::Make)? else { return Err(TokenError::NoPublicKey.into()) };
        self.learn(Some(public));
        Ok(request_by(&public, name, |message| self.signature(message))?)
    }

    /// What it is called where something is wrong with it.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Notes the public key, and answers what it was.
    fn learn(&self, public: Option<[u8; 65]>) -> Option<[u8; 65]> {
        std::mem::replace(&mut *self.0.public.lock().unwrap_or_else(PoisonError::into_inner), public)
    }

    /// In DER.
    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        match self.ask(Asked::Sign(message.to_vec()))? {
            Answer::Signed(pair) => Ok(to_der(&pair)),
            Answer::Ready(_) => Err(TokenError::Gone), // it answers what it is asked
        }
    }

    fn ask(&self, what: Asked) -> Result<Answer, TokenError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let questions = self.0.questions.as_ref().ok_or(TokenError::Gone)?;
        questions.try_send(Question { what, answer }).map_err(|error| match error {
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
    for Question { what, answer } in asked {
        let done = match what {
            Asked::Ready => token.open().map(Answer::Ready),
            Asked::Make => token.make().map(Some).map(Answer::Ready),
            Asked::Sign(message) => token.open().and_then(|_| token.sign(&message)).map(Answer::Signed),
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
        self.signature(message).map_err(|error| rustls::Error::General(error.to_string()))
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
/// For a token to be let go of at the end.
const FAREWELL: Duration = Duration::from_secs(2);
const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
/// What stands before an uncompressed P-256 point to make it a SubjectPublicKeyInfo (RFC 5480).
const P256_HEADER: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[cfg(test)]
pub(super) mod double;
#[cfg(test)]
mod tests;
