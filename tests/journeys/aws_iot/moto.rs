//! Against moto's server: what is made, how it hangs together, and its end by revocation.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use certs::authority::Reason;
use gateway::config::authority::AwsIot as Settings;
use gateway::enrol::authority::aws_iot::AwsIot;
use gateway::enrol::authority::{Authority as _, AuthorityError};
use harness::mqtt::{Packet, Stream};
use harness::servers::{Moto, or_skip};
use harness::{Gateway, Pki, binary};
use proto::Nonce;
use proto::enrol::{Enrol, Enrolled, Issued, Outcome};
use serde_json::{Value, json};

use super::{POLICY, authority, now, request, settings};

const SOON: Duration = Duration::from_secs(20);

fn make_policy(moto: &Moto) {
    let any = json!({ "policyDocument": "{\"Version\":\"2012-10-17\",\"Statement\":[]}" });
    moto.iot("POST", &format!("/policies/{POLICY}"), Some(&any)).unwrap();
}

/// The ARNs of the certificates that `thing` has.
fn principals(moto: &Moto, thing: &str) -> Vec<String> {
    let found = moto.iot("GET", &format!("/things/{thing}/principals"), None).unwrap();
    found["principals"].as_array().unwrap().iter().map(|arn| arn.as_str().unwrap().to_owned()).collect()
}

fn certificate(moto: &Moto, arn: &str) -> Value {
    let id = arn.rsplit('/').next().unwrap();
    moto.iot("GET", &format!("/certificates/{id}"), None).unwrap()["certificateDescription"].clone()
}

fn policies(moto: &Moto, arn: &str) -> usize {
    let found = moto.iot("POST", &format!("/attached-policies/{}", arn.replace('/', "%2F")), None).unwrap();
    found["policies"].as_array().unwrap().len()
}

fn start(folder: &Path) -> Option<Moto> {
    or_skip(Moto::start(&folder.join("moto")))
}

#[test]
fn a_certificate_is_made_for_a_thing_of_the_devices_name_and_revoked_with_all_that_it_hangs_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(moto) = start(folder.path()) else { return };
    make_policy(&moto);
    moto.iot("POST", "/thing-types/meter", Some(&json!({}))).unwrap();
    let typed = Settings { thing_type: Some("meter".to_owned()), ..settings(&moto.url(), folder.path()) };
    let mut aws = AwsIot::new(&typed).unwrap();
    let device = "meter-7".parse().unwrap();
    assert_eq!(aws.certificates(&device).unwrap(), [], "there is no such thing yet");

    let issued = aws.issue(&device, &request("meter-7"), now()).unwrap();
    let arns = principals(&moto, "meter-7");
    assert_eq!(arns.len(), 1);
    let made = certificate(&moto, &arns[0]);
    assert_eq!(
        (&made["status"], made["certificatePem"].as_str()),
        (&json!("ACTIVE"), str::from_utf8(&issued.chain).ok())
    );
    assert_eq!(policies(&moto, &arns[0]), 1);
    assert_eq!(moto.iot("GET", "/things/meter-7", None).unwrap()["thingTypeName"], "meter");

    // Its next one: the thing is there already.
    aws.issue(&device, &request("meter-7"), now()).unwrap();
    let held = aws.certificates(&device).unwrap();
    assert_eq!(held.len(), 2);
    assert!(held.iter().any(|held| held.serial == issued.serial && held.not_after == issued.not_after));
    for held in &held {
        aws.revoke(held, Reason::KeyCompromise, now()).unwrap();
        assert_eq!((&certificate(&moto, &held.name)["status"], policies(&moto, &held.name)), (&json!("REVOKED"), 0));
        aws.revoke(held, Reason::KeyCompromise, now()).unwrap(); // said again, it changes nothing
    }
    assert_eq!(principals(&moto, "meter-7"), [""; 0]);
    assert_eq!(aws.certificates(&device).unwrap(), []);
}

#[test]
fn what_the_operator_has_not_made_is_named_and_once_it_is_there_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(moto) = start(folder.path()) else { return };
    let device = "meter-7".parse().unwrap();
    let typed = Settings { thing_type: Some("pump".to_owned()), ..settings(&moto.url(), folder.path()) };
    let error = AwsIot::new(&typed).unwrap().issue(&device, &request("meter-7"), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Unfit(_)) && error.to_string().contains("thing type `pump`"), "{error}");

    let mut aws = authority(&moto.url(), folder.path());
    let error = aws.issue(&device, &request("meter-7"), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Unfit(_)) && error.to_string().contains(POLICY), "{error}");
    make_policy(&moto);
    aws.issue(&device, &request("meter-7"), now()).unwrap();
}

