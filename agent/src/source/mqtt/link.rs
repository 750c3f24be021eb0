//! The connection to a broker: TCP, or TLS over it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Settings;
use crate::source::{BadSetting, SourceClock};
use crate::unusable::explained;

/// How long the connection may take to be made, the handshake included.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// How long what is written may take to be taken.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// One connection. Dropping it closes it.
pub(super) enum Link {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Link {
    /// Connects. Fails with what is wrong and what to do.
    pub(super) async fn open(settings: &Settings, tls: Option<&Arc<ClientConfig>>) -> Result<Self, String> {
        let connecting = async {
            let stream = TcpStream::connect((settings.host.as_str(), settings.port())).await;
            let stream = stream.map_err(|error| format!("cannot connect: {error}; check `host` and `port`"))?;
            // Acknowledgements are short; where it cannot be set they are merely slower.
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
            let name = ServerName::try_from(settings.host.clone()).map_err(|_| "`host` is no name for TLS")?;
            let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
            let stream = stream.map_err(|error| {
                format!("no TLS: {error}; check `port`, `authority_file` and the names in the broker's certificate")
            })?;
            Ok(Self::Tls(Box::new(stream)))
        };
        let late = || format!("does not answer for {} s; check `host` and `port`", CONNECT_TIME.as_secs());
        timeout(CONNECT_TIME, connecting).await.unwrap_or_else(|_| Err(late()))
    }

    /// Waits for bytes. It may be dropped while waiting; nothing is lost then.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let read = match self {
            Self::Plain(stream) => stream.read(buffer).await,
            Self::Tls(stream) => stream.read(buffer).await,
        };
        match read {
            Ok(0) => Err("the broker closed the connection; does another client have this `client_id`?".into()),
            Ok(count) => Ok(count),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Gives `bytes` to the system, which sends them.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let write = async {
            match self {
                Self::Plain(stream) => stream.write_all(bytes).await,
                Self::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
            }
        };
        match timeout(WRITE_TIME, write).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err(format!("takes no bytes for {} s", WRITE_TIME.as_secs())),
        }
    }
}

/// How TLS is set up, where it is: the configured authorities and no other, judged by the source's clock.
///
/// # Errors
/// [`BadSetting`] for a file that cannot be used.
pub(super) fn tls(settings: &Settings, clock: &SourceClock) -> Result<Option<Arc<ClientConfig>>, BadSetting> {
    let Some(authority) = &settings.authority_file else { return Ok(None) };
    let bad = |field: &str, error: &(dyn std::error::Error + 'static)| {
        let missing = "put the broker's file there, for the agent's user to read";
        BadSetting::new(field, format!("cannot be used: {}", explained(error, missing)))
    };
    let mut trusted = RootCertStore::empty();
    for certificate in certs::read_certificates(authority).map_err(|error| bad("authority_file", &error))? {
        trusted.add(certificate).map_err(|error| bad("authority_file", &error))?;
    }
    if trusted.is_empty() {
        return Err(BadSetting::new("authority_file", "has no certificate; it is to be PEM"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Time(clock.clone())))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("authority_file", &error))?
        .with_root_certificates(trusted);
    let config = match (&settings.certificate_file, &settings.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certs::read_certificates(certificate).map_err(|error| bad("certificate_file", &error))?;
            let key = certs::read_private_key(key).map_err(|error| bad("key_file", &error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| bad("certificate_file", &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

/// The time by which the broker's certificate is judged.
struct Time(SourceClock);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let now = u64::try_from(self.0.wall()?.0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(now)))
    }
}
