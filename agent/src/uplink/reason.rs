//! Why there is no connection to a gateway, in words that say whom it was dialled and what to do.

use std::fmt;
use std::io::{self, ErrorKind};

use rumqttc::mqttbytes::Error as PacketError;
use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError};
use rustls::{AlertDescription, CertificateError, Error as TlsFault};

/// Why there is no connection. It says all, and has no other cause behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Reason {
    words: String,
    kind: Kind,
}

/// What sort of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nobody was there, or whoever was is not to be believed.
    Unreached,
    /// The other end does not want what it was shown.
    Refused,
    /// The same, as it is with a certificate that has expired.
    Expired,
    /// The same for good: it will not want it before somebody changes a setting.
    Misnamed,
}

impl Reason {
    /// Of something that needs no more words.
    pub(crate) fn of(words: &str) -> Self {
        Self { words: words.to_owned(), kind: Kind::Unreached }
    }

    /// What the client says of a connection to `host` and `port`.
    pub(crate) fn new(error: &ConnectionError, host: &str, port: u16) -> Self {
        let place = Place { host, port };
        let (kind, words) = match error {
            ConnectionError::ConnectionRefused(ConnectReturnCode::BadClientId) => {
                (Kind::Misnamed, format!("{place} refused the client id: is `device.id` the name in the certificate?"))
            }
            ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized) => {
                let words = "does not let this device in: has its certificate expired, or been revoked?";
                (Kind::Expired, format!("{place} {words}"))
            }
            ConnectionError::ConnectionRefused(code) => (Kind::Refused, format!("{place} refused: {code:?}")),
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
                (Kind::Unreached, format!("nobody answers at {place} in time; is the address right?"))
            }
            ConnectionError::MqttState(StateError::ConnectionAborted) => (Kind::Refused, place.closed()),
            ConnectionError::Io(error)
            | ConnectionError::Tls(TlsError::Io(error))
            // What comes in, an alert too, is read as packets are.
            | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(PacketError::Io(error))) => {
                place.of_io(error)
            }
            ConnectionError::Tls(TlsError::TLS(fault)) => place.of_tls(fault),
            ConnectionError::Tls(TlsError::DNSName(_)) => {
                (Kind::Unreached, format!("`uplink.host` {host} is no name that a certificate can be for"))
            }
            other => (Kind::Unreached, format!("{place}: {other}")),
        };
        Self { words, kind }
    }

    /// Whether the other end was there, and did not want what it was shown.
    pub(crate) fn is_refusal(&self) -> bool {
        self.kind != Kind::Unreached
    }

    /// Whether that is how a gateway refuses a certificate that has expired: TLS says so, or MQTT has no right for it.
    pub(crate) fn is_unwelcome(&self) -> bool {
        self.kind == Kind::Expired
    }

    /// Whether another try is of no use before a person has changed something here.
    pub(crate) fn is_for_good(&self) -> bool {
        self.kind == Kind::Misnamed
    }
}

/// Who was dialled.
#[derive(Clone, Copy)]
struct Place<'a> {
    host: &'a str,
    port: u16,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Place<'_> {
    fn closed(self) -> String {
        format!("{self} closed the connection")
    }

    fn of_io(self, error: &io::Error) -> (Kind, String) {
        if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return self.of_tls(fault);
        }
        let host = self.host;
        match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof
            | ErrorKind::BrokenPipe => (Kind::Refused, format!("{}: {error}", self.closed())),
            // Looking up a name fails with no number of the system's.
            _ if error.raw_os_error().is_none() => (Kind::Unreached, format!("{host} is not known: {error}")),
            _ => (Kind::Unreached, format!("nobody answers at {self}: {error}")),
        }
    }

    fn of_tls(self, fault: &TlsFault) -> (Kind, String) {
        let host = self.host;
        let words = match fault {
            TlsFault::AlertReceived(alert) => {
                let expired = matches!(alert, AlertDescription::CertificateExpired);
                let kind = if expired { Kind::Expired } else { Kind::Refused };
                return (kind, format!("{self} refused the handshake: {fault}"));
            }
            TlsFault::InvalidMessage(_) => format!("{self} does not speak TLS: {fault}; is the port right?"),
            TlsFault::InvalidCertificate(wrong) => match wrong {
                CertificateError::NotValidForNameContext { presented, .. } => format!(
                    "the certificate of {self} is for {} and not for {host}; is `uplink.host` the name that the gateway's \
                     certificate was issued for?",
                    names(presented)
                ),
                CertificateError::UnknownIssuer => {
                    format!("the certificate of {self} is of no authority in `uplink.authority_file`: {fault}")
                }
                CertificateError::ExpiredContext { .. } | CertificateError::NotValidYetContext { .. } => {
                    format!("the certificate of {self} is not valid now, or the clock here is wrong")
                }
                _ => format!("the certificate of {self} cannot be used: {fault}"),
            },
            _ => format!("no TLS with {self}: {fault}"),
        };
        (Kind::Unreached, words)
    }
}

/// The names of a certificate as people know them: the library says of each what sort of a name it is, with quotes.
fn names(presented: &[String]) -> String {
    let plain = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name));
    let all = plain.collect::<Vec<_>>().join(", ");
    if all.is_empty() { "nobody".to_owned() } else { all }
}

#[cfg(test)]
pub(crate) mod tests;
