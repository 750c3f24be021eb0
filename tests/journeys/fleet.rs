//! AWS IoT's fleet provisioning by the unmodified agent, against a scripted twin: whatever is cut, lost or rejected, the
//! device ends with one certificate. It is a contract test: the twin goes by AWS's documentation, not by AWS.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use harness::fleet::{Account, Fault, STEPS, Script, Status, Step, TEMPLATE};
use harness::pki::Files;
use harness::{Agent, Fleet, wait_for};

/// Whatever is waited for comes well within this, or never.
const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    folder: tempfile::TempDir,
    fleet: Fleet,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::start(&folder.path().join("aws")).unwrap();
        Self { folder, fleet }
    }

    /// An agent that knows whom to trust and which template to ask for, and has nothing else.
    fn newcomer(&self, device: &str) -> Newcomer<'_> {
        let folder = self.folder.path().join(device);
        let file = |name: &str| folder.join(name);
        let files = Files { authority: file("ca.crt"), certificate: file("device.crt"), key: file("device.key") };
        let agent = Agent::new(&folder, device, Some(self.fleet.port), &files, "");
        agent.set_uplink("provisioning_template", &format!("\"{TEMPLATE}\""));
        std::fs::copy(&self.fleet.claim.authority, file("ca.crt")).unwrap();
        Newcomer { agent, fleet: &self.fleet }
    }

    fn at(&self, step: Step, fault: Fault, times: u32, takes_used_tokens: bool) {
        self.fleet.play(Script { fault: Some((step, fault, times)), takes_used_tokens });
    }

    /// From now on all goes well.
    fn heal(&self, takes_used_tokens: bool) {
        self.fleet.play(Script { fault: None, takes_used_tokens });
    }
}

struct Newcomer<'a> {
    agent: Agent,
    fleet: &'a Fleet,
}

