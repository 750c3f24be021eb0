//! The calls, in an order in which each may be the last.

use aws_sdk_iot::Client;
use aws_sdk_iot::types::CertificateStatus;
use proto::DeviceId;
use tracing::warn;

use super::words::{in_words, is_already_there, is_missing, no_such};
use super::{AuthorityError, Settings};
use crate::enrol::authority::first_of;

/// Principals of one thing that are looked at. A device has one, or two while it goes from one to the next.
const PRINCIPALS_MAX: usize = 64;
/// As many as the service gives at once, which is more.
const PAGE: i32 = 250;

/// A client, and what it is to make.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) client: &'a Client,
    pub(super) settings: &'a Settings,
}

/// A certificate of the account.
pub(super) struct Certificate {
    pub(super) arn: String,
    pub(super) pem: String,
    status: Option<CertificateStatus>,
}

impl Account<'_> {
    /// The PEM of an active certificate for the key of `request`, attached to the thing `device` and to the policy.
    pub(super) async fn issue(&self, device: &DeviceId, request: &[u8], key: &[u8]) -> Result<String, AuthorityError> {
        self.make_thing(device).await?;
        let certificate = match self.begun(device, key).await? {
            Some(certificate) => certificate,
            None => self.make_certificate(device, request).await?,
        };
        let policy = &self.settings.policy;
        match self.client.attach_policy().policy_name(policy).target(&certificate.arn).send().await {
            Err(error) if is_missing(&error) => return Err(no_such("policy", "policy", policy)),
            attached => attached.map_err(|error| in_words("attach the policy", &error))?,
        };
        self.set(&certificate.arn, CertificateStatus::Active).await?;
        Ok(certificate.pem)
    }

    /// All certificates that the thing `device` has.
    pub(super) async fn certificates(&self, device: &DeviceId) -> Result<Vec<Certificate>, AuthorityError> {
        let listed = self.client.list_thing_principals().thing_name(device.as_str()).max_results(PAGE).send().await;
        let listed = match listed {
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            listed => listed.map_err(|error| in_words("list the thing's certificates", &error))?,
        };
        let mut found = Vec::new();
        // Others may be users of the account: they are no certificates.
        let arns = listed.principals().iter().filter(|arn| arn.contains(":cert/"));
        for arn in arns.take(PRINCIPALS_MAX) {
            let described = self.client.describe_certificate().certificate_id(id_of(arn)?).send().await;
            let described = described.map_err(|error| in_words("describe a certificate", &error))?;
            let description = described.certificate_description.ok_or(AuthorityError::Unreadable(None))?;
            let pem = description.certificate_pem.ok_or(AuthorityError::Unreadable(None))?;
            found.push(Certificate { arn: arn.clone(), pem, status: description.status });
        }
        Ok(found)
    }

    /// Revokes what `arn` names, and then takes it from its policy and its thing: that is last, because it is found there.
    pub(super) async fn revoke(&self, device: &DeviceId, arn: &str) -> Result<(), AuthorityError> {
        self.set(arn, CertificateStatus::Revoked).await?;
        let policy = &self.settings.policy;
        match self.client.detach_policy().policy_name(policy).target(arn).send().await {
            Err(error) if !is_missing(&error) => return Err(in_words("detach the policy", &error)),
            _ => {}
        }
        let detach = self.client.detach_thing_principal().thing_name(device.as_str()).principal(arn);
        match detach.send().await {
            Err(error) if !is_missing(&error) => Err(in_words("detach the certificate from its thing", &error)),
            _ => Ok(()),
        }
    }

    async fn make_thing(&self, device: &DeviceId) -> Result<(), AuthorityError> {
        let thing_type = self.settings.thing_type.clone();
        let made = self.client.create_thing().thing_name(device.as_str()).set_thing_type_name(thing_type.clone());
        match made.send().await {
            // One that is there with another type or attributes is the same device: those are the operator's.
            Err(error) if is_already_there(&error) => Ok(()),
            Err(error) if is_missing(&error) => {
                Err(no_such("thing type", "thing_type", thing_type.as_deref().unwrap_or_default()))
            }
            made => made.map(drop).map_err(|error| in_words("create the thing", &error)),
        }
    }

    /// What was made for the key before, and is good or may become so.
    async fn begun(&self, device: &DeviceId, key: &[u8]) -> Result<Option<Certificate>, AuthorityError> {
        let is_for_the_key = |certificate: &Certificate| {
            let of = first_of(&certificate.pem).ok().and_then(|der| certs::public_key(&der).map(<[u8]>::to_vec));
            let may_be = matches!(certificate.status, Some(CertificateStatus::Active | CertificateStatus::Inactive));
            may_be && of.is_some_and(|of| of == key)
        };
        Ok(self.certificates(device).await?.into_iter().find(is_for_the_key))
    }

    /// A new one, inactive, attached to the thing.
    async fn make_certificate(&self, device: &DeviceId, request: &[u8]) -> Result<Certificate, AuthorityError> {
        let request = certs::signing_request::request_pem(request);
        let create = self.client.create_certificate_from_csr().certificate_signing_request(request);
        let made = create.set_as_active(false).send().await;
        let made = made.map_err(|error| in_words("have a certificate signed", &error))?;
        let (Some(arn), Some(pem)) = (made.certificate_arn, made.certificate_pem) else {
            return Err(AuthorityError::Unreadable(None));
        };
        let attach = self.client.attach_thing_principal().thing_name(device.as_str()).principal(&arn);
        if let Err(error) = attach.send().await {
            // If it is attached after all, it cannot be deleted, and is gone on with when it is asked for again.
            if let Err(left) = self.client.delete_certificate().certificate_id(id_of(&arn)?).send().await {
                let why = in_words("delete it", &left);
                warn!(device.id = %device, arn, %why, "an inactive certificate that nobody has is left in the account");
            }
            return Err(in_words("attach the certificate to its thing", &error));
        }
        Ok(Certificate { arn, pem, status: Some(CertificateStatus::Inactive) })
    }

    async fn set(&self, arn: &str, status: CertificateStatus) -> Result<(), AuthorityError> {
        let what = format!("make a certificate {status}");
        let update = self.client.update_certificate().certificate_id(id_of(arn)?).new_status(status);
        update.send().await.map(drop).map_err(|error| in_words(&what, &error))
    }
}

/// The last part of a certificate's ARN.
fn id_of(arn: &str) -> Result<&str, AuthorityError> {
    arn.rsplit_once(":cert/").map(|(_, id)| id).ok_or(AuthorityError::Unreadable(None))
}
