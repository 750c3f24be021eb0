//! What is in a certificate, by role: the whole policy on one page.
//!
//! | | authority | device | server |
//! |---|---|---|---|
//! | names (SAN) | none | one DNS name, the device id | 1 to 16 host names and addresses |
//! | common name | its name | the device id, for people and for brokers that read only this | the first name, if it fits |
//! | key usage | sign certificates, sign CRLs | digital signature | digital signature |
//! | extended | none | client | server |
//! | CA | true, nothing below its leaves; a root: one authority below it | false | false |
//! | life, days | ≤ 7300; below a root ≤ 1826 and within the root's | ≤ 90 | ≤ 397 |
//!
//! Keys are P-256 and signatures ECDSA with SHA-256, everywhere.

use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};

use super::index::Role;
use super::serial::Serial;
use super::time::{DAY, MINUTE, TimeOutOfRange, UnixTime};
use crate::identity::is_device_id;

/// Days that an authority lives unless told otherwise.
pub const AUTHORITY_DAYS: u32 = 3650;
/// Days that an authority lives at most: 20 years, the life of the hardware that holds its anchor.
pub const AUTHORITY_DAYS_MAX: u32 = 7300;
/// Days that an authority below a root lives at most: five years. It is the one that works every day, so it is replaced
/// four times in the life of its root.
pub const AUTHORITY_BELOW_DAYS_MAX: u32 = 1826;
/// Days that a device's certificate lives at most: one that was copied unnoticed is of use for a quarter.
pub const DEVICE_DAYS_MAX: u32 = 90;
/// Days that a server's certificate lives at most; 398 is where browsers drew the line for
/// public authorities in 2020.
pub const SERVER_DAYS_MAX: u32 = 397;
/// Names that a server's certificate has at most; each costs bytes in every handshake.
pub const SERVER_NAMES_MAX: usize = 16;

/// A name or a life that no certificate gets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The authority's name is empty, long or unprintable.
    #[error("an authority's name is 1 to {NAME_BYTES_MAX} printable ASCII characters")]
    BadName,
    /// The device id has not the shape of one.
    #[error("{id:?} is not a device id: 1 to 63 of a-z, 0-9 and -, not beginning with -")]
    BadDevice {
        /// What was given.
        id: String,
    },
    /// A server's name is neither a host name nor an address.
    #[error("{name:?} is neither a host name in lower case nor an IP address")]
    BadServer {
        /// What was given.
        name: String,
    },
    /// A server without names, or with too many.
    #[error("a server has 1 to {SERVER_NAMES_MAX} names, not {count}")]
    NamesCount {
        /// How many were given.
        count: usize,
    },
    /// The life is none, or longer than the role allows.
    #[error("a life of {days} days is not within 1 to {days_max}")]
    BadLife {
        /// What was asked for.
        days: u32,
        /// The most that is granted.
        days_max: u32,
    },
    /// The life ends beyond what a certificate can state.
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
}

/// From the first second to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
}

impl Life {
    /// A life of exactly `days`, which began [`BACKDATED`] seconds ago.
    pub(super) fn starting(now: UnixTime, days: u32, days_max: u32) -> Result<Self, ProfileError> {
        if days == 0 || days > days_max {
            return Err(ProfileError::BadLife { days, days_max });
        }
        let not_before = now.minus(BACKDATED);
        Ok(Self { not_before, not_after: not_before.plus(u64::from(days) * DAY - 1)? })
    }
}

/// A leaf that will be issued: its names are checked.
#[derive(Debug)]
pub(super) struct Profile {
    role: Role,
    /// One role a certificate: a stolen device key must not pass for a gateway.
    usage: ExtendedKeyUsagePurpose,
    days_max: u32,
    common_name: Option<String>,
    names: Vec<SanType>,
    subject: String,
}

impl Profile {
    pub(super) fn device(id: &str) -> Result<Self, ProfileError> {
        if !is_device_id(id) {
            return Err(ProfileError::BadDevice { id: excerpt(id) });
        }
        let name = Ia5String::try_from(id).map_err(|_| ProfileError::BadDevice { id: excerpt(id) })?;
        let names = vec![SanType::DnsName(name)];
        let (role, usage, days_max) = (Role::Device, ExtendedKeyUsagePurpose::ClientAuth, DEVICE_DAYS_MAX);
        Ok(Self { role, usage, days_max, common_name: Some(id.into()), names, subject: id.into() })
    }

