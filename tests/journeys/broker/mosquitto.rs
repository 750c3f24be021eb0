//! A Mosquitto with the configuration that is shipped.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use harness::Pki;
use harness::pki::Files;
use harness::servers::{self, or_skip};

/// The gateway's name at the broker.
const GATEWAY: &str = "tributary-gateway";

/// Mosquitto with `gateway/brokers/mosquitto/`, other paths and another port.
pub(super) struct Mosquitto {
    server: servers::Mosquitto,
    folder: PathBuf,
}

impl Mosquitto {
    /// None where it is not installed.
    pub(super) fn start(folder: &Path, server: &Files) -> Option<Self> {
        Self::start_with(folder, server, &shipped("acl"))
    }

    /// The same with this access list.
    pub(super) fn start_with(folder: &Path, server: &Files, acl: &str) -> Option<Self> {
        std::fs::create_dir_all(folder.join("store")).unwrap();
        std::fs::write(folder.join("acl"), acl).unwrap();
        let started = servers::Mosquitto::start_with(folder, |port| configuration(folder, server, port));
        Some(Self { server: or_skip(started)?, folder: folder.into() })
    }

    /// Starts it again with another access list, made of the shipped one.
    pub(super) fn allow(&mut self, change: impl Fn(&str) -> String) {
        std::fs::write(self.folder.join("acl"), change(&shipped("acl"))).unwrap();
        self.server.kill().unwrap();
        self.server.restart().unwrap();
    }

    /// What it wrote.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(self.server.log()).unwrap_or_default()
    }

    /// The gateway's `[broker]` table.
    pub(super) fn table(&self, pki: &Pki) -> String {
        let Files { authority, certificate, key } = pki.device(GATEWAY);
        format!(
            "[broker]\naddress = \"localhost:{}\"\nauthority_file = {authority:?}\ncertificate_file = {certificate:?}\n\
             key_file = {key:?}\nreconnect_s_min = 0.02\nreconnect_s_max = 0.2\n",
            self.server.port
        )
    }
}

impl Deref for Mosquitto {
    type Target = servers::Mosquitto;

    fn deref(&self) -> &servers::Mosquitto {
        &self.server
    }
}

impl DerefMut for Mosquitto {
    fn deref_mut(&mut self) -> &mut servers::Mosquitto {
        &mut self.server
    }
}

fn configuration(folder: &Path, files: &Files, port: u16) -> String {
    let quoted = |path: &Path| path.display().to_string();
    let own = [
        ("listener 8883", format!("listener {port} 127.0.0.1")),
        ("/etc/mosquitto/certs/ca.crt", quoted(&files.authority)),
        ("/etc/mosquitto/certs/broker.crt", quoted(&files.certificate)),
        ("/etc/mosquitto/certs/broker.key", quoted(&files.key)),
        ("/etc/mosquitto/acl", quoted(&folder.join("acl"))),
        ("/var/lib/mosquitto/", format!("{}/", quoted(&folder.join("store")))),
    ];
    let text = own.iter().fold(shipped("mosquitto.conf"), |text, (shipped, own)| {
        assert!(text.contains(shipped), "the shipped configuration has no {shipped}");
        text.replace(shipped, own)
    });
    // As root it would become another user, who may not read this folder.
    format!("user root\nlog_dest stderr\n{text}")
}

/// A file of `gateway/brokers/mosquitto/`.
pub(super) fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/brokers/mosquitto");
    std::fs::read_to_string(folder.join(name)).unwrap()
}