/// A device's own connection, on which it asks for its next certificate.
struct Asker {
    stream: Stream,
    asked: u8,
}

impl Asker {
    fn connect(gateway: &Gateway, pki: &Pki) -> Self {
        let mut stream = Stream::connect(gateway.mqtt_port, &pki.device("meter-7")).unwrap();
        stream.send(&Packet::Connect { client: "meter-7".into(), clean: true, keep_alive_s: 60 }).unwrap();
        assert_eq!(stream.wait(SOON).unwrap(), Packet::ConnAck { session_present: false, code: 0 });
        let filters = vec![("trib/1/meter-7/enrol/answer".to_owned(), 0)];
        stream.send(&Packet::Subscribe { id: 1, filters }).unwrap();
        assert!(matches!(stream.wait(SOON).unwrap(), Packet::SubAck { .. }));
        Self { stream, asked: 0 }
    }

    fn ask(&mut self, request: &[u8]) -> Issued {
        self.asked += 1;
        let nonce = Nonce([self.asked; 8]);
        let payload = Enrol { nonce, device: "meter-7".parse().unwrap(), request: request.to_vec() }.encode();
        let topic = "trib/1/meter-7/enrol".to_owned();
        let id = Some(10 + u16::from(self.asked));
        self.stream.send(&Packet::Publish { topic, id, dup: false, retain: false, payload }).unwrap();
        loop {
            let Packet::Publish { payload, .. } = self.stream.wait(SOON).unwrap() else { continue };
            let answer = Enrolled::decode(&payload).unwrap();
            assert_eq!(answer.nonce, nonce);
            match answer.outcome {
                Outcome::Issued(issued) => return issued,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn devices(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("tributary-gateway"));
    command.arg("devices").args(arguments).arg("--config").arg(gateway.config()).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_gateway_has_aws_iot_issue_what_its_devices_ask_for_and_revokes_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(moto) = start(folder.path()) else { return };
    make_policy(&moto);
    let pki = Pki::create_for_years(&folder.path().join("pki"));
    let Settings { region, policy, endpoint_url, credentials_file, .. } = settings(&moto.url(), folder.path());
    let (url, file) = (endpoint_url.unwrap(), credentials_file.unwrap());
    let aws = format!(
        "[authority]\nkind = \"aws_iot\"\n[authority.aws_iot]\nregion = {region:?}\npolicy = {policy:?}\n\
         endpoint_url = {url:?}\ncredentials_file = {file:?}\n"
    );
    let mut gateway = Gateway::prepare(&folder.path().join("gateway"), pki.server(), &aws);
    gateway.restart();

    let mut asker = Asker::connect(&gateway, &pki);
    let request = request("meter-7");
    let issued = asker.ask(&request);
    assert_eq!((issued.chain.len(), issued.anchors.len()), (1, 0));
    assert_eq!(asker.ask(&request), issued, "the same request is answered in the same way");
    let arns = principals(&moto, "meter-7");
    assert_eq!(arns.len(), 1, "and one certificate is made");
    assert_eq!(certificate(&moto, &arns[0])["status"], "ACTIVE");
    let serial = certs::identity::serial(&issued.chain[0].0).unwrap();
    let list = said(&devices(&gateway, &["list"]));
    assert!(list.lines().any(|line| line.contains(&serial) && line.contains("certificate")), "{list}");

    let output = devices(&gateway, &["claim", "--device", "meter-8"]);
    assert!(!output.status.success() && said(&output).contains("docs/aws-iot.md"), "{}", said(&output));

    let output = devices(&gateway, &["revoke", "meter-7", "--reason", "key-compromise"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((&certificate(&moto, &arns[0])["status"], principals(&moto, "meter-7").len()), (&json!("REVOKED"), 0));
    let list = said(&devices(&gateway, &["list"]));
    assert!(list.lines().any(|line| line.contains(&serial) && line.contains("revoked")), "{list}");
    let output = devices(&gateway, &["revoke", "meter-7"]);
    assert!(output.status.success() && said(&output).contains("revoked 0 certificates"), "{}", said(&output));
    let output = devices(&gateway, &["revoke", "meter-99"]);
    assert!(!output.status.success() && said(&output).contains("knows no certificate"), "{}", said(&output));
}
