//! Reads what the settings name: certificates, revocation lists, passwords. What cannot be read is a finding too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use certs::files::FileError;
use certs::inspect;
use zeroize::Zeroizing;

use super::certificates::{Seen, Whose};
use super::files::Kind;
use super::finding::Finding;
use super::lists::Lists;
use super::samples::Secrets;
use crate::config::authority::AwsIot;
use crate::config::{Config, StoreKind, TimeSeries};
use crate::ingest::signing::ReceiptKey;

/// The setting that names a password of whoever changes the schema.
const MIGRATE: &str = "store.postgres.migrate_password_file";
/// No password is longer.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

/// All certificates that the settings name.
pub(super) fn certificates(config: &Config, unread: &mut Vec<Finding>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut done = BTreeSet::new();
    for (whose, path) in certificate_files(config) {
        if !done.insert(path.clone()) {
            continue;
        }
        match certs::read_certificates(&path)
            .map_err(anyhow::Error::from)
            .and_then(|chain| all_of(whose, &path, &chain))
        {
            Ok(all) => seen.extend(all),
            Err(error) => unread.push(Finding::unknown("certificates", &error)),
        }
    }
    seen
}

fn all_of(whose: Whose, path: &Path, chain: &[impl AsRef<[u8]>]) -> anyhow::Result<Vec<Seen>> {
    let each = |(place, der): (usize, &_)| {
        // Behind one's own certificate are those of who signed it.
        let whose = if whose == Whose::Own && place > 0 { Whose::Authority } else { whose };
        let facts = inspect::certificate(AsRef::<[u8]>::as_ref(der));
        let facts = facts.with_context(|| format!("read {}", path.display()))?;
        Ok(Seen { whose, place: path.display().to_string(), facts })
    };
    chain.iter().enumerate().map(each).collect()
}

fn certificate_files(config: &Config) -> Vec<(Whose, PathBuf)> {
    let mut files = vec![
        (Whose::Own, config.listener.certificate_file.clone()),
        (Whose::Authority, config.listener.authority_file.clone()),
    ];
    if let Some(folder) = authority(config) {
        let root = Some(folder.join("root.crt")).filter(|root| root.exists());
        files.extend([folder.join("ca.crt")].into_iter().chain(root).map(|path| (Whose::Authority, path)));
    }
    if let Some(broker) = &config.broker {
        let own = [&broker.certificate_file, &broker.canary_certificate_file];
        files.extend(own.into_iter().flatten().map(|path| (Whose::Own, path.clone())));
        files.extend(broker.authority_file.iter().map(|path| (Whose::Foreign, path.clone())));
    }
    let database = config.store.postgres.ca_file.iter().filter(|_| config.store.kind == StoreKind::Postgres);
    let sink = match &config.timeseries {
        Some(TimeSeries::Influx1(influx)) => influx.authority_file.as_ref(),
        Some(TimeSeries::Influx2(influx)) => influx.authority_file.as_ref(),
        Some(TimeSeries::Timestream(_)) | None => None,
    };
    files.extend(database.chain(sink).map(|path| (Whose::Foreign, path.clone())));
    files
}

/// User and group that the gateway runs as: those of the folder of its state.
pub(super) fn runs_as(config: &Config) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let state = config.audit_checkpoints();
    let folder = state.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = std::fs::metadata(folder).ok()?;
    Some((folder.uid(), folder.gid()))
}

/// The folder of our own authority.
pub(super) fn authority(config: &Config) -> Option<&Path> {
    config.authority.as_ref()?.path.as_deref()
}

/// The account that issues in its place.
fn aws_iot(config: &Config) -> Option<&AwsIot> {
    config.authority.as_ref()?.aws_iot.as_ref()
}

/// All revocation lists that the settings name.
pub(super) fn lists(config: &Config, unread: &mut Vec<Finding>) -> Lists {
    let mut read = |path: &Path| {
        let lists = certs::read_crls(path).map_err(anyhow::Error::from).and_then(|lists| {
            let each =
                |der: &_| inspect::list(AsRef::<[u8]>::as_ref(der)).map(|list| (path.display().to_string(), list));
            lists.iter().map(each).collect::<Result<Vec<_>, _>>().with_context(|| format!("read {}", path.display()))
        });
        lists.unwrap_or_else(|error| {
            unread.push(Finding::unknown("revocation", &error));
            Vec::new()
        })
    };
    let chosen = config.lists();
    let of_listener = chosen.as_ref().map(|lists| read(lists.file()));
    let beside = authority(config).into_iter().flat_map(|folder| ["ca.crl", "root.crl"].map(|name| folder.join(name)));
    let is_new = |path: &PathBuf| path.exists() && chosen.as_ref().is_none_or(|lists| lists.file() != path);
    let beside = beside.filter(is_new).flat_map(|path| read(&path)).collect();
    Lists { of_listener, beside, copy: copy_of_own(config) }
}

/// The file that the listener goes by and our own authority's list, where these are two.
fn copy_of_own(config: &Config) -> Option<(PathBuf, PathBuf)> {
    let (named, own) = (config.listener.crl_file.clone()?, config.own_list()?);
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    // One that cannot be found is said to be unreadable.
    let are_two = real(&named)? != real(&own)?;
    are_two.then_some((named, own))
}

