//! Whom the agent trusts when it asks a site, and what a failed handshake means.
//!
//! The system's own list of authorities is used, not one that is built in: it is renewed, and authorities that failed
//! are taken out of it, without a new agent; and it takes no room in the program.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use certs::read_certificates;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::problem::Problem;
use crate::source::SourceClock;
use crate::unusable::explained;

/// Where systems keep it: Debian and Alpine, Fedora, openSUSE, OpenWrt.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities that a site's certificate may come from; read at the first connection.
pub(super) struct Trust {
    file: Option<PathBuf>,
    config: Option<Arc<ClientConfig>>,
}

impl Trust {
    /// Those in `file`, or else the system's.
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self { file, config: None }
    }

    pub(super) fn forget(&mut self) {
        self.config = None;
    }

    pub(super) async fn config(&mut self, clock: &SourceClock) -> Result<Arc<ClientConfig>, Problem> {
        if let Some(config) = &self.config {
            return Ok(Arc::clone(config));
        }
        let (file, clock) = (self.file.clone(), clock.clone());
        let read = tokio::task::spawn_blocking(move || read(file.as_deref(), clock)).await;
        let config = read.map_err(|_| Problem::File("reading the authorities was interrupted".into()))??;
        self.config = Some(Arc::clone(&config));
        Ok(config)
    }
}

/// The authorities in `file`, or else the system's.
pub(super) fn authorities(file: Option<&Path>) -> Result<RootCertStore, Problem> {
    let found = || BUNDLES.iter().map(Path::new).find(|path| path.exists());
    let file = file.or_else(found).ok_or_else(|| {
        Problem::File(
            "the system has no list of authorities; install `ca-certificates`, or set `authority_file`".into(),
        )
    })?;
    let unusable = |error: certs::PemFileError| {
        let said = explained(&error, "copy the certificate of the site's authority there");
        Problem::File(format!("`authority_file`: {said}"))
    };
    let certificates = read_certificates(file).map_err(unusable)?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(certificates);
    if taken == 0 {
        return Err(Problem::File(format!(
            "`authority_file`: {} holds no certificate that can be used",
            file.display()
        )));
    }
    Ok(roots)
}

fn read(file: Option<&Path>, clock: SourceClock) -> Result<Arc<ClientConfig>, Problem> {
    let roots = authorities(file)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(Wall(clock)))
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The agent may know the time from elsewhere than the system's clock.
#[derive(Debug)]
struct Wall(SourceClock);

impl TimeProvider for Wall {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.0.wall()?.0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

/// TLS on `tcp` to the site called `host`.
pub(super) async fn secure(
    config: Arc<ClientConfig>,
    host: &str,
    tcp: TcpStream,
) -> Result<TlsStream<TcpStream>, Problem> {
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| Problem::Connect("`url` has no name that a certificate can be for".into()))?;
    TlsConnector::from(config).connect(name, tcp).await.map_err(|error| Problem::Tls(explain(&error)))
}

/// What to do about it. The library's own words may name the site.
fn explain(error: &io::Error) -> String {
    let Some(cause) = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) else {
        return format!("{error}; does the site speak TLS at that port?");
    };
    let text = match cause {
        rustls::Error::InvalidCertificate(bad) => match bad {
            CertificateError::UnknownIssuer => {
                "its certificate is from an authority that is not trusted here; set `authority_file` if it is your own"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name; check `url`"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired, or the clock here is wrong"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or the clock here is wrong"
            }
            _ => "its certificate cannot be used",
        },
        rustls::Error::InvalidMessage(_) => "it does not speak TLS at that port; check `url`",
        _ => return cause.to_string(),
    };
    text.to_owned()
}
