//! A Mosquitto of one's own: the broker that gateways are tested behind.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::signal::Signal;

use super::{Missing, Server, fetched, program};
use crate::pki::Files;

/// How a broker is started: with client certificates, whose common name becomes the user name.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The broker's certificate, and the authority that its clients' come from.
    pub tls: Files,
    /// Revoked clients. It is read again on [`Mosquitto::reload`].
    pub crl: Option<PathBuf>,
    /// Who may do what, in the words of an `acl_file`. Nobody may do anything without.
    pub acl: String,
    /// Whether sessions and queued messages outlive a kill: its store is then written at least once a second.
    pub persistence: bool,
    /// More lines for its configuration.
    pub lines: Vec<String>,
}

/// A broker. Restarted, it keeps its port and, where told so, its store.
#[derive(Debug)]
pub struct Mosquitto {
    server: Server,
    folder: PathBuf,
}

impl Mosquitto {
    /// Starts a broker in `folder`.
    ///
    /// # Errors
    /// [`Missing`] when it is not on this machine; others when it does not start.
    pub fn start(folder: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let (acl, store) = (folder.join("acl"), folder.join("store"));
        std::fs::create_dir_all(&store)?;
        std::fs::write(&acl, &settings.acl)?;
        Self::start_with(folder, |port| settings.print(port, &acl, &store))
    }

    /// Starts a broker in `folder` whose configuration, once its port is known, is what `configuration` answers.
    ///
    /// # Errors
    /// The same.
    pub fn start_with(folder: &Path, configuration: impl Fn(u16) -> String) -> anyhow::Result<Self> {
        let found = program("mosquitto", &fetched().join("debian12/root/usr/sbin/mosquitto"));
        let program = found.ok_or_else(|| Missing("Mosquitto is not here: run `make servers`".to_owned()))?;
        std::fs::create_dir_all(folder)?;
        let server = Server::start(program, &folder.join("mosquitto.log"), |port| {
            let file = folder.join("mosquitto.conf");
            std::fs::write(&file, configuration(port))?;
            Ok(vec!["-c".into(), file.into()])
        })?;
        Ok(Self { server, folder: folder.into() })
    }

    /// Starts a broker in `folder` as it is shipped (`gateway/brokers/mosquitto`), with the server's certificate `tls`, for the
    /// gateways whose certificates have these names.
    ///
    /// # Errors
    /// The same, and when the shipped files are not what they were.
    pub fn start_shipped(folder: &Path, tls: &Files, gateways: &[String]) -> anyhow::Result<Self> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/brokers/mosquitto");
        let text = std::fs::read_to_string(shipped.join("mosquitto.conf"))?;
        let (acl, store) = (folder.join("acl"), folder.join("store"));
        std::fs::create_dir_all(&store)?;
        let rights = std::fs::read_to_string(shipped.join("acl"))?;
        let (devices, gateway) = rights.split_once("user tributary-gateway").context("the shipped rights name none")?;
        let blocks: Vec<String> = gateways.iter().map(|name| format!("user {name}{gateway}")).collect();
        std::fs::write(&acl, format!("{devices}{}", blocks.join("\n")))?;
        let quoted = |path: &Path| path.display().to_string();
        let own = [
            ("/etc/mosquitto/certs/ca.crt", quoted(&tls.authority)),
            ("/etc/mosquitto/certs/broker.crt", quoted(&tls.certificate)),
            ("/etc/mosquitto/certs/broker.key", quoted(&tls.key)),
            ("/etc/mosquitto/acl", quoted(&acl)),
            ("/var/lib/mosquitto/", format!("{}/", quoted(&store))),
        ];
        let text = own.iter().try_fold(text, |text, (shipped, own)| {
            anyhow::ensure!(text.contains(shipped), "the shipped configuration has no {shipped}");
            Ok(text.replace(shipped, own))
        })?;
        anyhow::ensure!(text.contains("listener 8883"), "the shipped configuration has another port");
        // As root it would become another user, who may not read this folder.
        Self::start_with(folder, |port| {
            format!("user root\n{}", text.replace("listener 8883", &format!("listener {port} 127.0.0.1")))
        })
    }

    /// Its configuration file; what is written to it holds from the next start or [`Self::reload`].
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("mosquitto.conf")
    }

    /// Its list of rights, where [`Self::start`] made it; what is written to it holds from the next [`Self::reload`].
    #[must_use]
    pub fn acl(&self) -> PathBuf {
        self.folder.join("acl")
    }

    /// SIGHUP: rights and revocations are read again.
    pub fn reload(&self) {
        self.server.send(Signal::SIGHUP);
    }

    /// Loses its whole store: sessions, queued and retained messages. It must not run.
    ///
    /// # Errors
    /// When it runs, or the store cannot be removed.
    pub fn forget(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.id().is_none(), "a running broker would write its store again");
        let store = self.folder.join("store");
        std::fs::remove_dir_all(&store)?;
        std::fs::create_dir(&store)?;
        Ok(())
    }
}

impl Deref for Mosquitto {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Mosquitto {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Settings {
    /// The broker's certificate and the rights; nothing outlives a kill.
    #[must_use]
    pub fn new(tls: Files, acl: &str) -> Self {
        Self { tls, crl: None, acl: acl.to_owned(), persistence: false, lines: Vec::new() }
    }

    fn print(&self, port: u16, acl: &Path, store: &Path) -> String {
        let Files { authority, certificate, key } = &self.tls;
        let mut text = format!(
            "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             use_identity_as_username true\nallow_anonymous false\nacl_file {}\nmax_queued_messages 0\n\
             log_dest stderr\nlog_timestamp_format %Y-%m-%dT%H:%M:%S\n",
            authority.display(),
            certificate.display(),
            key.display(),
            acl.display()
        );
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        if rustix::process::geteuid().is_root() {
            // Else it becomes another user, to whom a test's folder is closed.
            line("user root".to_owned());
        }
        if let Some(crl) = &self.crl {
            line(format!("crlfile {}", crl.display()));
        }
        if self.persistence {
            let store = store.display();
            // Without the last two, a kill loses all that is queued.
            line(format!(
                "persistence true\npersistence_location {store}/\nautosave_on_changes true\nautosave_interval 1"
            ));
        }
        self.lines.iter().for_each(|more| line(more.clone()));
        text
    }
}