    pub(super) fn server(names: &[&str]) -> Result<Self, ProfileError> {
        if names.is_empty() || names.len() > SERVER_NAMES_MAX {
            return Err(ProfileError::NamesCount { count: names.len() });
        }
        let sans = names.iter().map(|name| server_name(name)).collect::<Result<_, _>>()?;
        // X.520 ends a common name at 64 characters; clients read the other names anyway.
        let common_name = names.first().filter(|name| name.len() <= NAME_BYTES_MAX).map(|name| (*name).to_owned());
        let (role, usage, days_max) = (Role::Server, ExtendedKeyUsagePurpose::ServerAuth, SERVER_DAYS_MAX);
        Ok(Self { role, usage, days_max, common_name, names: sans, subject: names.join(",") })
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn subject(&self) -> String {
        self.subject.clone()
    }

    pub(super) fn days_max(&self) -> u32 {
        self.days_max
    }

    pub(super) fn params(&self, serial: Serial, life: Life) -> CertificateParams {
        let mut params = blank(serial, life);
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.subject_alt_names.clone_from(&self.names);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.usage.clone()];
        params.use_authority_key_identifier_extension = true;
        params
    }
}

/// Where an authority stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Alone,
    Root,
    Issuing,
}

/// The authority's own certificate.
pub(super) fn authority(name: &str, serial: Serial, life: Life, tier: Tier) -> Result<CertificateParams, ProfileError> {
    is_name(name)?;
    let mut params = blank(serial, life);
    params.distinguished_name.push(DnType::CommonName, name);
    // Verifiers look a revocation list up by its issuer's name. With this no two authorities have the same one, and
    // one can take over from the other while both are trusted.
    params.distinguished_name.push(DnType::CustomDnType(SERIAL_NUMBER.into()), serial.to_string());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(match tier {
        Tier::Root => 1,
        Tier::Alone | Tier::Issuing => 0,
    }));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = tier == Tier::Issuing;
    Ok(params)
}

/// Fails unless `name` is one for an authority: 1 to 64 printable ASCII characters, for people.
pub(super) fn is_name(name: &str) -> Result<(), ProfileError> {
    let printable = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !printable || name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(ProfileError::BadName);
    }
    Ok(())
}

fn blank(serial: Serial, life: Life) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial.to_bytes()));
    params.not_before = life.not_before.date_time();
    params.not_after = life.not_after.date_time();
    params
}

fn server_name(name: &str) -> Result<SanType, ProfileError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || ProfileError::BadServer { name: excerpt(name) };
    // Labels have the shape of a device id (RFC 1123 host names), and do not end with a hyphen either. No wildcards:
    // a gateway knows its names. An all-numeric last label would be a mistyped address.
    let labels = name.split('.').all(|label| is_device_id(label) && !label.ends_with('-'));
    let numeric = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if !labels || numeric || name.len() > HOST_BYTES_MAX {
        return Err(bad());
    }
    Ia5String::try_from(name).map(SanType::DnsName).map_err(|_| bad())
}

/// The start of a text that is not what it should be, for an error message.
fn excerpt(text: &str) -> String {
    text.chars().take(HOST_BYTES_MAX).collect()
}

/// Seconds by which a life begins before it is granted. The certificate may be used at once by or towards a machine
/// whose clock is a little behind, which would otherwise call it not yet valid; five minutes is the tolerance that
/// Kerberos made customary.
pub(super) const BACKDATED: u64 = 5 * MINUTE;
/// RFC 5280, appendix A: ub-common-name.
const NAME_BYTES_MAX: usize = 64;
/// RFC 1035, section 2.3.4, in text form.
const HOST_BYTES_MAX: usize = 253;
/// X.520 serialNumber, an attribute that tells two subjects of one name apart.
const SERIAL_NUMBER: &[u64] = &[2, 5, 4, 5];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_has_exactly_its_days_and_begins_five_minutes_ago() {
        let now = UnixTime::try_from(1_000_000_u64).unwrap();
        let life = Life::starting(now, 90, 90).unwrap();
        assert_eq!(life.not_before.seconds(), 1_000_000 - 300);
        assert_eq!(life.not_after.seconds() - life.not_before.seconds() + 1, 90 * DAY);
        for days in [0, 91, u32::MAX] {
            assert_eq!(Life::starting(now, days, 90), Err(ProfileError::BadLife { days, days_max: 90 }));
        }
    }

    #[test]
    fn server_names_are_hosts_or_addresses_and_nothing_else() {
        for good in ["localhost", "gateway.example.org", "127.0.0.1", "::1", "a.b", "3com.example"] {
            assert!(Profile::server(&[good]).is_ok(), "{good}");
        }
        let long = ["a"; 128].join(".");
        for bad in ["", "*.example.org", "a..b", ".a", "a.", "-a", "a-.b", "A", "256.0.0.1", "a b", "ä", &long] {
            assert!(matches!(Profile::server(&[bad]), Err(ProfileError::BadServer { .. })), "{bad}");
        }
        assert!(matches!(Profile::server(&[]), Err(ProfileError::NamesCount { count: 0 })));
        assert!(matches!(Profile::server(&["a"; 17]), Err(ProfileError::NamesCount { count: 17 })));
    }

    #[test]
    fn a_host_name_too_long_for_a_common_name_has_none() {
        let long = format!("{}.example.org", "a".repeat(60));
        assert_eq!(Profile::server(&[&long]).unwrap().common_name, None);
    }
}
