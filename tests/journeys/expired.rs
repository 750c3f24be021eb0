//! A device whose certificate expires while nobody is there to renew it: it captures on, and comes back by itself where it
//! may.

use std::time::Duration;

use harness::issuing::{Issuing, PATIENCE, enrol, said};
use harness::mqtt::{Packet, Stream};
use harness::oracle::Allowed;
use harness::pki::Files;
use harness::wrong_clock::WrongClock;
use harness::{Cloud, World, device, wait_for};

const DAY: i64 = 86_400;
/// Certificates here live for thirty days, of which five minutes are over when they are made.
const LIFE: i64 = 30 * DAY - 300;

/// Which pair a device shows.
fn bytes(files: &Files) -> Vec<u8> {
    std::fs::read(&files.certificate).unwrap()
}

/// Asks for a session of `files` under the name `client`; the code of the answer.
fn knocks(port: u16, files: &Files, client: &str) -> Option<u8> {
    let mut stream = Stream::connect(port, files).ok()?;
    stream.send(&Packet::Connect { client: client.into(), clean: true, keep_alive_s: 60 }).ok()?;
    match stream.wait(PATIENCE).ok()? {
        Packet::ConnAck { code, .. } => Some(code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_that_expires_while_the_gateway_is_away_is_replaced_when_it_is_back_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Issuing::start(folder.path());
    stage.tell(&["allow", "--rule", "ruled-*"]);
    stage.gateway.kill();
    let Issuing { pki, gateway, .. } = stage;
    let mut world = World::around(folder.path(), 1, pki, Cloud::around(folder.path(), gateway));
    // It has some seconds to live, and nobody to renew it.
    let made = world.pki.device_at("ruled-1", -LIFE + 4);
    let old = bytes(&made);
    world.add_with("ruled-1", &made, &device::Shape::default()).start();
    let device = &mut world.devices[0];
    let until = certs::life(&certs::read_certificates(&made.certificate).unwrap()[0]).unwrap().1;
    wait_for("it to expire", PATIENCE, || {
        device.input.send();
        (device::now_us() / 1_000_000 > until + 1).then_some(())
    });
    wait_for("the device to say so", PATIENCE, || {
        let status = String::from_utf8_lossy(&device.agent.command(&["status"]).stdout).into_owned();
        status.contains("certificate      expired 0 days ago").then_some(())
    });
    assert!(device.marks().unwrap().epochs.iter().any(|(_, next)| *next > 1), "it captures on");
    world.cloud.gateway.restart();
    wait_for("a new certificate", PATIENCE, || {
        world.devices[0].input.send();
        (bytes(&made) != old).then_some(())
    });
    assert!(
        world.devices[0].agent.process.as_ref().unwrap().log_text().contains("this device's certificate has expired")
    );
    assert!(world.settle(Duration::from_secs(60)).unwrap(), "everything arrives");
    let ruling = world.judge(Allowed::default()).unwrap();
    println!("{ruling}");
    assert!(ruling.is_clean() && ruling.named == 0 && ruling.matched > 0, "{ruling}");
    let audit = said(&world.cloud.gateway.ask(&["audit", "list"]));
    assert!(audit.lines().any(|line| line.contains("ruled-1") && line.contains("expired")), "{audit}");
}

#[test]
fn an_expired_certificate_that_nobody_issued_here_may_ask_and_nothing_else_until_the_operator_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Issuing::start(folder.path());
    let (port, pki) = (stage.gateway.mqtt_port, &stage.pki);
    let late = pki.device_at("late-1", -LIFE - DAY);
    assert_eq!(knocks(port, &late, "late-1"), Some(5), "as itself it is not let in");
    assert_eq!(knocks(port, &late, "claim-00112233"), Some(0), "to ask it is");
    let gone = pki.device_at("gone-1", -LIFE - 31 * DAY);
    assert_eq!(knocks(port, &gone, "claim-00112233"), None, "after the grace there is no handshake");
    let fleet = pki.device_at("claim-fleet", -LIFE - DAY);
    assert_eq!(knocks(port, &fleet, "claim-00112233"), None, "a shared claim has none");

    let mut agent = stage.member("late-1", &late);
    let files = stage.places("late-1");
    agent.start();
    wait_for("it to wait", PATIENCE, || stage.lists("late-1", "waits").then_some(()));
    assert_eq!(stage.stored("late-1").unwrap_or(0), 0);
    stage.tell(&["allow", "late-1"]);
    wait_for("a new certificate", Duration::from_secs(60), || (bytes(&files) != bytes(&late)).then_some(()));
    stage.flows("late-1");
    agent.stop();
    // Whoever has a copy of the old pair asks for nothing behind the back of the device that lives.
    let mut copy = stage.member("copy", &late);
    std::fs::write(copy.config(), std::fs::read_to_string(copy.config()).unwrap().replace("\"copy\"", "\"late-1\""))
        .unwrap();
    copy.start();
    wait_for("the copy to wait", PATIENCE, || stage.lists("late-1", "waits").then_some(()));
    copy.stop();
    assert!(bytes(&stage.places("copy")) == bytes(&late));
    stage.tell(&["revoke", "late-1"]);
    wait_for("a revoked one to be refused, expired or not", PATIENCE, || {
        knocks(port, &late, "claim-00112233").is_none().then_some(())
    });
}

#[test]
fn a_device_that_was_off_for_weeks_comes_back_by_the_last_certificate_it_was_issued_whatever_its_clock_says() {
    let folder = tempfile::tempdir().unwrap();
    let Some(then) = WrongClock::new(&folder.path().join("then")) else {
        println!("skipped: libfaketime is not installed");
        return;
    };
    assert!(then.set("-100d"));
    let mut stage = Issuing::prepare(folder.path());
    // Both are in date for those whose clock is up to three weeks behind.
    let now = stage.pki.server_at(-25 * DAY);
    stage.gateway.files = stage.pki.server_at(-101 * DAY);
    stage.gateway.environment = then.environment();
    stage.gateway.restart();
    let mut agents = ["off-1", "off-2", "off-3"].map(|name| {
        let claim = stage.claim(name, name);
        let mut agent = stage.newcomer(name, name);
        agent.environment = then.environment();
        let output = enrol(&agent, &claim);
        assert!(output.status.success(), "{}", said(&output));
        agent
    });
    let old = ["off-1", "off-2", "off-3"].map(|name| bytes(&stage.places(name)));
    // A hundred days later: 90 of a certificate's life, and ten more.
    stage.gateway.files = now;
    stage.gateway.environment = Vec::new();
    stage.gateway.restart();
    assert!(stage.lists("off-1", "expired"));
    let clocks = [None, Some("@1970-01-01 00:10:00"), Some("-20d")];
    for (agent, setting) in agents.iter_mut().zip(clocks) {
        let clock = WrongClock::new(&agent.folder.join("clock")).unwrap();
        assert!(clock.set(setting.unwrap_or("+0")));
        agent.environment = clock.environment();
        agent.start();
    }
    for (place, agent) in agents.iter_mut().enumerate() {
        let name = agent.device.clone();
        wait_for("a new certificate", PATIENCE, || (bytes(&stage.places(&name)) != old[place]).then_some(()));
        wait_for("it to connect", PATIENCE, || stage.is_connected(&name)?.then_some(()));
        if clocks[place].is_none_or(|clock| !clock.contains("1970")) {
            stage.flows(&name); // a made-up meter says nothing where there is no time
        }
        assert!(stage.lists(&name, "replaced") && stage.lists(&name, "certificate"), "{}", stage.devices(&["list"]));
        agent.stop();
    }
}
