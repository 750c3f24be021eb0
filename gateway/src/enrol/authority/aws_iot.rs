//! AWS IoT as the authority: each device is a thing of its name, each certificate one that AWS signed for the device's own
//! key. All that is known of a device's certificates is in the account.
//!
//! The same signing request makes another certificate each time (API reference, CreateCertificateFromCsr). So one is made
//! inactive, attached to the thing at once, and activated last: asked again for the same key, what was left half way is
//! found at the thing and gone on with; and a certificate that was lost before it was attached is one that lets nobody in.

use std::time::{Duration, Instant as Moment, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_iot::Client;
use certs::authority::Reason;
use proto::DeviceId;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use self::calls::Account;
use super::{Authority, AuthorityError, Held, Issued};
use crate::aws::{self, Access};
use crate::config::authority::AwsIot as Settings;

mod calls;
mod words;

/// From the first byte of a call to the last of its answer.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(5);
/// To have a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// A call, with all its attempts.
const CALL_DEADLINE: Duration = Duration::from_secs(12);
/// Attempts of a call; the SDK waits longer before each, at random.
const ATTEMPTS_MAX: u32 = 3;
/// All calls of one request, and to have credentials: less than a device waits for its answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// While it does not answer, nobody waits for it: so long after a failure, the next one is answered at once.
const PAUSE: Duration = Duration::from_secs(5);

/// The authority.
pub struct AwsIot {
    settings: Settings,
    /// Made at the first call: a start needs no network.
    client: Option<Client>,
    /// Gone only while this is being dropped.
    runtime: Option<Runtime>,
    away_since: Option<Moment>,
}

impl AwsIot {
    /// That of the account and region that `settings` name; nothing is sent yet.
    ///
    /// # Errors
    /// The file of credentials is open to others, or the system gives no runtime.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        if let Some(file) = &settings.credentials_file {
            certs::key_file::read_private(file)?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { settings: settings.clone(), client: None, runtime: Some(runtime), away_since: None })
    }

    /// Does `work` with the account, within the deadline.
    fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(Account<'_>) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        let away = |text: &str| AuthorityError::Away(text.to_owned());
        if self.away_since.is_some_and(|since| since.elapsed() < PAUSE) {
            return Err(away("AWS IoT has just failed to answer"));
        }
        let Self { settings, client, runtime, .. } = self;
        let Some(runtime) = runtime else { return Err(away("it is being closed")) };
        let done = runtime.block_on(async {
            let all = async {
                let client = match client {
                    Some(client) => client,
                    None => client.insert(open(settings).await),
                };
                work(Account { client, settings }).await
            };
            timeout(DEADLINE, all).await.unwrap_or_else(|_| Err(away("AWS IoT did not answer in time")))
        });
        self.away_since = matches!(done, Err(AuthorityError::Away(_))).then(Moment::now);
        done
    }
}

async fn open(settings: &Settings) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_DEADLINE)
        .operation_attempt_timeout(ATTEMPT_DEADLINE)
        .operation_timeout(CALL_DEADLINE)
        .build();
    let access = Access {
        region: &settings.region,
        endpoint_url: settings.endpoint_url.as_deref(),
        credentials_file: settings.credentials_file.as_deref(),
    };
    Client::new(&aws::load(access, timeouts, RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX)).await)
}

impl Authority for AwsIot {
    fn issue(&mut self, device: &DeviceId, request: &[u8], _now: SystemTime) -> Result<Issued, AuthorityError> {
        let key = certs::authority::key_of_request(request);
        let key = key.map_err(|error| AuthorityError::Request(error.to_string()))?;
        let chain = self.with(async |account| account.issue(device, request, &key).await)?;
        let (serial, not_after) = super::serial_and_end(&chain)?;
        Ok(Issued { serial, not_after, chain: chain.into_bytes() })
    }

    fn certificates(&mut self, device: &DeviceId) -> Result<Vec<Held>, AuthorityError> {
        let found = self.with(async |account| account.certificates(device).await)?;
        let held = |certificate: calls::Certificate| {
            let (serial, not_after) = super::serial_and_end(&certificate.pem)?;
            Ok(Held { serial, device: device.clone(), not_after, name: certificate.arn })
        };
        found.into_iter().map(held).collect()
    }

    fn revoke(&mut self, held: &Held, _reason: Reason, _now: SystemTime) -> Result<(), AuthorityError> {
        self.with(async |account| account.revoke(&held.device, &held.name).await)
    }
}

impl Drop for AwsIot {
    fn drop(&mut self) {
        // In the background, because this may be a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
