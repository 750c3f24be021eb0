//! What devices are denied, as the audit trail has it. Contents of messages are none of its business.

use proto::DeviceId;

use super::Shared;
use super::connect::Refusal;
use crate::audit::entry::{Actor, Detail, Event};

/// A publish to `topic`.
pub(super) fn publish(shared: &Shared, device: &DeviceId, topic: &str, retain: bool) {
    let detail = Detail::none().text("topic", topic);
    let detail = if retain { detail.number("retain", 1) } else { detail };
    shared.auditor.denied(Event::DeniedPublish, device, detail);
}

/// A publish beyond what a device may send a second, or a pause for the same reason.
pub(super) fn quota(shared: &Shared, device: &DeviceId) {
    let why = "over its quota of packets or bytes a second";
    shared.auditor.denied(Event::DeniedPublish, device, Detail::none().text("why", why));
}

/// A subscription to `filter`.
pub(super) fn subscription(shared: &Shared, device: &DeviceId, filter: &str) {
    shared.auditor.denied(Event::DeniedSubscribe, device, Detail::none().text("filter", filter));
}

/// A connection that TLS has ended: that of a peer who shows a certificate. Who has none is anybody, and only counted.
pub(super) fn handshake(shared: &Shared, error: &std::io::Error) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(why)) = inner {
        // Without its particulars, such as times: the same again is the same. The log has them, with the serial number.
        let why = match why {
            rustls::CertificateError::ApplicationVerificationFailure => {
                "it names no device, or not one alone".to_owned()
            }
            other => format!("{other:?}").chars().take_while(char::is_ascii_alphanumeric).collect(),
        };
        let detail = Detail::none().text("why", &format!("its certificate is not accepted: {why}"));
        shared.auditor.note(Event::DeniedConnect, Actor::Gateway, None, detail);
    }
}

/// A connection whose certificate is good, of this device and with this serial number if it names one. Who is let in when
/// it tries again was denied nothing.
pub(super) fn connection(shared: &Shared, named: Option<(DeviceId, String)>, refusal: &Refusal) {
    let why = Detail::none().text("why", &refusal.to_string());
    match named {
        _ if matches!(refusal, Refusal::Busy | Refusal::Crowded) => {}
        Some((device, serial)) => {
            shared.auditor.denied(Event::DeniedConnect, &device, why.text("serial", &serial));
        }
        None => shared.auditor.note(Event::DeniedConnect, Actor::Gateway, None, why),
    }
}
