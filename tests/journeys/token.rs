//! A device whose key is in a token and never leaves it. SoftHSM 2 stands for the token.

mod enrol;
mod slow;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::issuing::SOURCE;
use harness::pki::Files;
use harness::{Agent, Gateway, Pki, wait_for};

const SOON: Duration = Duration::from_secs(30);
const PIN: &str = "271828";
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
];

/// A token in a folder of its own, which only those find who have its configuration in their environment.
struct SoftToken {
    folder: PathBuf,
    module: PathBuf,
}

impl SoftToken {
    /// A token named `fleet`; none, and said why, where SoftHSM is not installed.
    fn create(folder: &Path) -> Option<Self> {
        let has_tool = Command::new("softhsm2-util").arg("--version").stdout(Stdio::null()).status().is_ok();
        let module = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
        let Some(module) = module.filter(|_| has_tool) else {
            println!("skipped: softhsm2 is not installed");
            return None;
        };
        std::fs::create_dir_all(folder.join("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", folder.join("tokens").display());
        std::fs::write(folder.join("softhsm2.conf"), conf).unwrap();
        let token = Self { folder: folder.into(), module };
        token.tool(&["--init-token", "--free", "--label", "fleet", "--so-pin", "314159", "--pin", PIN]);
        Some(token)
    }

    fn environment(&self) -> (String, String) {
        ("SOFTHSM2_CONF".to_owned(), self.folder.join("softhsm2.conf").display().to_string())
    }

    fn tool(&self, arguments: &[&str]) {
        let (name, value) = self.environment();
        let output = Command::new("softhsm2-util").args(arguments).env(name, value).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Takes the key of a file in. The file goes.
    fn import(&self, file: &Path, label: &str, id: &str) {
        let path = file.display().to_string();
        self.tool(&["--import", &path, "--token", "fleet", "--label", label, "--id", id, "--pin", PIN]);
        std::fs::remove_file(file).unwrap();
    }
}

/// An agent with its key in `token`, under `label`.
fn agent(folder: &Path, id: &str, port: u16, files: &Files, token: &SoftToken, label: &str) -> Agent {
    let mut agent = Agent::new(&folder.join(id), id, Some(port), files, SOURCE);
    agent.environment = vec![token.environment()];
    let pin_file = agent.folder.join("pin");
    certs::key_file::create_private(&pin_file, format!("{PIN}\n").as_bytes()).unwrap();
    let text = std::fs::read_to_string(agent.config()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("key_file")).collect();
    let key = format!(
        "[uplink.key]\nmodule = {:?}\ntoken = \"fleet\"\nlabel = \"{label}\"\npin_file = {pin_file:?}\n",
        token.module
    );
    std::fs::write(agent.config(), lines.join("\n") + "\n" + &key).unwrap();
    agent
}

fn readings(gateway: &Gateway, device: &str) -> u64 {
    let Ok(answer) = gateway.get("/api/v1/devices") else { return 0 };
    let devices = answer["devices"].as_array().cloned().unwrap_or_default();
    devices.iter().find(|each| each["id"] == device).and_then(|each| each["readings"].as_u64()).unwrap_or(0)
}

#[test]
fn a_device_whose_key_is_in_a_token_sends_its_readings_and_comes_back_after_a_lost_connection() {
    let folder = tempfile::tempdir().unwrap();
    let Some(token) = SoftToken::create(&folder.path().join("token")) else { return };
    let pki = Pki::create(&folder.path().join("pki"));
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let files = pki.device("meter-1");
    token.import(&files.key, "meter-1", "a1");
    let mut agent = agent(folder.path(), "meter-1", gateway.mqtt_port, &files, &token, "meter-1");
    let checked = agent.command(&["check-config"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    agent.start();
    wait_for("readings", SOON, || (readings(&gateway, "meter-1") >= 2).then_some(()));
    gateway.restart();
    let before = readings(&gateway, "meter-1");
    wait_for("more of them", SOON, || (readings(&gateway, "meter-1") > before + 1).then_some(()));
    let log = agent.process.as_ref().unwrap().log_text();
    assert_eq!(log.matches("connected host").count(), 2, "{log}");
    agent.stop();
    assert!(!log.contains(PIN), "the PIN is nobody's business");

    // By its id it is the same key.
    let text = std::fs::read_to_string(agent.config()).unwrap().replace("label = \"meter-1\"", "id = \"A1\"");
    std::fs::write(agent.config(), text).unwrap();
    assert!(agent.command(&["check-config"]).status.success());
}

#[test]
fn what_is_wrong_with_a_token_is_said_with_the_setting_that_is_to_blame() {
    let folder = tempfile::tempdir().unwrap();
    let Some(token) = SoftToken::create(&folder.path().join("token")) else { return };
    let pki = Pki::create(&folder.path().join("pki"));
    let (files, other) = (pki.device("meter-1"), pki.device("meter-2"));
    token.import(&files.key, "meter-1", "a1");
    token.import(&other.key, "meter-2", "a2");
    let agent = agent(folder.path(), "meter-1", 1, &files, &token, "meter-1");
    let (sound, pin) = (std::fs::read_to_string(agent.config()).unwrap(), agent.folder.join("pin"));
    let module = token.module.display().to_string();
    let check = |from: &str, to: &str| {
        assert!(sound.contains(from), "{from}");
        std::fs::write(agent.config(), sound.replace(from, to)).unwrap();
        let output = agent.command(&["check-config"]);
        assert!(!output.status.success(), "{to} should have failed");
        String::from_utf8(output.stderr).unwrap()
    };
    for (from, to, setting, why) in [
        ("label = \"meter-1\"", "label = \"meter-7\"", "label", "no private elliptic-curve key \"meter-7\""),
        ("label = \"meter-1\"", "id = \"a7\"", "id", "no private elliptic-curve key [a7]"),
        ("token = \"fleet\"", "token = \"flee\"", "token", "no token \"flee\""),
        (module.as_str(), "/nonexistent/module.so", "module", "/nonexistent/module.so cannot be used"),
        (module.as_str(), "/etc/passwd", "module", "/etc/passwd cannot be used"),
        ("/pin\"", "/no-pin\"", "pin_file", "no-pin"),
    ] {
        let said = check(from, to);
        assert!(said.contains(&format!("`uplink.key.{setting}`")) && said.contains(why), "{said}");
    }
    for id in ["b1", "b2"] {
        token.import(&pki.device(&format!("twin-{id}")).key, "twin", id);
    }
    let said = check("label = \"meter-1\"", "label = \"twin\"");
    assert!(said.contains("`uplink.key.label`") && said.contains("2 such keys \"twin\""), "{said}");
    let said = check("label = \"meter-1\"", "label = \"meter-2\"");
    assert!(said.contains("meter-1.crt") && said.contains("cannot be used together"), "{said}");
    std::fs::set_permissions(&pin, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let said = check("fleet", "fleet");
    assert!(said.contains("`uplink.key.pin_file`") && said.contains("chmod 600"), "{said}");
    std::fs::remove_file(&pin).unwrap();
    certs::key_file::create_private(&pin, b"000000").unwrap();
    let said = check("fleet", "fleet");
    assert!(said.contains("`uplink.key.pin_file`") && said.contains("does not hold the token's PIN"), "{said}");
    assert!(!said.contains("000000"), "not even a wrong one");
}

#[test]
fn without_its_token_a_device_captures_on_and_a_refused_pin_is_tried_once_for_each_change_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let Some(token) = SoftToken::create(&folder.path().join("token")) else { return };
    let pki = Pki::create(&folder.path().join("pki"));
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let files = pki.device("meter-1");
    token.import(&files.key, "meter-1", "a1");
    let mut agent = agent(folder.path(), "meter-1", gateway.mqtt_port, &files, &token, "meter-1");
    let pin = agent.folder.join("pin");
    certs::files::replace(&pin, b"000000", 0o600).unwrap();
    agent.environment.push(("TRIBUTARY_LOG".into(), "debug,rumqttc=error".into()));
    agent.start();
    let log = || std::fs::read_to_string(folder.path().join("meter-1/agent.log")).unwrap_or_default();
    let not_again = "still holds the PIN that the token refused";
    wait_for("some attempts", SOON, || (log().matches(not_again).count() >= 3).then_some(()));
    assert_eq!(log().matches("does not hold the token's PIN").count(), 1, "{}", log());
    let captured = || {
        let status = String::from_utf8(agent.command(&["status"]).stdout).unwrap();
        let line = status.lines().find(|line| line.starts_with("held readings"))?.to_owned();
        line.split_whitespace().last()?.parse::<u64>().ok()
    };
    wait_for("readings in the buffer", SOON, || captured().filter(|captured| *captured >= 2));
    assert_eq!(readings(&gateway, "meter-1"), 0);
    certs::files::replace(&pin, PIN.as_bytes(), 0o600).unwrap();
    wait_for("them to arrive", SOON, || (readings(&gateway, "meter-1") >= 2).then_some(()));
}
