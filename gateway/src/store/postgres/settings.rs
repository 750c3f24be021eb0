//! Where the server is, who asks, and by what rules a connection lives.

use std::fmt;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::refusal;
use crate::store::error::StoreError;

/// How long a connection may take to be there, name, TLS and password included.
const CONNECT: Duration = Duration::from_secs(5);
/// A peer that takes no data for this long, or does not answer the kernel's probes, is gone. So a gateway whose machine
/// vanished, or a server whose machine did, holds nobody up for longer.
const PEER_GONE: Duration = Duration::from_secs(15);

/// Where the server is and who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A name, an address, or the folder of a Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Which database.
    pub database: String,
    /// The role that runs the gateway: `tributary_ingest`.
    pub user: String,
    /// Its password; none where the server trusts it.
    pub password: Option<Password>,
    /// How the way to the server is kept private.
    pub tls: Tls,
    /// Connections that write at once, each for devices of its own; at least one.
    pub writers: usize,
    /// Connections that read at once.
    pub readers_max: usize,
    /// Whether `migrate` makes the readings a hypertable.
    pub timescale: Timescale,
}

/// Whether readings are kept in a hypertable of TimescaleDB's. Decided once, when the tables are made.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Timescale {
    /// Where the extension is there, or can be had.
    #[default]
    Auto,
    /// No: in partitions of PostgreSQL's own.
    Off,
    /// Yes, or not at all: neither `migrate` nor `run` takes anything else.
    Require,
}

/// How the way to a server is kept private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: for a server on the same machine.
    Disable,
    /// The server's certificate must be for its host, and signed by an authority of this file.
    VerifyFull {
        /// PEM.
        ca_file: PathBuf,
    },
}

/// Is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Of the text as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Settings {
    /// Without password and TLS, as a server on this machine may be reached.
    #[must_use]
    pub fn local(port: u16, database: &str, user: &str) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port,
            database: database.to_owned(),
            user: user.to_owned(),
            password: None,
            tls: Tls::Disable,
            writers: 1,
            readers_max: 4,
            timescale: Timescale::Auto,
        }
    }

    /// For people: where, which, who.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { host, port, database, user, .. } = self;
        format!("database {database} at {host}:{port} as {user}")
    }

    /// Connects. What drives the connection is spawned on the runtime that this is called in, and ends with the client.
    /// `heard` is told of notifications.
    pub(super) async fn connect(
        &self,
        role: &str,
        options: &str,
        heard: Option<Arc<Notify>>,
    ) -> Result<Client, StoreError> {
        let mut config = tokio_postgres::Config::new();
        config.host(&self.host).port(self.port).dbname(&self.database).user(&self.user);
        config.application_name(role).options(options).connect_timeout(CONNECT);
        config.keepalives_idle(PEER_GONE / 3).keepalives_interval(PEER_GONE / 3).keepalives_retries(2);
        config.tcp_user_timeout(PEER_GONE);
        if let Some(Password(password)) = &self.password {
            config.password(password);
        }
        match &self.tls {
            Tls::Disable => self.connect_by(config.ssl_mode(SslMode::Disable), NoTls, heard).await,
            Tls::VerifyFull { ca_file } => {
                let tls = MakeRustlsConnect::new(verifying(ca_file)?);
                self.connect_by(config.ssl_mode(SslMode::Require), tls, heard).await
            }
        }
    }

    async fn connect_by<T>(
        &self,
        config: &tokio_postgres::Config,
        tls: T,
        heard: Option<Arc<Notify>>,
    ) -> Result<Client, StoreError>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let connected = tokio::time::timeout(CONNECT, config.connect(tls)).await;
        let connected = connected.map_err(|_| refusal::silent(self, CONNECT))?;
        let (client, mut connection) = connected.map_err(|error| refusal::explain(self, error))?;
        // It ends when the client or the server does; both sides of it learn of that by their own errors.
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(_)) => heard.iter().for_each(|heard| heard.notify_one()),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(error = %super::told(&error), "a connection to the database ended");
                        break;
                    }
                }
            }
            // Whoever waits for news looks and finds out.
            heard.iter().for_each(|heard| heard.notify_one());
        });
        Ok(client)
    }
}

/// Trusts whom the file names, for the name that was dialled.
fn verifying(ca_file: &std::path::Path) -> Result<ClientConfig, StoreError> {
    let unfit = |why: String| StoreError::Unfit(format!("cannot use {}: {why}", ca_file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| unfit(error.to_string()))? {
        let certificate = certificate.map_err(|error| unfit(error.to_string()))?;
        roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unfit("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unfit(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
