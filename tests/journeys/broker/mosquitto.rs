//! A Mosquitto of one's own, with the configuration that is shipped.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::pki::Files;
use harness::process::Process;
use harness::{Pki, wait_for};

/// The gateway's name at the broker.
pub(super) const GATEWAY: &str = "tributary-gateway";

/// Mosquitto with `gateway/brokers/mosquitto/mosquitto.conf`, in a folder of its own. Restarted, it keeps its port.
pub(super) struct Mosquitto {
    process: Option<Process>,
    folder: PathBuf,
    /// Where it listens, on loopback.
    pub(super) port: u16,
}

impl Mosquitto {
    /// None where it is not installed.
    pub(super) fn start(folder: &Path, server: &Files) -> Option<Self> {
        if Command::new("mosquitto").arg("-h").output().is_err() {
            println!("skipped: mosquitto is not installed");
            return None;
        }
        std::fs::create_dir_all(folder.join("data")).unwrap();
        let port = free_port();
        let mut broker = Self { process: None, folder: folder.into(), port };
        broker.configure(server);
        broker.restart();
        Some(broker)
    }

    fn configure(&self, files: &Files) {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/brokers/mosquitto");
        let text = std::fs::read_to_string(shipped.join("mosquitto.conf")).unwrap();
        let quoted = |path: &Path| path.display().to_string();
        let own = [
            ("listener 8883", format!("listener {} 127.0.0.1", self.port)),
            ("/etc/mosquitto/certs/ca.crt", quoted(&files.authority)),
            ("/etc/mosquitto/certs/broker.crt", quoted(&files.certificate)),
            ("/etc/mosquitto/certs/broker.key", quoted(&files.key)),
            ("/etc/mosquitto/acl", quoted(&self.folder.join("acl"))),
            ("/var/lib/mosquitto/", format!("{}/", quoted(&self.folder.join("data")))),
        ];
        let text = own.iter().fold(text, |text, (shipped, own)| {
            assert!(text.contains(shipped), "the shipped configuration has no {shipped}");
            text.replace(shipped, own)
        });
        // As root it would become another user, who may not read this folder.
        std::fs::write(self.folder.join("mosquitto.conf"), format!("user root\n{}", text)).unwrap();
        std::fs::copy(shipped.join("acl"), self.folder.join("acl")).unwrap();
    }

    /// Starts it (again), on the port it had.
    pub(super) fn restart(&mut self) {
        self.process = None;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        let mut process = Process::start(command, &self.folder.join("mosquitto.log")).unwrap();
        wait_for("mosquitto to listen", Duration::from_secs(10), || {
            assert!(process.ended().is_none(), "mosquitto ended:\n{}", process.log_text());
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
        self.process = Some(process);
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Forgets everything. It does not run.
    pub(super) fn forget(&self) {
        std::fs::remove_dir_all(self.folder.join("data")).unwrap();
        std::fs::create_dir_all(self.folder.join("data")).unwrap();
    }

    /// What it wrote.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("mosquitto.log")).unwrap_or_default()
    }

    /// The gateway's `[broker]` table.
    pub(super) fn table(&self, pki: &Pki) -> String {
        let Files { authority, certificate, key } = pki.device(GATEWAY);
        format!(
            "[broker]\naddress = \"localhost:{}\"\nauthority_file = {authority:?}\ncertificate_file = {certificate:?}\n\
             key_file = {key:?}\nreconnect_s_min = 0.02\nreconnect_s_max = 0.2\n",
            self.port
        )
    }
}

/// A port that was free a moment ago; Mosquitto cannot choose one itself.
fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
