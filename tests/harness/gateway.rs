//! A gateway of one's own.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::hours::Entrance;
use crate::pki::Files;
use crate::process::Process;
use crate::{binary, https};

/// How long a gateway may take to open its ports.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A gateway process, its folder, and where it listens. Restarted, it keeps its ports.
pub struct Gateway {
    /// Running, or not.
    pub process: Option<Process>,
    folder: PathBuf,
    /// Its MQTT port on loopback.
    pub mqtt_port: u16,
    /// Its HTTP address.
    pub http: String,
    /// How long the last start took.
    pub started_in: Duration,
    /// Its certificate, from the next start on.
    pub files: Files,
    /// A revocation list, from the next start on.
    pub crl: Option<PathBuf>,
    subjects: String,
    /// Connections that it takes at once, from the next start on; none: as many as it takes by itself.
    pub connections_max: Option<usize>,
    /// Its certificate for people, from the next start on; none: plain HTTP.
    pub http_files: Option<Files>,
    /// The oldest version of TLS that both its doors speak, from the next start on; none: as it is by itself.
    pub tls_min: Option<&'static str>,
    /// Its `[store]` tables, from the next start on; none: a SQLite file in its folder.
    pub store: Option<String>,
    /// What is added to its environment, from the next start on.
    pub environment: Vec<(String, String)>,
    /// When it lives, from the next start on, and its commands.
    pub entrance: Entrance,
}

impl Gateway {
    /// Starts a gateway in `folder`, on ports that the system chooses. `subjects` are `[[subject]]` tables.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path, files: Files, subjects: &str) -> Self {
        let mut gateway = Self::prepare(folder, files, subjects);
        gateway.restart();
        gateway
    }

    /// A gateway that does not run yet.
    ///
    /// # Panics
    /// When its folder cannot be made.
    #[must_use]
    pub fn prepare(folder: &Path, files: Files, subjects: &str) -> Self {
        std::fs::create_dir_all(folder).expect("make the gateway's folder");
        Self {
            process: None,
            folder: folder.into(),
            mqtt_port: 0,
            http: "http://127.0.0.1:0".to_owned(),
            started_in: Duration::ZERO,
            files,
            crl: None,
            subjects: subjects.to_owned(),
            connections_max: None,
            http_files: None,
            tls_min: None,
            store: None,
            environment: Vec::new(),
            entrance: Entrance::default(),
        }
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("gateway.toml")
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("gateway.db")
    }

    /// Where it writes down how far its audit trail has come.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("gateway.audit")
    }

    fn write_config(&self) {
        let Files { authority, certificate, key } = &self.files;
        let mut text = String::new();
        let http = self.http.trim_start_matches("https://").trim_start_matches("http://");
        let tls_min = self.tls_min.map_or_else(String::new, |min| format!("tls_min = {min:?}\n"));
        let people = self.http_files.as_ref().map_or_else(String::new, |Files { certificate, key, .. }| {
            format!("certificate_file = {certificate:?}\nkey_file = {key:?}\n{tls_min}")
        });
        write!(
            text,
            "[listener]\naddress = \"127.0.0.1:{}\"\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n\
             authority_file = {authority:?}\n{}{}{tls_min}[http]\naddress = \"{http}\"\n{people}[audit]\ncheckpoint_file = {:?}\n{}\n{}",
            self.mqtt_port,
            self.crl.as_ref().map_or_else(String::new, |crl| format!("crl_file = {crl:?}\n")),
            self.connections_max.map_or_else(String::new, |most| format!("connections_max = {most}\n")),
            self.checkpoints(),
            self.store.clone().unwrap_or_else(|| format!("[store]\npath = {:?}\n", self.database())),
            self.subjects
        )
        .expect("a String takes text");
        std::fs::write(self.config(), text).expect("write the gateway's configuration");
    }

    /// Has `lines` stand behind `place` in what it is told beside its own tables, from the next start on.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn append(&mut self, place: &str, lines: &str) {
        assert!(self.subjects.contains(place), "no {place} in {}", self.subjects);
        self.subjects = self.subjects.replacen(place, &format!("{place}{lines}"), 1);
    }

    /// Runs another of its commands, such as `migrate`, with its configuration.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn command(&self, command: &str) -> Output {
        self.write_config();
        self.ask(&[command])
    }

    /// Runs a command of several words beside it, such as `audit list`, with the configuration that it runs with.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn ask(&self, words: &[&str]) -> Output {
        let mut program = self.entrance.command(&binary("tributary-gateway"));
        program.args(words).arg("--config").arg(self.config()).output().expect("run the gateway")
    }

    /// Starts it (again), on the ports it had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.process = None;
        self.write_config();
        let mut command = self.entrance.command(&binary("tributary-gateway"));
        command.args(["run", "--config"]).arg(self.config()).env("TRIBUTARY_LOG", "info");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let began = Instant::now();
        let mut process = Process::start(command, &self.folder.join("gateway.log")).expect("start the gateway");
        let output = process.output().expect("its output is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        for _ in 0..2 {
            let line = lines.recv_timeout(START_DEADLINE).unwrap_or_else(|_| {
                panic!("the gateway did not start:\n{}", process.log_text());
            });
            match line.strip_prefix("mqtts://127.0.0.1:") {
                Some(port) => self.mqtt_port = port.parse().expect("a port"),
                None => self.http = line,
            }
        }
        self.started_in = began.elapsed();
        self.process = Some(process);
    }

    /// Starts it, and ends it in good order: to see that nothing keeps it from running.
    ///
    /// # Panics
    /// When it does not start, or does not end well.
    pub fn restart_and_stop(&mut self) {
        self.restart();
        let ended = self.process.take().expect("it was just started").terminate();
        assert!(ended.success(), "it ended with {ended}");
    }

    /// SIGSTOP, if it runs.
    pub fn freeze(&self) {
        self.process.iter().for_each(Process::freeze);
    }

    /// SIGCONT, if it runs.
    pub fn thaw(&self) {
        self.process.iter().for_each(Process::thaw);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// The answer to a GET of `path`, as JSON.
    ///
    /// # Errors
    /// When nobody answers, or not with JSON.
    pub fn get(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.text(path)?)?)
    }

    /// The answer to a GET of `path`, by HTTPS where that is how people come in.
    ///
    /// # Errors
    /// When nobody answers, or not with text.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        match &self.http_files {
            Some(files) => {
                let client = https::client(&files.authority, rustls::DEFAULT_VERSIONS)?;
                Ok(https::get(self.http_port(), &client, path)?.body)
            }
            None => Ok(ureq::get(format!("{}{path}", self.http)).call()?.body_mut().read_to_string()?),
        }
    }

    /// Where people come in.
    ///
    /// # Panics
    /// When it has not started yet.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        let port = self.http.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("an address ends with its port")
    }
}
