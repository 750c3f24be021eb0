//! A key behind a PKCS#11 module: a smart card, a TPM, an HSM.
//!
//! The module is code of somebody else that runs in this process; it is named by the configuration alone. The session
//! stays open. When it fails (a token that was pulled out), it is opened anew for the next signature, with a PIN that is
//! read anew. A PIN that was refused is not tried again before its file has changed: tokens lock themselves after a few.

use std::sync::Arc;

use certs::key_file;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::signer::{Token, TokenError};
use crate::uplink::{KeyName, TokenSettings};

/// A token and the key in it, opened when it is first needed.
pub(super) struct Pkcs11Token {
    settings: TokenSettings,
    module: Option<Pkcs11>,
    open: Option<Open>,
    /// A PIN that the token refused.
    refused: Option<Zeroizing<Vec<u8>>>,
}

struct Open {
    session: Session,
    key: ObjectHandle,
    public: Option<[u8; 65]>,
}

impl Pkcs11Token {
    pub(super) fn new(settings: TokenSettings) -> Self {
        Self { settings, module: None, open: None, refused: None }
    }

    fn module(&mut self) -> Result<Pkcs11, TokenError> {
        if let Some(module) = &self.module {
            return Ok(module.clone());
        }
        let path = self.settings.module.display();
        let unusable = |error: Error| setting("module", format!("{path} cannot be used: {error}"));
        let module = Pkcs11::new(&self.settings.module).map_err(unusable)?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // By an earlier one in this process.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(unusable(error)),
        }
        self.module = Some(module.clone());
        Ok(module)
    }

    /// The one token of that label.
    fn slot(&self, module: &Pkcs11) -> Result<Slot, TokenError> {
        let label = &self.settings.token;
        let slots = module.get_slots_with_token().map_err(failed("list its slots"))?;
        let has_label = |slot: &Slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == label);
        match slots.into_iter().filter(has_label).collect::<Vec<_>>().as_slice() {
            [slot] => Ok(*slot),
            [] => Err(setting("token", format!("there is no token {label:?}; is it plugged in?"))),
            several => Err(setting("token", format!("there are {} tokens {label:?}", several.len()))),
        }
    }

    fn log_in(&mut self, module: &Pkcs11, slot: Slot, session: &Session) -> Result<(), TokenError> {
        let path = &self.settings.pin_file;
        let bytes = key_file::read_private(path).map_err(|error| TokenError::PinFile(Arc::new(error)))?;
        let wrong = |why: &str| setting("pin_file", format!("{} {why}", path.display()));
        if self.refused.as_ref() == Some(&bytes) {
            return Err(wrong("still holds the PIN that the token refused; it is not tried again"));
        }
        let info = module.get_token_info(slot).map_err(failed("say what it is"))?;
        if info.user_pin_locked() || info.user_pin_final_try() {
            return Err(wrong("is not tried: the token is locked, or has one try left, which is for a person to make"));
        }
        let pin = std::str::from_utf8(&bytes).map_err(|_| wrong("is not text"))?.trim_end_matches(['\r', '\n']);
        match session.login(UserType::User, Some(&AuthPin::new(pin.into()))) {
            // Through another session of this process.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                self.refused = Some(bytes);
                Err(wrong("does not hold the token's PIN"))
            }
            Err(error) => Err(failed("let us log in")(error)),
        }
    }

    /// What the key goes by: in the token, as a setting, and for people.
    fn name(&self) -> (Attribute, &'static str, String) {
        match &self.settings.key {
            KeyName::Label(label) => (Attribute::Label(label.clone().into_bytes()), "label", format!("{label:?}")),
            KeyName::Id(id) => (Attribute::Id(id.clone()), "id", format!("{id:02x?}")),
        }
    }

    /// The private keys of that name: one, as it should be.
    fn found(&self, session: &Session) -> Result<Vec<ObjectHandle>, TokenError> {
        let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::EC), self.name().0];
        session.find_objects(&wanted).map_err(failed("look for the key"))
    }

    /// The private key of that name, which is one of P-256, and its public half where it is there.
    fn key(&self, session: &Session) -> Result<(ObjectHandle, Option<[u8; 65]>), TokenError> {
        let (_, name, text) = self.name();
        let (key, public) = match self.found(session)?.as_slice() {
            [key] => match points(session, *key).as_slice() {
                [] => (*key, None),
                [point] => (*key, Some(*point)),
                _ => (*key, proof(session, *key).flatten()),
            },
            [] => {
                let why =
                    format!("the token has no private elliptic-curve key {text}; `tributary-agent enrol` makes one");
                return Err(setting(name, why));
            }
            several => {
                let sound: Vec<_> = several.iter().filter_map(|key| Some((*key, proof(session, *key)?))).collect();
                match sound.as_slice() {
                    [one] => *one,
                    _ => return Err(setting(name, format!("the token has {} such keys {text}", several.len()))),
                }
            }
        };
        let attributes = session.get_attributes(key, &[AttributeType::EcParams]).map_err(failed("describe the key"))?;
        match attributes.as_slice() {
            [Attribute::EcParams(curve)] if curve != P256 => {
                Err(setting(name, format!("the key {text} is on another curve than P-256")))
            }
            _ => Ok((key, public)), // a token may keep its parameters with the public key alone
        }
    }

    /// Makes a key of that name, which the token uses and does not give away.
    fn generate(&self, session: &Session) -> Result<(), TokenError> {
        let mut public = vec![Attribute::Token(true), Attribute::Verify(true), Attribute::EcParams(P256.to_vec())];
        let mut private = vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let mut both = vec![self.name().0];
        if let KeyName::Label(_) = self.settings.key {
            // The halves of a pair know each other by their id.
            let mut id = [0; 8];
            getrandom::fill(&mut id).map_err(|error| refused("make a key", &error))?;
            both.push(Attribute::Id(id.to_vec()));
        }
        public.extend_from_slice(&both);
        private.append(&mut both);
        let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private);
        made.map(|_| ()).map_err(failed("make a key"))
    }
}

