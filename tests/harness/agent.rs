//! An agent of one's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::binary;
use crate::hours::Entrance;
use crate::pki::Files;
use crate::process::{Process, output_within};

/// For a command to end, on a busy machine and within an emulator too.
const COMMAND_DEADLINE: Duration = Duration::from_secs(180);

/// An agent process and its folder.
pub struct Agent {
    /// Running, or not.
    pub process: Option<Process>,
    /// Where its buffer and configuration lie.
    pub folder: PathBuf,
    /// Its id.
    pub device: String,
    /// The program itself.
    pub program: PathBuf,
    /// What is added to its environment, from the next start on.
    pub environment: Vec<(String, String)>,
    /// When it lives, from the next start on.
    pub entrance: Entrance,
}

impl Agent {
    /// An agent that is not running yet. `sources` are `[[source]]` tables; without `gateway_port` it only captures.
    ///
    /// # Panics
    /// When its folder cannot be made.
    #[must_use]
    pub fn new(folder: &Path, device: &str, gateway_port: Option<u16>, files: &Files, sources: &str) -> Self {
        std::fs::create_dir_all(folder).expect("make the agent's folder");
        let program = binary("tributary-agent");
        let (environment, entrance) = (Vec::new(), Entrance::default());
        let (folder, device) = (folder.to_owned(), device.to_owned());
        let agent = Self { process: None, folder, device, program, environment, entrance };
        let Files { authority, certificate, key } = files;
        let uplink = gateway_port.map_or_else(String::new, |port| {
            format!(
                "[uplink]\nhost = \"localhost\"\nport = {port}\nauthority_file = {authority:?}\n\
                 certificate_file = {certificate:?}\nkey_file = {key:?}\nreconnect_s_min = 0.05\nreconnect_s_max = 0.5\n"
            )
        });
        let text =
            format!("[device]\nid = \"{}\"\n[buffer]\npath = {:?}\n{uplink}{sources}", agent.device, agent.buffer());
        std::fs::write(agent.config(), text).expect("write the agent's configuration");
        agent
    }

    /// Sets `key` of its `[uplink]` to `value`, for its next start.
    ///
    /// # Panics
    /// When its configuration cannot be rewritten.
    pub fn set_uplink(&self, key: &str, value: &str) {
        let text = std::fs::read_to_string(self.config()).expect("read the agent's configuration");
        let others = text.lines().filter(|line| !line.starts_with(&format!("{key} = ")));
        let setting = format!("[uplink]\n{key} = {value}");
        let lines: Vec<&str> = others.map(|line| if line == "[uplink]" { setting.as_str() } else { line }).collect();
        std::fs::write(self.config(), lines.join("\n") + "\n").expect("write the agent's configuration");
    }

    /// Its buffer.
    #[must_use]
    pub fn buffer(&self) -> PathBuf {
        self.folder.join("buffer.db")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    /// Starts it (again).
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self) {
        self.process = None;
        let mut command = self.entrance.command(&self.program);
        command.args(["run", "--config"]).arg(self.config()).env("TRIBUTARY_LOG", "info,rumqttc=error");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start(command, &self.folder.join("agent.log")).expect("start the agent");
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, and its end awaited.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let status = process.terminate();
            assert!(status.success(), "the agent ended with {status}:\n{}", process.log_text());
        }
    }

    /// What one of its commands answers; killed when it does not end in three minutes.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments).arg("--config").arg(self.config());
        output_within(command, COMMAND_DEADLINE).expect("run an agent's command")
    }
}
