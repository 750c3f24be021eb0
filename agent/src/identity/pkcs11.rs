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
use sha2::{Digest, Sha256};
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

    /// The private key of that name, which is one of P-256.
    fn key(&self, session: &Session) -> Result<ObjectHandle, TokenError> {
        let (attribute, name, text) = match &self.settings.key {
            KeyName::Label(label) => (Attribute::Label(label.clone().into_bytes()), "label", format!("{label:?}")),
            KeyName::Id(id) => (Attribute::Id(id.clone()), "id", format!("{id:02x?}")),
        };
        let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::EC), attribute];
        let found = session.find_objects(&wanted).map_err(failed("look for the key"))?;
        let key = match found.as_slice() {
            [key] => *key,
            [] => return Err(setting(name, format!("the token has no private elliptic-curve key {text}"))),
            several => return Err(setting(name, format!("the token has {} such keys {text}", several.len()))),
        };
        let attributes = session.get_attributes(key, &[AttributeType::EcParams]).map_err(failed("describe the key"))?;
        match attributes.as_slice() {
            [Attribute::EcParams(curve)] if curve != P256 => {
                Err(setting(name, format!("the key {text} is on another curve than P-256")))
            }
            _ => Ok(key), // a token may keep its parameters with the public key alone
        }
    }

    /// The public half, where it is there under the same id.
    fn public(session: &Session, key: ObjectHandle) -> Option<[u8; 65]> {
        let id = session.get_attributes(key, &[AttributeType::Id]).ok()?.pop()?;
        let wanted = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::EC), id];
        let public = *session.find_objects(&wanted).ok()?.first()?;
        match session.get_attributes(public, &[AttributeType::EcPoint]).ok()?.pop()? {
            // An octet string (PKCS#11 2.40, section 2.3.3) around the point; some leave it out.
            Attribute::EcPoint(point) => point.strip_prefix(&[0x04, 65]).unwrap_or(&point).try_into().ok(),
            _ => None,
        }
    }
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
        let key = self.key(&session)?;
        let public = Self::public(&session, key);
        self.open = Some(Open { session, key, public });
        Ok(public)
    }

    fn sign(&mut self, message: &[u8]) -> Result<[u8; 64], TokenError> {
        let Some(Open { session, key, .. }) = &self.open else { return Err(TokenError::Gone) };
        // Hashed here: not every token hashes, and all sign what is hashed.
        let signed = session.sign(&Mechanism::Ecdsa, *key, &Sha256::digest(message)).map_err(failed("sign"));
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
    move |error| TokenError::Failed { action, why: error.to_string() }
}

/// prime256v1 (1.2.840.10045.3.1.7), as an object identifier in DER.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