impl Newcomer<'_> {
    fn enrol(&self) -> Child {
        self.enrol_with(&[])
    }

    fn enrol_with(&self, arguments: &[&str]) -> Child {
        let Files { certificate, key, .. } = &self.fleet.claim;
        let mut command = Command::new(&self.agent.program);
        command.args(["enrol", "--minutes", "1", "--claim-certificate"]).arg(certificate).arg("--claim-key").arg(key);
        command.args(arguments).arg("--config").arg(self.agent.config());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn enrol_to_its_end(&self) -> Output {
        self.enrol().wait_with_output().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.agent.folder.join(name)
    }

    /// It ends well, and the thing has one certificate: the one that the device shows, whose key it has, and nothing is
    /// left of the way there.
    fn ends_well(&self, what: &str) -> Account {
        let output = self.enrol_to_its_end();
        assert!(output.status.success(), "{what}: {}", said(&output));
        self.has_one_certificate(what)
    }

    fn has_one_certificate(&self, what: &str) -> Account {
        let account = self.fleet.account();
        let own = certs::read_certificates(&self.file("device.crt")).unwrap();
        let attached = account.things.get(&self.agent.device).cloned().unwrap_or_default();
        assert_eq!(attached.len(), 1, "{what}: certificates of the thing");
        assert_eq!(attached[0], own[0].to_vec(), "{what}: the device has another");
        let active = account.certificates.iter().find(|one| one.der == attached[0]).unwrap();
        assert_eq!(active.status, Status::Active);
        assert!(account.connected.contains(&self.agent.device), "{what}: has it connected as itself?");
        let key = std::fs::read_to_string(self.file("device.key")).unwrap();
        assert_eq!(
            certs::signing_request::public_key(&key).unwrap(),
            certs::public_key(&attached[0]).unwrap(),
            "{what}: key and certificate"
        );
        for left in ["device.crt.next", "device.key.next", "device.crt.offer"] {
            assert!(!self.file(left).exists(), "{what}: {left} is left");
        }
        account
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// An id for each case.
fn named(beginning: &str, step: Step, number: usize) -> String {
    format!("{beginning}-{}-{number}", format!("{step:?}").to_lowercase())
}

#[test]
fn a_device_with_a_shared_claim_is_provisioned_by_a_template_and_connects_with_its_own_certificate() {
    let stage = Stage::new();
    let account = stage.newcomer("meter-7").ends_well("nothing goes wrong");
    assert_eq!((account.made, account.things.len()), (1, 1));
}

#[test]
fn a_device_that_is_enrolled_gets_no_other_certificate_unless_it_is_asked_for() {
    let stage = Stage::new();
    let newcomer = stage.newcomer("meter-6");
    newcomer.ends_well("the first time");
    assert_eq!(newcomer.ends_well("the second time").made, 1);
    let old = std::fs::read(newcomer.file("device.crt")).unwrap();
    let output = newcomer.enrol_with(&["--again"]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(stage.fleet.account().things["meter-6"].len(), 2);
    assert_ne!(std::fs::read(newcomer.file("device.crt")).unwrap(), old);
}

#[test]
fn an_enrolment_that_is_killed_at_any_step_ends_with_one_certificate() {
    let stage = Stage::new();
    for (step, takes_used_tokens) in STEPS.into_iter().flat_map(|step| [(step, false), (step, true)]) {
        let what = format!("killed at {step:?}, used tokens: {takes_used_tokens}");
        let newcomer = stage.newcomer(&named("cut", step, takes_used_tokens.into()));
        let before = stage.fleet.account().made;
        stage.at(step, Fault::Silence, 1, takes_used_tokens);
        let mut run = newcomer.enrol();
        wait_for(&what, PATIENCE, || (stage.fleet.faults() == 1).then_some(()));
        run.kill().unwrap();
        run.wait().unwrap();
        if [Step::ProvisionAsked, Step::Provisioned].contains(&step) {
            let mode = std::fs::metadata(newcomer.file("device.crt.offer")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "the token is on the disk before it is used, and for nobody else");
        }
        stage.heal(takes_used_tokens);
        let account = newcomer.ends_well(&what);
        // Where the answer was lost, nobody can know the first one: it lets nobody in, and goes with its token.
        let made = account.made - before;
        assert_eq!(made, if step == Step::Created { 2 } else { 1 }, "{what}: certificates that were made");
        stage.fleet.let_tokens_expire();
        newcomer.has_one_certificate(&what);
    }
}

#[test]
fn an_enrolment_that_is_killed_at_any_moment_ends_with_one_certificate() {
    let stage = Stage::new();
    let newcomer = stage.newcomer("cut-often");
    let mut interrupted = 0;
    // From before the key is made until after all is done: the steps are some milliseconds each, or one on a quick machine.
    for millis in [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 100, 130] {
        let mut run = newcomer.enrol();
        std::thread::sleep(Duration::from_millis(millis));
        interrupted += u32::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
    }
    println!("{interrupted} runs were killed before they ended");
    assert!(interrupted >= 5, "only {interrupted} were");
    newcomer.ends_well("killed often");
}

#[test]
fn an_answer_that_is_lost_with_its_connection_is_asked_for_again_by_the_same_run() {
    let stage = Stage::new();
    for (step, takes_used_tokens) in STEPS.into_iter().flat_map(|step| [(step, false), (step, true)]) {
        let what = format!("hung up at {step:?}, used tokens: {takes_used_tokens}");
        let newcomer = stage.newcomer(&named("lost", step, takes_used_tokens.into()));
        stage.at(step, Fault::Cut, 1, takes_used_tokens);
        if [Step::OwnConnect, Step::OwnSubscribe].contains(&step) {
            // A certificate that was confirmed and does not connect is for a person to look at; then it is gone on with.
            let output = newcomer.enrol_to_its_end();
            assert!(!output.status.success() && said(&output).contains("does not connect"), "{}", said(&output));
        }
        newcomer.ends_well(&what);
        assert_eq!(stage.fleet.faults(), 1, "{what}");
    }
}

#[test]
fn a_token_that_expired_while_the_power_was_out_leads_to_another_certificate_for_the_same_key() {
    let stage = Stage::new();
    let newcomer = stage.newcomer("late-1");
    stage.at(Step::ProvisionAsked, Fault::Silence, 1, false);
    let mut run = newcomer.enrol();
    wait_for("the template to be asked for", PATIENCE, || (stage.fleet.faults() == 1).then_some(()));
    run.kill().unwrap();
    run.wait().unwrap();
    let first = stage.fleet.account().certificates[0].der.clone();
    stage.fleet.let_tokens_expire();
    stage.heal(false);
    let account = newcomer.ends_well("its token had expired");
    assert_eq!((account.made, account.certificates.len()), (2, 1));
    let key = |der: &[u8]| certs::public_key(der).map(<[u8]>::to_vec).unwrap();
    assert_eq!(key(&first), key(&account.certificates[0].der));
}

#[test]
fn a_rejection_is_told_in_aws_words_and_ends_the_run_unless_it_may_pass() {
    let stage = Stage::new();
    let newcomer = stage.newcomer("meter-8");
    let rejected = [
        (Step::CreateAsked, 400, "InvalidCertificateSigningRequest", "Only such and such keys."),
        (Step::ProvisionAsked, 403, "AccessDenied", "The pre-provisioning hook does not know this device."),
    ];
    for (step, status, code, words) in rejected {
        stage.at(step, Fault::Reject(status, code, words), 1, false);
        let output = newcomer.enrol_to_its_end();
        let text = said(&output);
        assert!(!output.status.success() && text.contains(&format!("{status} {code}: {words}")), "{text}");
        assert!(!newcomer.file("device.crt").exists());
    }
    // What was offered before is good as long as its token is.
    stage.at(Step::ProvisionAsked, Fault::Reject(429, "Throttled", "Too many at once."), 3, false);
    let account = newcomer.ends_well("too many at once, three times");
    assert_eq!((account.made, stage.fleet.faults()), (1, 3));
}

#[test]
fn a_code_is_no_claim_of_aws_iot() {
    let stage = Stage::new();
    let newcomer = stage.newcomer("meter-9");
    let code = certs::claim::Code::draw().unwrap();
    let file = newcomer.file("claim");
    certs::key_file::create_private(&file, code.text().as_bytes()).unwrap();
    let output = newcomer.agent.command(&["enrol", "--claim", file.to_str().unwrap()]);
    assert!(!output.status.success() && said(&output).contains("--claim-certificate"), "{}", said(&output));
    assert_eq!(stage.fleet.account().made, 0);
}
