//! One gateway's file: copied and put back by the gateway's own commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{Database, Gateway};

use super::Keep;

/// The gateway's own file.
pub(super) struct File {
    copy: PathBuf,
}

impl File {
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let aside = folder.join("aside");
        std::fs::create_dir_all(&aside)?;
        Ok(Self { copy: aside.join("gateway.db") })
    }
}

impl Keep for File {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn furnish(&self, _: &mut Gateway) {}

    fn database(&self, gateway: &Gateway) -> Database {
        Database::Sqlite(gateway.database())
    }

    fn copying(&self, gateway: &Gateway) -> Command {
        let mut command = Command::new(harness::binary("tributary-gateway"));
        command.args(["backup", "--config"]).arg(gateway.config()).arg("--to").arg(&self.copy);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn destroy(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        for ending in ["", "-wal", "-shm", ".lock"] {
            let path = PathBuf::from(format!("{}{ending}", gateway.database().display()));
            if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn put_back(&mut self, gateway: &mut Gateway) -> anyhow::Result<()> {
        let copy = self.copy.display().to_string();
        let done = gateway.ask(&["restore", "--from", &copy]);
        anyhow::ensure!(done.status.success(), "restore: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    fn copy_bytes(&self) -> u64 {
        std::fs::metadata(&self.copy).map_or(0, |file| file.len())
    }
}
