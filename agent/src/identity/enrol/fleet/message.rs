//! What AWS IoT is asked, and what it says.

use std::fmt;

use anyhow::{Context, ensure};
use proto::DeviceId;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

/// Where a signing request goes. Answers come on this and `/accepted` or `/rejected`.
pub(super) const CREATE: &str = "$aws/certificates/create-from-csr/json";
/// Letters of a rejection that are told: the rest is not for us to judge.
const TOLD_MAX: usize = 300;

/// Where the template is asked for; answers likewise.
pub(super) fn provision(template: &str) -> String {
    format!("$aws/provisioning-templates/{template}/provision/json")
}

/// A request for a certificate.
pub(super) fn create_request(csr_pem: &str) -> anyhow::Result<Vec<u8>> {
    Ok(format!(r#"{{"certificateSigningRequest":{}}}"#, serde_json::to_string(csr_pem)?).into_bytes())
}

/// A request for the thing, its policy, and that the certificate be active. The parameter's name is what templates of
/// AWS's own examples have.
pub(super) fn provision_request(token: &str, device: &DeviceId) -> anyhow::Result<Vec<u8>> {
    let token = serde_json::to_string(token)?;
    let text = format!(r#"{{"certificateOwnershipToken":{token},"parameters":{{"SerialNumber":"{device}"}}}}"#);
    Ok(text.into_bytes())
}

/// All that any answer may have; what it has not is empty.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Answer {
    certificate_ownership_token: String,
    certificate_pem: String,
    /// The thing that the template made.
    pub(super) thing_name: String,
    status_code: u32,
    error_code: String,
    error_message: String,
}

impl Answer {
    pub(super) fn read(payload: &[u8]) -> anyhow::Result<Self> {
        serde_json::from_slice(payload).context("AWS IoT's answer cannot be read")
    }

    /// The token and the certificate, which is about the key that asked.
    pub(super) fn offer(self, request: &[u8]) -> anyhow::Result<(String, String)> {
        let Self { certificate_ownership_token: token, certificate_pem: certificate, .. } = self;
        let is_token = !token.is_empty() && !token.contains(char::is_control);
        ensure!(is_token, "AWS IoT offers a certificate without a token");
        ensure!(is_for(&certificate, request), "AWS IoT offers what is no certificate for this device's key");
        Ok((token, certificate))
    }

    pub(super) fn rejection(self) -> Rejection {
        Rejection { status: self.status_code, code: self.error_code, message: self.error_message }
    }
}

/// Whether the first certificate of `pem` is about the key that `request` is signed with: its very bytes are in it.
pub(super) fn is_for(pem: &str, request: &[u8]) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let key = certs::public_key(&der);
    key.is_some_and(|key| !key.is_empty() && request.windows(key.len()).any(|window| window == key))
}

/// AWS IoT said no. Its words are another's: they are told short, without control characters.
#[derive(Debug)]
pub(super) struct Rejection {
    status: u32,
    code: String,
    message: String,
}

impl Rejection {
    /// Whether the same may be taken later: too much at once (429), or something that failed at their end.
    pub(super) fn may_pass(&self) -> bool {
        self.status == 429 || !(400..500).contains(&self.status) || self.code.contains("Thrott")
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &str| text.chars().filter(|letter| !letter.is_control()).take(TOLD_MAX).collect::<String>();
        write!(f, "{} {}: {}", self.status, clean(&self.code), clean(&self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Answer {
        Answer::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn requests_are_as_the_developer_guide_shows_them() {
        let csr = String::from_utf8(create_request("-----BEGIN\nx\n").unwrap()).unwrap();
        assert_eq!(csr, r#"{"certificateSigningRequest":"-----BEGIN\nx\n"}"#);
        let thing = provision_request("a\"b", &"meter-7".parse().unwrap()).unwrap();
        let thing = String::from_utf8(thing).unwrap();
        assert_eq!(thing, r#"{"certificateOwnershipToken":"a\"b","parameters":{"SerialNumber":"meter-7"}}"#);
        assert_eq!(provision("fleet-1"), "$aws/provisioning-templates/fleet-1/provision/json");
    }

    #[test]
    fn an_offer_has_a_token_and_a_certificate_for_the_key_that_asked() {
        let folder = tempfile::tempdir().unwrap();
        let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000);
        let authority = certs::Authority::create(folder.path(), "throwaway", 60, now).unwrap();
        let request = |key: &str| certs::signing_request::request(key, "a").unwrap();
        let (own, other) = (certs::signing_request::new_key().unwrap(), certs::signing_request::new_key().unwrap());
        let pem = authority.sign_request(&request(&own), "a", 30, now).unwrap().pem;
        let answer = |token: &str, pem: &str| {
            let pem = serde_json::to_string(pem).unwrap();
            read(&format!(r#"{{"certificateOwnershipToken":"{token}","certificateId":"1","certificatePem":{pem}}}"#))
        };
        assert_eq!(answer("t", &pem).offer(&request(&own)).unwrap(), ("t".to_owned(), pem.clone()));
        assert!(answer("t", &pem).offer(&request(&other)).is_err(), "another key");
        assert!(answer("", &pem).offer(&request(&own)).is_err());
        assert!(answer("two\\nlines", &pem).offer(&request(&own)).is_err());
        assert!(answer("t", "").offer(&request(&own)).is_err());
        assert!(
            answer("t", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----").offer(&request(&own)).is_err()
        );
    }

    #[test]
    fn a_rejection_is_told_in_its_own_words_and_says_whether_it_may_pass() {
        let of = |status, code| {
            read(&format!(r#"{{"statusCode":{status},"errorCode":"{code}","errorMessage":"x\u001by"}}"#))
        };
        for (status, code, may_pass) in [
            (400, "InvalidPayload", false),
            (403, "AccessDenied", false),
            (429, "Throttled", true),
            (400, "ThrottlingException", true),
            (500, "InternalServerError", true),
            (0, "", true),
        ] {
            let rejection = of(status, code).rejection();
            assert_eq!(rejection.may_pass(), may_pass, "{rejection}");
            assert_eq!(rejection.to_string(), format!("{status} {code}: xy"));
        }
        let long = of(400, &"x".repeat(5_000)).rejection().to_string();
        assert!(long.len() < 400, "{long}");
        for text in ["", "7", "{", "{\"statusCode\":-1}", "{\"statusCode\":\"400\"}", "{\"certificatePem\":7}"] {
            assert!(Answer::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
