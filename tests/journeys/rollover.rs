//! One authority follows another while readings flow, and an authority is revoked.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use certs::Authority;
use certs::authority::{LeafWithKey, Reason, Which};
use harness::issuing::{CUT_OFF_WITHIN, SOURCE};
use harness::oracle::Allowed;
use harness::pki::Files;
use harness::proxy::{End, Plan};
use harness::{Agent, Cloud, Gateway, Pki, Proxy, World, device, wait_for};

const DEVICES: usize = 3;
/// For a change to be noticed, connections to come back, and readings to flow: seconds, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);
/// Readings of each device that show that they flow.
const SOME: u64 = 10;

/// A root and an authority below it, in folders of their own.
struct Successor {
    root: Authority,
    issuing: Authority,
}

impl Successor {
    fn create(folder: &Path) -> Self {
        let root = Authority::create_root(&folder.join("root"), "Root", 3650, now()).unwrap();
        Self { issuing: Self::below(folder, "issuing"), root }
    }

    fn below(folder: &Path, name: &str) -> Authority {
        Authority::create_below(&folder.join(name), &folder.join("root"), name, 365, now()).unwrap()
    }
}

/// Puts a new file in the place of an old one, as an installation does.
fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    certs::files::replace(path, bytes.as_ref(), 0o600).unwrap();
}

