//! `[authority]`: who issues certificates to devices.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::enrol::registry::Bounds;

/// `[authority]`
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// Which.
    pub kind: AuthorityKind,
    /// Of our own: the folder that `tributary-certs init` made.
    pub path: Option<PathBuf>,
    /// Of our own: days that a device's certificate lives, 90 unless told otherwise.
    pub days: Option<u32>,
    /// Of our own: days after its end that a device's certificate is still good for asking for the next one, 30 unless told
    /// otherwise; 0: none.
    pub expired_grace_days: Option<u32>,
    /// Certificates that one claim that many share may make by a rule within an hour, 100 unless told otherwise; 0: none.
    pub claim_per_hour_max: Option<u32>,
    /// The same in all, 10 000 unless told otherwise.
    pub claim_in_all_max: Option<u32>,
    /// Hours that a request which is not made again waits for the operator, 24 unless told otherwise.
    pub waiting_hours: Option<u32>,
    /// Of AWS IoT: its settings.
    pub aws_iot: Option<AwsIot>,
}

/// Which authority it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityKind {
    /// One in a folder beside the gateway.
    #[default]
    Own,
    /// An account of Amazon's.
    AwsIot,
}

/// `[authority.aws_iot]`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct AwsIot {
    /// `eu-central-1`
    pub region: String,
    /// The policy that each certificate gets; it must be there.
    pub policy: String,
    /// The type of the things that are made; it must be there.
    pub thing_type: Option<String>,
    /// Another server than Amazon's, for tests.
    pub endpoint_url: Option<String>,
    /// Credentials as Amazon's tools write them, mode 0600; without it, those of the environment or of the machine's role.
    pub credentials_file: Option<PathBuf>,
}

/// The authority that is set, with what it needs and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuer<'a> {
    /// Our own, in this folder, for so many days.
    Own(&'a Path, u32),
    /// AWS IoT.
    AwsIot(&'a AwsIot),
}

impl Authority {
    /// Who issues.
    ///
    /// # Errors
    /// The setting that cannot work, and why.
    pub fn issuer(&self) -> Result<Issuer<'_>, (&'static str, String)> {
        let wrong = |setting, wrong: &str| Err((setting, wrong.to_owned()));
        if self.waiting_hours.is_some_and(|hours| !(1..=WAITING_HOURS_MAX).contains(&hours)) {
            return wrong("authority.waiting_hours", "must be from 1 to 720");
        }
        match (self.kind, &self.path, &self.aws_iot) {
            (AuthorityKind::Own, None, _) => {
                wrong("authority.path", "must name the folder that `tributary-certs init` made")
            }
            (AuthorityKind::Own, Some(path), _) => {
                let most = certs::authority::DEVICE_DAYS_MAX;
                let days = self.days.unwrap_or(most);
                if !(1..=most).contains(&days) {
                    return wrong("authority.days", "must be from 1 to 90");
                }
                if self.expired_grace_days.is_some_and(|days| days > EXPIRED_GRACE_DAYS_MAX) {
                    return wrong("authority.expired_grace_days", "must be from 0 to 90");
                }
                Ok(Issuer::Own(path, days))
            }
            (AuthorityKind::AwsIot, _, None) => {
                wrong("authority.aws_iot", "must be there, with `region` and `policy`, where `kind` is \"aws_iot\"")
            }
            (AuthorityKind::AwsIot, Some(_), _) => {
                wrong("authority.path", "is of an authority of our own: leave it out, or set `kind` to \"own\"")
            }
            (AuthorityKind::AwsIot, _, _) if self.days.is_some() => wrong(
                "authority.days",
                "is not ours to say: AWS IoT's certificates are valid as long as AWS says, until 2049; leave it out",
            ),
            (AuthorityKind::AwsIot, _, _) if self.expired_grace_days.is_some() => wrong(
                "authority.expired_grace_days",
                "is of an authority of our own: AWS IoT lets nobody in with a certificate that has expired; leave it out",
            ),
            (AuthorityKind::AwsIot, _, Some(aws_iot)) => aws_iot.check().map(|()| Issuer::AwsIot(aws_iot)),
        }
    }
}

impl Authority {
    /// How long after its end a device's certificate is still good for asking for the next one.
    #[must_use]
    pub fn expired_grace(&self) -> Duration {
        let days = match self.kind {
            AuthorityKind::Own => self.expired_grace_days.unwrap_or(EXPIRED_GRACE_DAYS),
            AuthorityKind::AwsIot => 0,
        };
        Duration::from_secs(u64::from(days) * 86_400)
    }
}

impl Authority {
    /// What claims that many share may do.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let usual = Bounds::default();
        let waiting = |hours: u32| Duration::from_secs(u64::from(hours) * 3_600);
        Bounds {
            per_hour_max: self.claim_per_hour_max.unwrap_or(usual.per_hour_max),
            in_all_max: self.claim_in_all_max.unwrap_or(usual.in_all_max),
            waiting: self.waiting_hours.map_or(usual.waiting, waiting),
        }
    }
}

impl AwsIot {
    /// The form of names is that of the API reference: CreateThing, AttachPolicy.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let wrong = |setting, wrong: &str| Err((setting, wrong.to_owned()));
        let is_name = |name: &str, others: &[u8]| {
            (1..=128).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
        };
        if !is_name(&self.region, b"-") {
            return wrong("authority.aws_iot.region", "should be like eu-central-1");
        }
        if !is_name(&self.policy, b"_+=,.@-") {
            return wrong("authority.aws_iot.policy", "must be the name of an AWS IoT policy, and no ARN");
        }
        if self.thing_type.as_deref().is_some_and(|name| !is_name(name, b":_-")) {
            return wrong("authority.aws_iot.thing_type", "must be 1 to 128 of [A-Za-z0-9:_-]");
        }
        let is_url = |url: &str| url.starts_with("https://") || url.starts_with("http://");
        if self.endpoint_url.as_deref().is_some_and(|url| !is_url(url)) {
            return wrong("authority.aws_iot.endpoint_url", "must begin with https://; leave it out for Amazon's own");
        }
        if cfg!(feature = "aws") {
            Ok(())
        } else {
            wrong("authority.kind", "needs a gateway that was built with `--features aws`")
        }
    }
}

/// A month.
const WAITING_HOURS_MAX: u32 = 720;
const EXPIRED_GRACE_DAYS: u32 = 30;
/// As long as revocations of expired certificates are remembered, at most.
const EXPIRED_GRACE_DAYS_MAX: u32 = 90;
