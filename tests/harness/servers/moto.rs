//! A server that speaks like Amazon Timestream and like AWS IoT's control plane. It is laxer than the service: it takes more
//! than 100 records a call and older versions of what it has; and the certificates that it makes of signing requests are
//! about keys of its own.

use std::ffi::OsString;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::{Missing, Server, fetched};

/// How long a call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// How much it may show of itself: a record is some 250 bytes.
const SHOWN_BYTES_MAX: u64 = 512 << 20;
/// What calls of the write service are named after.
const SERVICE: &str = "Timestream_20181101";

/// moto's server. It keeps everything in memory: a kill or a restart forgets it all.
#[derive(Debug)]
pub struct Moto {
    server: Server,
}

impl Moto {
    /// What runs it.
    ///
    /// # Errors
    /// [`Missing`] when it is not on this machine.
    pub fn program() -> anyhow::Result<PathBuf> {
        // Not by its own script, which names the folder that it was made in.
        let program = fetched().join("moto/bin/python");
        let ready = program.is_file() && fetched().join("moto/made").is_file();
        anyhow::ensure!(ready, Missing("moto is not here: run tests/servers/moto/fetch".to_owned()));
        Ok(program)
    }

    /// Starts a server; its log goes to `folder`.
    ///
    /// # Errors
    /// [`Missing`] when it is not on this machine; others when it does not start.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let program = Self::program()?;
        std::fs::create_dir_all(folder)?;
        let arguments = |port: u16| {
            Ok(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()].map(OsString::from).to_vec())
        };
        Ok(Self { server: Server::start(program, &folder.join("moto.log"), arguments)? })
    }

    /// Where it listens: `http://127.0.0.1:…`. It takes any credentials and any region.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Calls the write service's `action` with `body` in the region us-east-1, as the SDKs do.
    ///
    /// # Errors
    /// When the server does not answer in time, or refuses.
    pub fn call(&self, action: &str, body: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        Self::call_at(&self.url(), action, body)
    }

    /// The same at a server that somebody else has started, at `url`.
    ///
    /// # Errors
    /// The same.
    pub fn call_at(url: &str, action: &str, body: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        let request = ureq::post(format!("{url}/"))
            .header("Content-Type", "application/x-amz-json-1.0")
            .header("X-Amz-Target", format!("{SERVICE}.{action}"))
            // It looks at service and region, and at nothing else.
            .header("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/timestream/aws4_request");
        let request = request.config().http_status_as_error(false).timeout_global(Some(CALL_DEADLINE)).build();
        let mut answer = request.send(body.to_string()).with_context(|| format!("call {action}"))?;
        let text = answer.body_mut().read_to_string()?;
        anyhow::ensure!(answer.status().is_success(), "{action} is answered with {}: {text}", answer.status());
        serde_json::from_str(&text).with_context(|| format!("{action} is answered with `{text}`"))
    }

    /// Calls AWS IoT's control plane in the region us-east-1: `method` at `path`, with `body` where there is one.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses.
    pub fn iot(&self, method: &str, path: &str, body: Option<&serde_json::Value>) -> anyhow::Result<serde_json::Value> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()))
            .header("Content-Type", "application/json")
            .header("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/iot/aws4_request")
            .body(body.map(serde_json::Value::to_string).unwrap_or_default())?;
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let config = config.allow_non_standard_methods(true).timeout_global(Some(CALL_DEADLINE)).build();
        let mut answer = ureq::Agent::from(config).run(request).with_context(|| format!("{method} {path}"))?;
        let text = answer.body_mut().read_to_string()?;
        anyhow::ensure!(answer.status().is_success(), "{method} {path} is answered with {}: {text}", answer.status());
        if text.trim().is_empty() { Ok(serde_json::Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// The records that it holds of a table, as they came to it. It cannot be queried; it shows them on a page of its own.
    ///
    /// # Errors
    /// When it does not answer in time, or has no such table.
    pub fn records(&self, database: &str, table: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        let request = ureq::get(format!("{}/moto-api/data.json", self.url())).config();
        let mut answer = request.timeout_global(Some(CALL_DEADLINE)).build().call().context("ask moto")?;
        let text = answer.body_mut().with_config().limit(SHOWN_BYTES_MAX).read_to_string()?;
        let mut held: serde_json::Value = serde_json::from_str(&text)?;
        let tables = held["timestreamwrite"]["TimestreamTable"].as_array_mut();
        let is_it = |found: &&mut serde_json::Value| found["db_name"] == database && found["name"] == table;
        let found = tables.and_then(|tables| tables.iter_mut().find(is_it));
        let found = found.with_context(|| format!("moto has no table {database}.{table}"))?;
        match found["records"].take() {
            serde_json::Value::Array(records) => Ok(records),
            other => anyhow::bail!("moto shows no records but {other}"),
        }
    }
}

impl Deref for Moto {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Moto {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