fn put_leaf(files: &Files, made: &LeafWithKey) {
    put(&files.certificate, &made.leaf.pem);
    put(&files.key, made.key_pem.as_bytes());
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Names of the files of one who shows a certificate, in a folder where they are replaced.
fn installed(folder: &Path, name: &str, from: &Files) -> Files {
    let path = |ending: &str| folder.join(format!("{name}.{ending}"));
    let files = Files { authority: path("trusted.pem"), certificate: path("crt"), key: path("key") };
    put(&files.authority, read(&from.authority));
    put(&files.certificate, read(&from.certificate));
    put(&files.key, read(&from.key));
    files
}

/// Devices that send through a proxy to a gateway whose files, like theirs, may be replaced.
struct Rig {
    world: World,
    proxy: Proxy,
    gateway: Files,
    devices: Vec<Files>,
    crl: PathBuf,
}

impl Rig {
    fn start(folder: &Path) -> Self {
        let pki = Pki::create(&folder.join("pki"));
        let tls = folder.join("tls");
        std::fs::create_dir(&tls).unwrap();
        let gateway = installed(&tls, "gateway", &pki.server());
        let crl = tls.join("crl.pem");
        put(&crl, read(&pki.crl()));
        let mut cloud = Cloud::start(&folder.join("cloud"), gateway.clone());
        cloud.gateway.crl = Some(crl.clone());
        cloud.gateway.restart();
        let proxy = Proxy::start(cloud.gateway.mqtt_port).unwrap();
        proxy.open(Plan::default());
        cloud.door = Some(proxy.port);
        let mut world = World::around(folder, 1, pki, cloud);
        let mut devices = Vec::new();
        for place in 0..DEVICES {
            let id = format!("meter-{place}");
            let files = installed(&tls, &id, &world.pki.device(&id));
            world.add_with(&id, &files, &device::Shape::default()).start();
            devices.push(files);
        }
        Self { world, proxy, gateway, devices, crl }
    }

    /// Sends readings until `condition` holds.
    fn flow_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < SOON, "waited for {what}, in vain:\n{}", self.world.devices[0].log_tail());
            for device in &mut self.world.devices {
                device.input.send();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends readings until some of each device have arrived that were not there before.
    fn flow(&mut self, when: &str) {
        let before: Vec<u64> = (0..DEVICES).map(|place| self.readings(place)).collect();
        let flows = |rig: &Self| (0..DEVICES).all(|place| rig.readings(place) >= before[place] + SOME);
        self.flow_until(&format!("readings {when}"), flows);
    }

    fn readings(&self, place: usize) -> u64 {
        let Ok(answer) = self.world.cloud.gateway.get("/api/v1/devices") else { return 0 };
        let devices = answer["devices"].as_array().cloned().unwrap_or_default();
        let own = devices.iter().find(|device| device["id"] == format!("meter-{place}"));
        own.and_then(|device| device["readings"].as_u64()).unwrap_or(0)
    }

    /// How often the gateway has taken its files over.
    fn taken_over(&self) -> usize {
        let process = self.world.cloud.gateway.process.as_ref().unwrap();
        process.log_text().matches("certificates and revocation lists were read again").count()
    }

    /// Makes a change, and answers once the gateway has taken it over; readings flow on over the connections there are.
    fn change_gateway(&mut self, what: &str, change: impl FnOnce(&Self)) {
        let (taken_over, connections) = (self.taken_over(), self.proxy.accepted());
        change(self);
        self.flow_until(what, |rig| rig.taken_over() > taken_over);
        self.flow(what);
        assert_eq!(self.proxy.accepted(), connections, "{what}: nobody had to connect again");
    }

    /// Cuts every connection: each device comes back once, and readings flow.
    fn reconnect(&mut self, when: &str) {
        let connections = self.proxy.accepted();
        self.proxy.cut_all(End::Reset);
        self.flow(when);
        assert_eq!(self.proxy.accepted() - connections, DEVICES, "{when}: one connection each");
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates are made for now")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[test]
fn a_new_authority_takes_over_from_an_old_one_while_all_readings_arrive_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    let new = Successor::create(&folder.path().join("new"));
    let (old_root, new_root) = (read(&rig.world.pki.anchor()), read(&folder.path().join("new/issuing/root.crt")));
    let both = [old_root, new_root.clone()].concat();
    let old_device = rig.world.pki.device("meter-9");
    rig.flow("at the beginning");
    assert_eq!(rig.proxy.accepted(), DEVICES);

    rig.change_gateway("the gateway trusts both", |rig| {
        let lists = [read(&rig.world.pki.crl()), read(&new.issuing.crl_path())].concat();
        put(&rig.crl, lists);
        put(&rig.gateway.authority, &both);
    });
    for files in &rig.devices {
        put(&files.authority, &both);
    }
    rig.change_gateway("the gateway shows a certificate of the new one", |rig| {
        put_leaf(&rig.gateway, &new.issuing.issue_server(&["localhost"], 30, now()).unwrap());
    });
    rig.reconnect("with devices of the old and a gateway of the new one");
    for (place, files) in rig.devices.iter().enumerate() {
        put_leaf(files, &new.issuing.issue_device(&format!("meter-{place}"), 30, now()).unwrap());
    }
    rig.reconnect("with devices of the new one");
    rig.change_gateway("the gateway trusts the new one alone", |rig| {
        put(&rig.crl, read(&new.issuing.crl_path()));
        put(&rig.gateway.authority, &new_root);
    });
    for files in &rig.devices {
        put(&files.authority, &new_root);
    }
    rig.reconnect("without the old one");
    let of_the_old = Files { authority: rig.devices[0].authority.clone(), ..old_device };
    is_not_let_in(folder.path(), &rig, "meter-9", &of_the_old, "received fatal alert: UnknownCA");
    let trusting_the_old = Files { authority: rig.world.pki.anchor(), ..rig.devices[0].clone() };
    is_not_let_in(folder.path(), &rig, "meter-0", &trusting_the_old, "UnknownIssuer");

    assert!(rig.world.settle(Duration::from_secs(60)).unwrap(), "everything arrives");
    let ruling = rig.world.judge(Allowed::default()).unwrap();
    println!("{ruling}; {} connections", rig.proxy.accepted());
    assert!(ruling.is_clean() && ruling.named == 0, "{ruling}");
    assert!(ruling.matched >= 8 * SOME * DEVICES as u64, "{ruling}");
}

/// An agent with these files is refused, or refuses; its log says why.
fn is_not_let_in(folder: &Path, rig: &Rig, id: &str, files: &Files, why: &str) {
    let place = folder.join(format!("refused-{id}"));
    let mut agent = Agent::new(&place, id, Some(rig.world.cloud.gateway.mqtt_port), files, "");
    agent.start();
    let log = wait_for("a refusal", SOON, || {
        let log = std::fs::read_to_string(place.join("agent.log")).unwrap_or_default();
        log.contains("not connected").then_some(log)
    });
    assert!(log.contains(why), "{log}");
}

#[test]
fn a_revoked_authority_takes_its_devices_off_within_seconds_and_its_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let old = Successor::create(folder.path());
    let neighbour = Successor::below(folder.path(), "neighbour");
    old.issuing.install_root_crl(&old.root.crl_path(), now()).unwrap();
    let files = |name: &str, made: &LeafWithKey| {
        let path = |ending: &str| folder.path().join(format!("{name}.{ending}"));
        let authority = folder.path().join("issuing/root.crt");
        let files = Files { authority, certificate: path("crt"), key: path("key") };
        put_leaf(&files, made);
        files
    };
    let issue = |authority: &Authority, id: &str| files(id, &authority.issue_device(id, 30, now()).unwrap());
    let (bad, good) = (issue(&old.issuing, "bad-1"), issue(&neighbour, "good-1"));
    let crl = folder.path().join("crl.pem");
    // Each list is there once, also that of the root.
    let write_lists = || {
        let own = read(&old.issuing.crl_path());
        let end = own.windows(10).position(|window| window == b"-----END X").unwrap();
        let first_line_end = end + own[end..].iter().position(|byte| *byte == b'\n').unwrap();
        put(&crl, [&own[..=first_line_end], &read(&neighbour.crl_path())].concat());
    };
    write_lists();
    let server = files("gateway", &old.issuing.issue_server(&["localhost"], 30, now()).unwrap());
    let mut gateway = Gateway::prepare(&folder.path().join("gateway"), server, "");
    gateway.crl = Some(crl.clone());
    gateway.restart();
    let _agents = [("bad-1", &bad), ("good-1", &good)].map(|(id, files)| {
        let mut agent = Agent::new(&folder.path().join(id), id, Some(gateway.mqtt_port), files, SOURCE);
        agent.start();
        agent
    });
    let connected = |name: &str| {
        let devices = gateway.get("/api/v1/devices").ok()?;
        let device = devices["devices"].as_array()?.iter().find(|device| device["id"] == name)?.clone();
        device["connected"].as_bool()
    };
    for id in ["bad-1", "good-1"] {
        wait_for("both to connect", SOON, || connected(id)?.then_some(()));
    }
    let row = old.root.list().unwrap().into_iter().find(|row| row.subject == "issuing").unwrap();
    old.root.revoke(Which::Authority(row.serial), Reason::KeyCompromise, now()).unwrap();
    neighbour.install_root_crl(&old.root.crl_path(), now()).unwrap();
    write_lists();
    wait_for("the devices of the revoked one to be cut off", CUT_OFF_WITHIN, || (!connected("bad-1")?).then_some(()));
    // It tries again every half second at most, and is refused by what it shows.
    let log = folder.path().join("bad-1/agent.log");
    wait_for("a refusal", SOON, || {
        std::fs::read_to_string(&log).ok()?.contains("received fatal alert: CertificateRevoked").then_some(())
    });
    assert_eq!((connected("bad-1"), connected("good-1")), (Some(false), Some(true)));
}
