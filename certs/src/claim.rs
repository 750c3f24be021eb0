//! What a device has before it has a certificate: a code, told once, by which it may ask for one.
//!
//! The code itself never travels. It is the seed of an Ed25519 key (RFC 8032); the gateway keeps the public half, and
//! the device shows a certificate of that key, signed by itself. So nobody connects without a certificate, not even to
//! ask for one, and whoever reads the gateway's database learns no code.

use std::fmt;
use std::str::FromStr;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PKCS_ED25519};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Random bytes of a code: 160 bits, beyond anybody's guessing.
const BYTES: usize = 20;
/// Before the random bytes, to fill a seed, and so that no other use of the same bytes has the same key.
const DOMAIN: &[u8; 12] = b"tributary/1 ";
/// An Ed25519 private key as PKCS#8 (RFC 8410, section 7), but for its seed.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// Crockford's alphabet: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters that carry the bytes, five bits each.
const LETTERS: usize = BYTES * 8 / 5;
/// A prime below 32²: two letters that tell a slip of the pen.
const CHECK: usize = 1021;
/// Letters between two hyphens.
const GROUP: usize = 6;

/// A one-time code.
#[derive(Clone)]
pub struct Code(Zeroizing<[u8; BYTES]>);

/// Text that is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACode {
    /// Too short or too long.
    #[error("a code has {} letters and digits, and this has {found}", LETTERS + 2)]
    Length {
        /// How many there are.
        found: usize,
    },
    /// A character that no code has.
    #[error("a code has letters, digits and hyphens only, and no u")]
    Character,
    /// Its last two letters do not go with the others.
    #[error("a letter of this code is wrong, or two are swapped; compare it again")]
    Check,
}

/// A code from which no key or certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the certificate of a claim")]
pub struct ClaimError(#[source] rcgen::Error);

impl Code {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        getrandom::fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// The code for people, in groups of six.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut digits = Zeroizing::new([0_u8; LETTERS + 2]);
        let (letters, check) = digits.split_at_mut(LETTERS);
        let bit = |at: usize| self.0.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        for (place, letter) in letters.iter_mut().enumerate() {
            *letter = (0..5).fold(0, |digit, at| digit << 1 | bit(place * 5 + at));
        }
        let sum = check_of(letters);
        for (to, digit) in check.iter_mut().zip([sum / 32, sum % 32]) {
            *to = u8::try_from(digit).unwrap_or(0);
        }
        let mut text = Zeroizing::new(String::with_capacity(LETTERS + 2 + LETTERS / GROUP));
        for (place, digit) in digits.iter().enumerate() {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(ALPHABET.get(usize::from(*digit)).map_or('0', |letter| char::from(*letter)));
        }
        text
    }

    /// The public key by which the gateway knows the claim.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn public_key(&self) -> Result<[u8; 32], ClaimError> {
        let key = self.key()?;
        key.public_key_raw().try_into().map_err(|_| ClaimError(rcgen::Error::CouldNotParseKeyPair))
    }

    /// What a device shows: a certificate of the code's key, and the key.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn identity(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), ClaimError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "claim");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.self_signed(&self.key()?).map_err(ClaimError)?;
        let key = PrivatePkcs8KeyDer::from(self.pkcs8().to_vec());
        Ok((certificate.into(), PrivateKeyDer::Pkcs8(key)))
    }

    fn key(&self) -> Result<KeyPair, ClaimError> {
        let pkcs8 = self.pkcs8();
        KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()), &PKCS_ED25519)
            .map_err(ClaimError)
    }

    fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&PKCS8[..], DOMAIN, &self.0[..]].concat())
    }
}

impl FromStr for Code {
    type Err = NotACode;

    /// Small and capital letters are the same, hyphens and blanks are passed over, and what looks like a digit is one.
    fn from_str(text: &str) -> Result<Self, NotACode> {
        let mut digits = Zeroizing::new(Vec::with_capacity(LETTERS + 2));
        for letter in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ' | b'\n' | b'\r' | b'\t')) {
            digits.push(digit_of(letter.to_ascii_lowercase()).ok_or(NotACode::Character)?);
        }
        if digits.len() != LETTERS + 2 {
            return Err(NotACode::Length { found: digits.len() });
        }
        let (letters, check) = digits.split_at(LETTERS);
        if check.iter().fold(0, |sum, digit| sum * 32 + usize::from(*digit)) != check_of(letters) {
            return Err(NotACode::Check);
        }
        let mut bytes = Zeroizing::new([0_u8; BYTES]);
        for at in 0..BYTES * 8 {
            let bit = letters.get(at / 5).map_or(0, |digit| digit >> (4 - at % 5) & 1);
            if let Some(byte) = bytes.get_mut(at / 8) {
                *byte = *byte << 1 | bit;
            }
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

fn digit_of(letter: u8) -> Option<u8> {
    let letter = match letter {
        b'o' => b'0',
        b'i' | b'l' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == letter).and_then(|place| u8::try_from(place).ok())
}

/// Each letter by its place: another letter, or two that are swapped, give another sum.
fn check_of(letters: &[u8]) -> usize {
    letters.iter().zip(1..).map(|(letter, weight)| usize::from(*letter) * weight).sum::<usize>() % CHECK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_back_from_its_text_however_it_is_typed() {
        for _ in 0..100 {
            let code = Code::draw().unwrap();
            let text = code.text();
            assert_eq!(text.len(), LETTERS + 2 + 5, "{}", &*text);
            let typed = text.to_uppercase().replace('-', " ").replace('0', "O").replace('1', "l");
            for text in [&**text, typed.as_str()] {
                let read: Code = text.parse().unwrap();
                assert_eq!(*read.0, *code.0);
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_told_from_a_code() {
        let text = Code(Zeroizing::new(std::array::from_fn(|at| u8::try_from(at * 13 % 256).unwrap()))).text();
        let letters: Vec<char> = text.chars().filter(|letter| *letter != '-').collect();
        for place in 0..letters.len() {
            let mut wrong = letters.clone();
            wrong[place] = if wrong[place] == 'z' { 'y' } else { 'z' };
            assert!(wrong.iter().collect::<String>().parse::<Code>().is_err(), "letter {place}");
            let mut swapped = letters.clone();
            if place > 0 && swapped[place] != swapped[place - 1] {
                swapped.swap(place, place - 1);
                assert!(swapped.iter().collect::<String>().parse::<Code>().is_err(), "swapped at {place}");
            }
        }
        assert_eq!("abc".parse::<Code>().unwrap_err(), NotACode::Length { found: 3 });
        assert_eq!("u".repeat(34).parse::<Code>().unwrap_err(), NotACode::Character);
    }

    #[test]
    fn the_same_code_has_the_same_key_and_its_text_is_never_shown() {
        let code: Code = Code::draw().unwrap().text().parse().unwrap();
        let again: Code = code.text().parse().unwrap();
        assert_eq!(code.public_key().unwrap(), again.public_key().unwrap());
        assert_ne!(code.public_key().unwrap(), Code::draw().unwrap().public_key().unwrap());
        assert_eq!(format!("{code:?}"), "Code(…)");
    }
}
