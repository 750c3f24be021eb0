//! An InfluxDB 1.6 of one's own.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::{Missing, Server, fetched, free_port, program};

/// How long a query may take.
const QUERY_DEADLINE: Duration = Duration::from_secs(20);

/// A server that syncs each write before it answers. Restarted, it keeps its port and its data.
#[derive(Debug)]
pub struct Influx {
    server: Server,
    /// Name and password of its only user, where it asks for them.
    user: Option<(String, String)>,
}

impl Influx {
    /// Starts a server in `folder` that asks nobody for a password.
    ///
    /// # Errors
    /// [`Missing`] when it is not on this machine; others when it does not start.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self { server: start(folder, false)?, user: None })
    }

    /// Starts a server in `folder` with one user, who may do everything, and nobody else anything.
    ///
    /// # Errors
    /// The same.
    pub fn start_with_user(folder: &Path, name: &str, password: &str) -> anyhow::Result<Self> {
        let mut influx = Self { server: start(folder, true)?, user: None };
        influx.query("", &format!("create user \"{name}\" with password '{password}' with all privileges"))?;
        influx.user = Some((name.to_owned(), password.to_owned()));
        Ok(influx)
    }

    /// Its program.
    ///
    /// # Errors
    /// [`Missing`] when it is not on this machine.
    pub fn program() -> anyhow::Result<std::path::PathBuf> {
        let found = program("influxd", &fetched().join("debian12/root/usr/bin/influxd"));
        Ok(found.ok_or_else(|| Missing("InfluxDB is not here: run `make servers`".to_owned()))?)
    }

    /// Where it listens: `http://127.0.0.1:…`, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Makes a database.
    ///
    /// # Errors
    /// When the server does not answer, or refuses.
    pub fn database(&self, name: &str) -> anyhow::Result<()> {
        self.query("", &format!("create database \"{name}\"")).map(drop)
    }

    /// What InfluxQL `text` yields in `database`: the first statement's result, times in nanoseconds.
    ///
    /// # Errors
    /// When the server does not answer in time, or says that something is wrong.
    pub fn query(&self, database: &str, text: &str) -> anyhow::Result<serde_json::Value> {
        let (name, password) = self.user.as_ref().map_or(("", ""), |(name, password)| (name, password));
        let form = [("db", database), ("q", text), ("epoch", "ns")];
        // It looks for a user in the address alone.
        let request = ureq::post(format!("{}/query", self.url())).query("u", name).query("p", password);
        let request = request.config().http_status_as_error(false);
        let mut answer =
            request.timeout_global(Some(QUERY_DEADLINE)).build().send_form(form).context("ask InfluxDB")?;
        let body = answer.body_mut().read_to_string()?;
        let value: serde_json::Value =
            serde_json::from_str(&body).with_context(|| format!("InfluxDB said `{body}`"))?;
        let first = &value["results"][0];
        let wrong = [&value["error"], &first["error"]].into_iter().find_map(|error| error.as_str());
        anyhow::ensure!(wrong.is_none(), "InfluxDB refuses `{text}`: {}", wrong.unwrap_or_default());
        Ok(first.clone())
    }
}

fn start(folder: &Path, asks: bool) -> anyhow::Result<Server> {
    let program = Influx::program()?;
    std::fs::create_dir_all(folder)?;
    Server::start(program, &folder.join("influx.log"), |port| {
        let config = folder.join("influx.conf");
        let (rpc, at) = (free_port(), folder.display());
        std::fs::write(
            &config,
            format!(
                "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\ndir = \"{at}/meta\"\n\
                 [data]\ndir = \"{at}/data\"\nwal-dir = \"{at}/wal\"\nwal-fsync-delay = \"0s\"\n\
                 [monitor]\nstore-enabled = false\n\
                 [http]\nbind-address = \"127.0.0.1:{port}\"\nauth-enabled = {asks}\nlog-enabled = false\n"
            ),
        )?;
        Ok(vec!["-config".into(), config.into()])
    })
}

impl Deref for Influx {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Influx {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
