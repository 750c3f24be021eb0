//! A device that makes its key in its token, and keeps it from its first certificate to the next.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::issuing::{Issuing, said};
use harness::pki::Files;
use harness::{Agent, wait_for};

use super::{SOON, SoftToken, agent};

const DAY: i64 = 86_400;
/// As PKCS#11 2.40 numbers them.
const SENSITIVE: u64 = 0x103;
const EXTRACTABLE: u64 = 0x162;
const LOCAL: u64 = 0x163;
const NEVER_EXTRACTABLE: u64 = 0x164;

/// A boolean attribute of an object, as SoftHSM keeps it: the attribute and the kind of its value (1 for a boolean), eight
/// bytes each, and then the value.
fn value(object: &[u8], number: u64) -> Option<bool> {
    let wanted = [number.to_be_bytes(), 1_u64.to_be_bytes()].concat();
    let at = object.windows(wanted.len()).position(|window| window == wanted)?;
    object.get(at + wanted.len()).map(|value| *value != 0)
}

fn objects(token: &SoftToken) -> impl Iterator<Item = Vec<u8>> {
    let files = files_below(&token.folder.join("tokens")).into_iter().filter(|name| name.ends_with(".object"));
    files.map(|name| std::fs::read(name).unwrap())
}

/// The values of an attribute, in every object of the token that has it.
fn attribute(token: &SoftToken, number: u64) -> Vec<bool> {
    objects(token).filter_map(|object| value(&object, number)).collect()
}

/// The same, in the halves of pairs that were made in the token to their end: that is when it notes where they were made.
fn attribute_of_made(token: &SoftToken, number: u64) -> Vec<bool> {
    let made = objects(token).filter(|object| value(object, LOCAL) == Some(true));
    made.filter_map(|object| value(&object, number)).collect()
}

fn files_below(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path.display().to_string()] }).collect()
}

/// An agent that has nothing but a token without a key.
fn newcomer(stage: &Issuing, id: &str, token: &SoftToken) -> (Agent, Files) {
    let file = |name: &str| stage.folder.join(id).join(name);
    let files = Files { authority: file("ca.crt"), certificate: file("device.crt"), key: file("device.key") };
    (agent(&stage.folder, id, stage.gateway.mqtt_port, &files, token, id), files)
}

#[test]
fn a_key_is_made_in_the_token_however_often_enrolment_is_killed_and_nobody_gets_it_out() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Issuing::start(folder.path());
    let Some(token) = SoftToken::create(&stage.folder.join("token")) else { return };
    let (mut agent, files) = newcomer(&stage, "meter-1", &token);
    let checked = agent.command(&["check-config"]);
    assert!(!checked.status.success(), "there is neither key nor certificate");
    let claim = stage.claim("meter-1", "meter-1");
    // What SoftHSM keeps of the token itself, it writes in place at each login: to be killed just then is its own trouble,
    // which no other token has, for theirs is not in the process that is killed.
    let own: Vec<(String, Vec<u8>)> = files_below(&token.folder.join("tokens"))
        .into_iter()
        .filter(|name| name.ends_with("/token.object"))
        .map(|name| (name.clone(), std::fs::read(name).unwrap()))
        .collect();
    assert_eq!(own.len(), 1);
    let mut interrupted = 0;
    for millis in [2, 5, 10, 20, 40, 60, 90] {
        let mut command = Command::new(&agent.program);
        command.args(["enrol", "--claim"]).arg(&claim).arg("--config").arg(agent.config());
        command.envs(agent.environment.iter().cloned());
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        interrupted += u32::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
        own.iter().for_each(|(name, content)| std::fs::write(name, content).unwrap());
    }
    println!("{interrupted} runs were killed before they ended");
    assert!(interrupted >= 2, "only {interrupted} were");
    let enrolled = agent.command(&["enrol", "--claim", claim.to_str().unwrap()]);
    assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));

    // A run that was killed while the pair was made may have left a part of one.
    let is = |number, wanted| attribute_of_made(&token, number).contains(&wanted);
    assert!(is(EXTRACTABLE, false) && !is(EXTRACTABLE, true), "the private key stays where it is");
    assert!(is(NEVER_EXTRACTABLE, true), "and always did");
    assert!(is(SENSITIVE, true) && !is(SENSITIVE, false));
    assert!(attribute(&token, LOCAL).iter().filter(|is_local| **is_local).count() >= 2, "both halves were made there");
    let left: Vec<String> = files_below(&agent.folder).into_iter().filter(|name| name.contains("key")).collect();
    assert!(left.is_empty() && !files.key.exists(), "{left:?}");
    assert!(!files.certificate.with_extension("crt.next").exists());

    agent.start();
    wait_for("readings to be committed", SOON, || (stage.stored("meter-1")? > 0).then_some(()));
    agent.stop();
}