/// The public keys under the id of `key`: one, unless somebody was interrupted while a pair was made.
fn points(session: &Session, key: ObjectHandle) -> Vec<[u8; 65]> {
    let id = session.get_attributes(key, &[AttributeType::Id]).ok().and_then(|mut found| found.pop());
    let Some(id) = id.filter(|id| !matches!(id, Attribute::Id(id) if id.is_empty())) else { return Vec::new() };
    let wanted = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::EC), id];
    let point = |public: ObjectHandle| match session.get_attributes(public, &[AttributeType::EcPoint]).ok()?.pop()? {
        // An octet string (PKCS#11 2.40, section 2.3.3) around the point; some leave it out.
        Attribute::EcPoint(point) => point.strip_prefix(&[0x04, 65]).unwrap_or(&point).try_into().ok(),
        _ => None,
    };
    session.find_objects(&wanted).unwrap_or_default().into_iter().filter_map(point).collect()
}

/// Whether `key` signs, and then which public key is its own. One that was never made to its end does not sign.
fn proof(session: &Session, key: ObjectHandle) -> Option<Option<[u8; 65]>> {
    let signed = session.sign(&Mechanism::Ecdsa, key, digest(&SHA256, PROOF).as_ref()).ok()?;
    let is_own =
        |point: &[u8; 65]| UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(PROOF, &signed).is_ok();
    Some(points(session, key).into_iter().find(is_own))
}

impl Token for Pkcs11Token {
    fn open(&mut self) -> Result<Option<[u8; 65]>, TokenError> {
        // A session whose token was pulled out is there still, and says so.
        if let Some(open) = self.open.take_if(|open| open.session.get_session_info().is_ok()) {
            let public = open.public;
            self.open = Some(open);
            return Ok(public);
        }
        self.open = None;
        let module = self.module()?;
        let slot = self.slot(&module)?;
        let session = module.open_ro_session(slot).map_err(failed("open a session"))?;
        self.log_in(&module, slot, &session)?;
        let (key, public) = self.key(&session)?;
        self.open = Some(Open { session, key, public });
        Ok(public)
    }

    fn make(&mut self) -> Result<[u8; 65], TokenError> {
        let module = self.module()?;
        let slot = self.slot(&module)?;
        let session = module.open_rw_session(slot).map_err(failed("open a session that writes"))?;
        self.log_in(&module, slot, &session)?;
        // One that does not sign was being made when the power went.
        if !self.found(&session)?.iter().any(|key| proof(&session, *key).is_some()) {
            self.generate(&session)?;
            self.open = None; // of what was there before
        }
        // The session is still open, so that what opens now finds itself logged in.
        let public = self.open()?;
        public.ok_or(TokenError::NoPublicKey)
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        let Some(Open { session, key, .. }) = &self.open else { return Err(TokenError::Gone) };
        // Hashed here: not every token hashes, and all sign what is hashed.
        let signed = session.sign(&Mechanism::Ecdsa, *key, digest(&SHA256, message).as_ref()).map_err(failed("sign"));
        let pair = signed.and_then(|pair| {
            let length = pair.len();
            <[u8; 64]>::try_from(pair)
                .map_err(|_| TokenError::Failed { action: "sign", why: format!("{length} bytes are no signature") })
        });
        if pair.is_err() {
            self.open = None;
        }
        pair
    }
}

fn setting(setting: &'static str, why: String) -> TokenError {
    TokenError::Setting { setting, why }
}

fn failed(action: &'static str) -> impl Fn(Error) -> TokenError {
    move |error| refused(action, &error)
}

fn refused(action: &'static str, why: &dyn std::fmt::Display) -> TokenError {
    TokenError::Failed { action, why: why.to_string() }
}

/// prime256v1 (1.2.840.10045.3.1.7), as an object identifier in DER.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// What is signed to see which key is whose. It is no handshake (RFC 8446, section 4.4.3: those begin with 64 spaces), and
/// no request.
const PROOF: &[u8] = b"tributary: which public key is the other half of this one?";
