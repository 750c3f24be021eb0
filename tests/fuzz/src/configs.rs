//! The settings of both programs.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Any file is the agent's settings or an error that says where; settings that were read can be used.
pub fn agent_config(bytes: &[u8]) {
    with_file(bytes, |path| {
        if let Ok(config) = agent::config::Config::read(path) {
            assert!(config.buffer().bytes_max > 0);
            assert!(config.sealer().readings_max > 0);
            let pace = config.uplink().map(|uplink| uplink.pace);
            assert!(pace.is_none_or(|pace| pace.reconnect_min <= pace.reconnect_max));
        }
    });
}

/// The same for the gateway's.
pub fn gateway_config(bytes: &[u8]) {
    with_file(bytes, |path| {
        if let Ok(config) = gateway::config::Config::read(path) {
            assert!(config.listener().connections_max > 0);
            let _ = config.subjects().count();
        }
    });
}

/// Programs read their settings from files.
fn with_file(bytes: &[u8], read: impl FnOnce(&Path)) {
    let memory = Some(PathBuf::from("/dev/shm")).filter(|folder| folder.is_dir());
    let folder = memory.unwrap_or_else(std::env::temp_dir);
    let mut file = tempfile::NamedTempFile::new_in(folder).expect("a temporary file");
    file.write_all(bytes).expect("room for some settings");
    read(file.path());
}
