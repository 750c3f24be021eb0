//! Whether the files that `[uplink]` names can be used, and are this device's: all that a run would stumble over.

use proto::DeviceId;

use super::Key;
use super::configs::{certified, verifier};
use super::receipts::ReceiptKey;
use crate::uplink::Settings;

/// What is wrong, each with its setting, its file and what to do. Opens the token where the key is in one.
#[must_use]
pub fn faults(settings: &Settings, device: &DeviceId) -> Vec<anyhow::Error> {
    let own = || -> anyhow::Result<()> {
        let key = Key::open(&settings.key)?;
        key.ready()?;
        let certified = certified(settings, &key)?;
        let name = certified.cert.first().and_then(|leaf| certs::dns_name(leaf));
        // One of AWS IoT, for one, names nobody.
        if let Some(other) = name.filter(|name| *name != device.as_str()) {
            anyhow::bail!(
                "`uplink.certificate_file`: {} is the certificate of {other}, and `device.id` is {device}; set the right one",
                settings.certificate_file.display()
            );
        }
        Ok(())
    };
    let receipts = || settings.receipt_key_file.as_deref().map_or(Ok(()), |file| ReceiptKey::read(file).map(drop));
    let whom = || Ok(verifier(&settings.authority_file).map(drop)?);
    [whom(), own(), receipts()].into_iter().filter_map(Result::err).collect()
}
