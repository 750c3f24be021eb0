//! Whom we take for the InfluxDB.

use reqwest::{Certificate, ClientBuilder, Url};

use super::settings::Settings;
use crate::store::sink::SinkError;

/// `builder`, with the authorities that sign the server's certificate.
pub(super) fn given(builder: ClientBuilder, settings: &Settings, base: &Url) -> Result<ClientBuilder, SinkError> {
    // One for the process; another part may have said so already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = match &settings.authority_file {
        Some(file) => certs::read_certificates(file).map_err(|error| SinkError::Unfit(error.to_string()))?,
        // Without TLS nobody need be trusted, nor the system asked whom it trusts.
        None if base.scheme() == "http" => Vec::new(),
        None => return Ok(builder),
    };
    let unreadable = |error| SinkError::Unfit(format!("`authority_file` of [timeseries]: {error}"));
    let authorities =
        authorities.iter().map(|der| Certificate::from_der(der).map_err(unreadable)).collect::<Result<Vec<_>, _>>()?;
    Ok(builder.tls_certs_only(authorities))
}