/// All passwords and the like that the settings name: the setting, the user, the file.
fn password_files(config: &Config) -> Vec<(String, Option<String>, PathBuf)> {
    let mut files = Vec::new();
    let mut add = |setting: &str, user: Option<&String>, path: Option<&PathBuf>| {
        files.extend(path.map(|path| (setting.to_owned(), user.cloned(), path.clone())));
    };
    if let Some(broker) = &config.broker {
        add("broker.password_file", broker.username.as_ref(), broker.password_file.as_ref());
    }
    if config.store.kind == StoreKind::Postgres {
        let postgres = &config.store.postgres;
        add("store.postgres.password_file", Some(&postgres.user), postgres.password_file.as_ref());
        // It need not be where the gateway runs.
        let migrate = postgres.migrate_password_file.as_ref().filter(|path| path.exists());
        add(MIGRATE, Some(&postgres.migrate_user), migrate);
    }
    match &config.timeseries {
        Some(TimeSeries::Influx1(influx)) => {
            add("timeseries.password_file", influx.user.as_ref(), influx.password_file.as_ref());
        }
        Some(TimeSeries::Influx2(influx)) => add("timeseries.token_file", None, Some(&influx.token_file)),
        Some(TimeSeries::Timestream(_)) | None => {}
    }
    files
}

/// Passwords, keys and addresses that could be samples.
pub(super) fn secrets(config: &Config, unread: &mut Vec<Finding>) -> Secrets {
    let (mut passwords, mut others) = (Vec::new(), Vec::new());
    for (setting, user, path) in password_files(config) {
        // Who else can read it is another check's.
        match certs::files::read(&path, PASSWORD_BYTES_MAX).map(|(bytes, _)| Zeroizing::new(bytes)) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let first = text.lines().next().unwrap_or_default().trim().to_owned();
                passwords.push((setting, user, Zeroizing::new(first)));
            }
            // As it should be where another user runs `migrate`: it is that one's to look at.
            Err(error) if setting == MIGRATE && is_anothers(&error) => others.push(setting),
            Err(error) => unread.push(Finding::unknown("samples", &anyhow::Error::from(error))),
        }
    }
    let receipt_key = config.receipts.as_ref().and_then(|receipts| match ReceiptKey::read(&receipts.key_file) {
        Ok(key) => Some(key.public()),
        Err(error) => {
            unread.push(Finding::unknown("samples", &error));
            None
        }
    });
    let mut addresses = Vec::new();
    addresses.extend(config.broker.iter().map(|broker| ("broker.address".to_owned(), broker.address.clone())));
    if config.store.kind == StoreKind::Postgres {
        addresses.push(("store.postgres.host".to_owned(), config.store.postgres.host.clone()));
    }
    let url = match &config.timeseries {
        Some(TimeSeries::Influx1(influx)) => Some(&influx.url),
        Some(TimeSeries::Influx2(influx)) => Some(&influx.url),
        Some(TimeSeries::Timestream(timestream)) => timestream.endpoint_url.as_ref(),
        None => None,
    };
    addresses.extend(url.map(|url| ("timeseries.url".to_owned(), url.clone())));
    let url = aws_iot(config).and_then(|aws_iot| aws_iot.endpoint_url.clone());
    addresses.extend(url.map(|url| ("authority.aws_iot.endpoint_url".to_owned(), url)));
    Secrets { passwords, others, receipt_key, addresses }
}

/// Whether a file is there and this user may not read it.
fn is_anothers(error: &FileError) -> bool {
    matches!(error, FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
}

/// All files that the gateway goes by, and how far each is others' business.
pub(super) fn files(config_file: &Path, config: &Config) -> Vec<(PathBuf, Kind)> {
    let mut files = vec![(config_file.to_owned(), Kind::Public)];
    files.extend(certificate_files(config).into_iter().map(|(_, path)| (path, Kind::Public)));
    files.extend(config.lists().iter().map(|lists| (lists.file().to_owned(), Kind::Public)));
    let mut secret = vec![config.listener.key_file.clone(), config.audit_checkpoints()];
    secret.extend(config.receipts.iter().map(|receipts| receipts.key_file.clone()));
    secret
        .extend(config.broker.iter().flat_map(|broker| [&broker.key_file, &broker.canary_key_file]).flatten().cloned());
    secret.extend(password_files(config).into_iter().map(|(.., path)| path));
    if let Some(TimeSeries::Timestream(timestream)) = &config.timeseries {
        secret.extend(timestream.credentials_file.clone());
    }
    if let Some(folder) = authority(config) {
        secret.push(folder.join("ca.key"));
        files.extend(["index", "ca.crl"].map(|name| (folder.join(name), Kind::Public)));
    }
    secret.extend(aws_iot(config).and_then(|aws_iot| aws_iot.credentials_file.clone()));
    if config.store.kind == StoreKind::Sqlite {
        let beside = |ending: &str| PathBuf::from(format!("{}{ending}", config.store.path.display()));
        secret.extend(["", "-wal", "-shm"].map(beside));
    }
    files.extend(secret.into_iter().map(|path| (path, Kind::Secret)));
    files
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_password_is_anothers_where_reading_it_is_denied_and_for_no_other_reason() {
        let error = |kind| FileError::Io { action: "open", path: "migrate.password".into(), source: Error::from(kind) };
        assert!(is_anothers(&error(ErrorKind::PermissionDenied)));
        assert!(!is_anothers(&error(ErrorKind::Other)));
        assert!(!is_anothers(&FileError::NotAFile { path: "migrate.password".into() }));
    }
}