#[test]
fn a_certificate_is_renewed_for_the_key_that_stays_in_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Issuing::start(folder.path());
    let Some(token) = SoftToken::create(&stage.folder.join("token")) else { return };
    // 25 of its 30 days are over.
    let files = stage.pki.device_at("old-1", -25 * DAY);
    token.import(&files.key, "old-1", "a1");
    let old = std::fs::read(&files.certificate).unwrap();
    let mut agent = agent(&stage.folder, "old-1", stage.gateway.mqtt_port, &files, &token, "old-1");
    agent.start();
    wait_for("a new certificate to take its place", Duration::from_secs(40), || {
        (std::fs::read(&files.certificate).ok()? != old).then_some(())
    });
    let before = stage.stored("old-1").unwrap();
    wait_for("more readings", SOON, || (stage.stored("old-1")? > before).then_some(()));
    let log = agent.process.as_ref().unwrap().log_text();
    assert_eq!(log.matches(" connected host=").count(), 2, "connected anew once: {log}");
    assert_eq!(log.matches("connecting with the next certificate").count(), 1, "{log}");
    assert_eq!(attribute(&token, EXTRACTABLE).len(), 1, "no other key was made");
    assert!(!files.key.exists() && !files.key.with_extension("key.next").exists(), "nor one in a file");
    agent.stop();
    let checked = agent.command(&["check-config"]);
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn a_device_that_expired_while_it_was_off_comes_back_with_a_new_certificate_for_the_key_that_stays() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Issuing::start(folder.path());
    let Some(token) = SoftToken::create(&stage.folder.join("token")) else { return };
    stage.tell(&["allow", "--rule", "ruled-*"]);
    let files = stage.pki.device_at("ruled-1", -32 * DAY);
    token.import(&files.key, "ruled-1", "a1");
    let old = std::fs::read(&files.certificate).unwrap();
    let mut agent = agent(&stage.folder, "ruled-1", stage.gateway.mqtt_port, &files, &token, "ruled-1");
    agent.start();
    wait_for("readings to be committed", SOON, || (stage.stored("ruled-1")? > 0).then_some(()));
    let log = agent.process.as_ref().unwrap().log_text();
    // Twice where a connection that was under way with the old one fails just after the answer: it is the same answer.
    assert!(log.contains("this device's certificate has expired"), "{log}");
    assert_ne!(std::fs::read(&files.certificate).unwrap(), old);
    assert_eq!(attribute(&token, EXTRACTABLE).len(), 1, "no other key was made");
    assert!(!files.key.exists() && !files.key.with_extension("key.next").exists(), "nor one in a file");
    agent.stop();
    let checked = agent.command(&["check-config"]);
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn half_a_pair_that_a_power_cut_left_is_neither_used_nor_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Issuing::start(folder.path());
    let Some(token) = SoftToken::create(&stage.folder.join("token")) else { return };
    let (mut agent, files) = newcomer(&stage, "meter-1", &token);
    let text = std::fs::read_to_string(agent.config()).unwrap();
    std::fs::write(agent.config(), text.replace("label = \"meter-1\"", "id = \"a7\"")).unwrap();
    // A pair whose private half goes.
    token.import(&stage.pki.device("other").key, "other", "a7");
    let objects = files_below(&token.folder.join("tokens"));
    let is_private = |name: &&String| {
        let object = std::fs::read(name).unwrap();
        name.ends_with(".object") && object.windows(8).any(|window| window == EXTRACTABLE.to_be_bytes())
    };
    let private: Vec<&String> = objects.iter().filter(is_private).collect();
    assert_eq!(private.len(), 1);
    std::fs::remove_file(private[0]).unwrap();

    let claim = stage.claim("meter-1", "meter-1");
    let enrolled = agent.command(&["enrol", "--claim", claim.to_str().unwrap()]);
    assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    assert!(files.certificate.exists());
    agent.start();
    wait_for("readings to be committed", SOON, || (stage.stored("meter-1")? > 0).then_some(()));
    agent.stop();
}
