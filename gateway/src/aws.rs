//! The way to an account of Amazon's: credentials, and HTTPS with the one cryptography that we have.

use std::path::Path;

#[expect(deprecated, reason = "the name that replaces it is of a crate that nothing else here needs")]
use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls;

/// Where, and as whom.
pub(crate) struct Access<'a> {
    /// `eu-central-1`
    pub(crate) region: &'a str,
    /// Another server than Amazon's.
    pub(crate) endpoint_url: Option<&'a str>,
    /// Credentials; without it, those of the environment, of the user's own file, or of the machine's role.
    pub(crate) credentials_file: Option<&'a Path>,
}

/// What clients of all services are made with. May ask the network for credentials: the caller has a deadline.
pub(crate) async fn load(access: Access<'_>, timeouts: TimeoutConfig, retries: RetryConfig) -> SdkConfig {
    let https = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().tls_provider(https).build_https())
        .region(Region::new(access.region.to_owned()))
        .timeout_config(timeouts)
        .retry_config(retries);
    if let Some(file) = access.credentials_file {
        #[expect(deprecated, reason = "the same")]
        let files = ProfileFiles::builder().with_file(ProfileFileKind::Credentials, file).build();
        loader = loader.profile_files(files);
    }
    if let Some(url) = access.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader.load().await
}
