//! From a claim to readings that are committed, and to the end by revocation.

use std::fs::{Permissions, set_permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::database::Shared;
use harness::issuing::{CUT_OFF_WITHIN, Issuing, PATIENCE, enrol, said};
use harness::mqtt::{Packet, Stream};
use harness::pki::Files;
use harness::process::Process;
use harness::servers::{Edition, Postgres, or_skip};
use harness::{Agent, wait_for};

#[test]
fn a_device_with_nothing_but_a_claim_gets_its_certificate_and_its_readings_are_committed_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    is_claimed_and_revoked(&Issuing::start(folder.path()));
}

fn is_claimed_and_revoked(stage: &Issuing) {
    let claim = stage.claim("new-1", "new-1");
    let mut agent = stage.newcomer("new-1", "new-1");
    let output = enrol(&agent, &claim);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("new-1 is enrolled"), "{}", said(&output));
    agent.start();
    wait_for("readings to be committed", PATIENCE, || (stage.stored("new-1")? > 0).then_some(()));
    assert!(stage.devices(&["list"]).contains("certificate"));

    // The same claim is good for nobody else.
    let thief = stage.newcomer("thief", "new-1");
    let output = enrol(&thief, &claim);
    assert!(!output.status.success() && said(&output).contains("used already"), "{}", said(&output));

    let began = Instant::now();
    stage.tell(&["revoke", "new-1", "--reason", "key-compromise"]);
    wait_for("it to be cut off", CUT_OFF_WITHIN, || (!stage.is_connected("new-1")?).then_some(()));
    println!("revoked and cut off within {:.1} s", began.elapsed().as_secs_f64());
    std::thread::sleep(Duration::from_millis(1_500)); // it tries again twice a second
    assert_eq!(stage.is_connected("new-1"), Some(false));
}

#[test]
fn an_enrolment_that_is_killed_at_any_moment_is_gone_on_with_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Issuing::start(folder.path());
    let claim = stage.claim("cut-1", "cut-1");
    let mut agent = stage.newcomer("cut-1", "cut-1");
    let mut interrupted = 0;
    // From before the key is made until after all is done: the steps are some milliseconds each, or one on a quick machine.
    for millis in [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 130] {
        let mut command = Command::new(&agent.program);
        command.args(["enrol", "--claim"]).arg(&claim).arg("--config").arg(agent.config());
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        interrupted += u32::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
    }
    println!("{interrupted} runs were killed before they ended");
    assert!(interrupted >= 5, "only {interrupted} were");
    let output = enrol(&agent, &claim);
    assert!(output.status.success(), "{}", said(&output));
    agent.start();
    wait_for("readings to be committed", PATIENCE, || (stage.stored("cut-1")? > 0).then_some(()));
}

/// Whom the agent runs as where root enrols it: nobody's number on any machine.
const USER: u32 = 64_321;

/// A command of the agent's as [`USER`], of a program that it can read.
fn as_user(agent: &Agent, program: &Path, command: &str) -> Command {
    let mut run = Command::new(program);
    run.arg(command).arg("--config").arg(agent.config()).uid(USER).gid(USER).env("TRIBUTARY_LOG", "info");
    run
}

