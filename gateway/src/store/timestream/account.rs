//! The way to a table: credentials, and the endpoint that the account was given.

use std::time::Duration;

use aws_sdk_timestreamwrite::Client;
use aws_sdk_timestreamwrite::config::retry::RetryConfig;
use aws_sdk_timestreamwrite::config::timeout::TimeoutConfig;
use aws_sdk_timestreamwrite::error::DisplayErrorContext;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Settings;
use crate::aws::{self, Access};
use crate::store::sink::{SinkError, read_private};

/// From the first byte of a call to the last of its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// To have a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// To have credentials and an endpoint.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);

/// A client, and what keeps its endpoint fresh for as long as it lives.
pub(super) struct Account {
    pub(super) client: Client,
    pub(super) database: String,
    pub(super) table: String,
    refresh: Option<JoinHandle<()>>,
}

/// What can be known without the network.
pub(super) fn check(settings: &Settings) -> Result<(), SinkError> {
    let Settings { region, database, table, credentials_file, .. } = settings;
    let is_name = |name: &str| {
        (3..=256).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let wrong = |text: String| Err(SinkError::Unfit(text));
    if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return wrong(format!("`region` of [timeseries] is `{region}`; it should be like eu-central-1"));
    }
    for (setting, name) in [("database", database), ("table", table)] {
        if !is_name(name) {
            return wrong(format!("`{setting}` of [timeseries] must be 3 to 256 of [A-Za-z0-9_.-]"));
        }
    }
    credentials_file.as_deref().map_or(Ok(()), |file| read_private(file).map(drop))
}

impl Account {
    /// Gets credentials, and discovers the endpoint unless `settings` name one.
    pub(super) async fn open(settings: &Settings) -> Result<Self, SinkError> {
        let late = |_| SinkError::Away("Timestream gives no endpoint in time".to_owned());
        timeout(OPEN_DEADLINE, Self::open_however_long(settings)).await.map_err(late)?
    }

    async fn open_however_long(settings: &Settings) -> Result<Self, SinkError> {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_DEADLINE).operation_timeout(DEADLINE).build();
        let access = Access {
            region: &settings.region,
            endpoint_url: settings.endpoint_url.as_deref(),
            credentials_file: settings.credentials_file.as_deref(),
        };
        // How often and when a call is made again is for the window to say.
        let client = Client::new(&aws::load(access, timeouts, RetryConfig::disabled()).await);
        let (database, table) = (settings.database.clone(), settings.table.clone());
        if settings.endpoint_url.is_some() {
            return Ok(Self { client, database, table, refresh: None });
        }
        let discovered = client.with_endpoint_discovery_enabled().await;
        let (client, reload) =
            discovered.map_err(|error| undiscovered(&error.to_string(), &DisplayErrorContext(&*error).to_string()))?;
        let refresh = Some(tokio::spawn(reload.reload_task()));
        Ok(Self { client, database, table, refresh })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.refresh.take().inspect(JoinHandle::abort);
    }
}

/// Why there is no endpoint.
fn undiscovered(words: &str, causes: &str) -> SinkError {
    let denied = ["AccessDenied", "UnrecognizedClient", "InvalidSignature", "ExpiredToken", "credentials"];
    if denied.iter().any(|word| causes.contains(word)) {
        return SinkError::Unfit(format!(
            "Timestream tells us no endpoint ({words}): it needs credentials with timestream:DescribeEndpoints, and an \
             account that has had the service before it was closed to new ones"
        ));
    }
    SinkError::Away(format!("Timestream tells us no endpoint: {words}"))
}