#[test]
fn what_root_enrols_is_the_agents_whose_user_starts_with_it_and_renews_it_in_a_folder_of_roots() {
    if !rustix::process::geteuid().is_root() {
        assert!(!harness::trial::must_be_whole(), "needs root");
        println!("skipped: needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let stage = Issuing::start(folder.path());
    // The package makes the folders like this: the buffer's is the agent's, that of certificates is root's.
    let agent = stage.newcomer("by-root", "by-root");
    let files = stage.places("by-root");
    let place = files.key.parent().unwrap();
    for (path, owner, mode) in [(agent.folder.as_path(), USER, 0o700), (place, 0, 0o1770)] {
        chown(path, Some(owner), Some(USER)).unwrap();
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    std::fs::copy(stage.pki.anchor(), &files.authority).unwrap();
    set_permissions(&files.authority, Permissions::from_mode(0o644)).unwrap();
    let program = folder.path().join("agent");
    std::fs::copy(&agent.program, &program).unwrap();

    // Nothing there yet: it says which setting, which file, and what to do.
    let output = as_user(&agent, &program, "run").output().unwrap();
    let first = said(&output);
    assert!(first.contains("`uplink.certificate_file`: cannot open") && first.contains("enrol` first"), "{first}");

    let code = stage.devices(&["claim", "--device", "by-root"]);
    let mut command = Command::new(&agent.program);
    command.args(["enrol", "--code", "--config"]).arg(agent.config());
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{code}\n{}", said(&output));
    for file in [&files.key, &files.certificate] {
        assert_eq!(std::fs::metadata(file).unwrap().uid(), USER, "{}", file.display());
    }
    assert_eq!(std::fs::metadata(&files.authority).unwrap().uid(), 0, "what root had put there stays root's");

    let output = as_user(&agent, &program, "check-config").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let process = Process::start(as_user(&agent, &program, "run"), &folder.path().join("by-user.log")).unwrap();
    wait_for("readings to be committed", PATIENCE, || (stage.stored("by-root")? > 0).then_some(()));
    drop(process);
    // As at the end of a renewal: the folder lets nobody replace what is another's.
    let renewal = format!("cp -p {0} {0}.next && mv -f {0}.next {0}", files.key.display());
    let renewed = Command::new("sh").args(["-c", &renewal]).uid(USER).gid(USER).output().unwrap();
    assert!(renewed.status.success(), "{}", said(&renewed));
}

#[test]
fn a_shared_claim_waits_for_the_operators_word_or_a_rule_and_never_takes_over_a_device() {
    let folder = tempfile::tempdir().unwrap();
    is_allowed_or_refused(&Issuing::start(folder.path()));
}

fn is_allowed_or_refused(stage: &Issuing) {
    let shared = stage.pki.device("claim-fleet");
    let enrol = |agent: &Agent, minutes: &str| {
        std::fs::copy(&shared.authority, agent.folder.join("tls/ca.crt")).unwrap();
        let mut command = Command::new(&agent.program);
        command.args(["enrol", "--minutes", minutes, "--claim-certificate"]).arg(&shared.certificate);
        command.arg("--claim-key").arg(&shared.key).arg("--config").arg(agent.config());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    stage.tell(&["allow", "--rule", "meter-*"]);
    let ruled = stage.newcomer("meter-7", "meter-7");
    let output = enrol(&ruled, "1").wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    // Not of the rule, and one that takes the name of a device that lives: both wait.
    let other = stage.newcomer("pump-1", "pump-1");
    let thief = stage.newcomer("impostor", "meter-7");
    let mut runs = [enrol(&other, "1"), enrol(&thief, "1")];
    let waits = |device: &str| stage.lists(device, "waits").then_some(());
    wait_for("both to wait", PATIENCE, || waits("pump-1").and_then(|()| waits("meter-7")));
    stage.tell(&["allow", "pump-1"]);
    stage.tell(&["refuse", "meter-7"]);
    let answered = Instant::now();
    let nobody = stage.try_devices(&["allow", "nobody-1"]);
    assert!(!nobody.status.success() && said(&nobody).contains("no device nobody-1 waits"), "{}", said(&nobody));
    // A gateway wants to be asked once in half a minute; whoever has just been allowed is not to wait for that.
    wait_for("both to end", Duration::from_secs(60), || {
        runs.iter_mut().all(|run| run.try_wait().unwrap().is_some()).then_some(())
    });
    println!("heard of it within {:.1} s", answered.elapsed().as_secs_f64());
    assert!(answered.elapsed() < Duration::from_secs(15), "{:?}", answered.elapsed());
    let [allowed, refused] = runs.map(|run| run.wait_with_output().unwrap());
    assert!(allowed.status.success(), "{}", said(&allowed));
    assert!(!refused.status.success() && said(&refused).contains("does not want this device"), "{}", said(&refused));
}

#[test]
fn a_shared_claim_makes_no_more_certificates_by_a_rule_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Issuing::prepare(folder.path());
    stage.gateway.append("[authority]\n", "claim_per_hour_max = 1\n");
    stage.gateway.restart();
    let shared = stage.pki.device("claim-fleet");
    stage.tell(&["allow", "--rule", "meter-*"]);
    let ask = |name: &str| {
        let agent = stage.newcomer(name, name);
        std::fs::copy(&shared.authority, agent.folder.join("tls/ca.crt")).unwrap();
        let mut command = Command::new(&agent.program);
        command.args(["enrol", "--minutes", "1", "--claim-certificate"]).arg(&shared.certificate);
        command.arg("--claim-key").arg(&shared.key).arg("--config").arg(agent.config());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = ask("meter-1").wait_with_output().unwrap();
    assert!(first.status.success(), "{}", said(&first));
    let second = ask("meter-2").wait_with_output().unwrap();
    let is_told = said(&second).contains("asked again with the same claim, it goes on");
    assert!(!second.status.success() && is_told, "it may not before an hour is over: {}", said(&second));
    let log = stage.gateway.process.as_ref().unwrap().log_text();
    assert!(log.contains("has made as many certificates as it may"), "{log}");
    assert!(!stage.lists("meter-2", "certificate"));
    let trail = said(&stage.gateway.ask(&["audit", "list", "--device", "claim-fleet"]));
    assert!(trail.contains("as many certificates as it may"), "{trail}");
}

#[test]
fn a_certificate_is_renewed_over_the_live_connection_and_the_old_one_stays_until_the_new_one_has_connected() {
    let folder = tempfile::tempdir().unwrap();
    is_renewed(&Issuing::start(folder.path()));
}

fn is_renewed(stage: &Issuing) {
    const DAY: i64 = 86_400;
    // 25 of its 30 days are over.
    let old = stage.pki.device_at("old-1", -25 * DAY);
    let mut agent = stage.member("old-1", &old);
    let files = stage.places("old-1");
    agent.start();
    let was = std::fs::read(&old.certificate).unwrap();
    wait_for("a new certificate to take its place", PATIENCE, || {
        (std::fs::read(&files.certificate).ok()? != was).then_some(())
    });
    stage.flows("old-1");
    let log = agent.process.as_ref().unwrap().log_text();
    assert_eq!(log.matches(" connected host=").count(), 2, "connected anew once: {log}");
    assert_eq!(log.matches("connecting with the next certificate").count(), 1, "{log}");
    assert!(!files.key.with_extension("key.next").exists() && !files.certificate.with_extension("crt.next").exists());
    assert!(stage.lists("old-1", "certificate"));
    agent.stop();
    // What it had is good until it ends: it is in nobody else's hands.
    let mut stream = Stream::connect(stage.gateway.mqtt_port, &old).unwrap();
    stream.send(&Packet::Connect { client: "old-1".into(), clean: true, keep_alive_s: 60 }).unwrap();
    assert!(matches!(stream.wait(PATIENCE).unwrap(), Packet::ConnAck { code: 0, .. }));
}

#[test]
fn on_postgresql_devices_are_claimed_allowed_renewed_and_revoked_just_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let started = Postgres::start(&folder.path().join("postgres"), Edition::Plain15);
    let Some(server) = or_skip(started) else { return };
    let place = folder.path().join("database");
    let prepare = |files: &Files| Shared::prepare(&server, "enrolment", &place, files);
    let stage = Issuing::start_on(folder.path(), prepare).unwrap();
    // Each waits more than it works.
    std::thread::scope(|scope| {
        for run in [is_claimed_and_revoked, is_allowed_or_refused, is_renewed] {
            let stage = &stage;
            scope.spawn(move || run(stage));
        }
    });
}
