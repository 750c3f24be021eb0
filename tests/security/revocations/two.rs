//! Two gateways that share a database, devices at both, and `tributary-gateway devices revoke` by either's configuration.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::database::Shared;
use harness::pki::Files;
use harness::servers::{Edition, Missing, Postgres, Sql};
use harness::{Database, Gateway, Pki};

use super::device::{Device, Ended, devices};
use super::{CUT_WITHIN, summary};
use crate::part::{Found, Plan};
use crate::site::{PATIENCE, Site};
use crate::wire::{Heard, Wire};

/// Between two commands.
const EVERY: Duration = Duration::from_millis(50);
/// Messages of a device that wait for a store that is away.
const WAITING: u64 = 41;
/// For what was in the middle of its commit when its device was cut off.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

struct Stage {
    sites: [Site; 2],
    pki: Pki,
    sql: Sql,
    /// Ends when it is dropped, last.
    _server: Postgres,
}

pub(super) fn run(plan: &Plan, found: &mut Found) -> anyhow::Result<()> {
    let Some(mut stage) = Stage::start(plan, found)? else { return Ok(()) };
    let all = devices(&stage.pki, "taken", plan.amount(20, 100))?;
    let mut talking = Vec::new();
    for (place, device) in all.iter().enumerate() {
        let wire = device.enter(stage.port(place % 2))?;
        talking.push(device.clone().talk(wire));
    }
    stage.all_are_there(&all)?;
    let mut begun = Vec::new();
    for (place, device) in all.iter().enumerate() {
        begun.push(Instant::now());
        // By the gateway that has it, and by the other one.
        stage.revoke(place / 2 % 2, &device.name)?;
        if place.is_multiple_of(10) {
            stage.others_go_on()?;
        }
        std::thread::sleep(EVERY);
    }
    let (mut times, mut ended) = (Vec::new(), Vec::new());
    for ((handle, device), began) in talking.into_iter().zip(&all).zip(&begun) {
        let end = handle.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        found.check(end.at.is_some(), || format!("{} was never cut", device.name));
        times.extend(end.at.map(|at| at.saturating_duration_since(*began)));
        ended.push(end);
    }
    summary(
        times,
        ["revocations", "revocations_cut_in_time", "revocation_cut_p50_ms", "revocation_cut_max_ms"],
        found,
    )?;
    told(&ended, found);
    std::thread::sleep(SETTLED_AFTER);
    let before = stage.judge(&all, &ended, found)?;
    for (device, began) in all.iter().zip(begun) {
        for gateway in 0..2 {
            device.comes_again(stage.port(gateway), began, found)?;
        }
    }
    while_the_store_is_away(&mut stage, found)?;
    twice(&mut stage, found)?;
    let after = stage.judge(&all, &ended, found)?;
    found.check(before == after, || format!("of those that were cut off, {before} readings became {after}"));
    stage.end()
}

/// Whoever speaks MQTT 5 is told why, unless something else was on its way to it.
fn told(ended: &[Ended], found: &mut Found) {
    let reasons: Vec<_> = ended.iter().filter_map(|end| end.reason.as_ref()).collect();
    found.check(reasons.iter().all(|reason| **reason == [0x87]), || format!("told {reasons:02x?}"));
    found.check(!reasons.is_empty(), || "nobody was told why".to_owned());
    found.count("revocations_told_why", reasons.len());
    let receipts: u64 = ended.iter().map(|end| end.receipts).sum();
    found.check(receipts > 0, || "no device ever had a receipt: nothing was under way to them".to_owned());
}

impl Stage {
    /// None where there is no PostgreSQL.
    fn start(plan: &Plan, found: &mut Found) -> anyhow::Result<Option<Self>> {
        let started = Postgres::start(&plan.folder.join("postgres"), Edition::Plain15);
        let server = match started {
            Ok(server) => server,
            Err(error) => match error.downcast::<Missing>() {
                Ok(missing) => {
                    found.skipped.push(format!("two gateways: {missing}"));
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
        };
        let pki = Pki::create(&plan.folder.join("pki"));
        let files = pki.server();
        let shared = Shared::prepare(&server, "shared", &plan.folder.join("database"), &files)?;
        let site = |number: usize| -> anyhow::Result<Site> {
            let name = format!("neighbour-{number}");
            let gateway = gateway(plan, number, &pki, &files, &shared);
            Site::on(Database::Postgres(shared.clone()), gateway, &name, pki.device(&name))
        };
        let sites = [site(1)?, site(2)?];
        let sql = Sql::connect(shared.dsn())?;
        Ok(Some(Self { sites, pki, sql, _server: server }))
    }

    fn port(&self, gateway: usize) -> u16 {
        self.sites[gateway].port()
    }

    fn others_go_on(&mut self) -> anyhow::Result<()> {
        self.sites.iter_mut().try_for_each(|site| site.others_go_on().map(drop))
    }

    /// Each has something stored, and is connected.
    fn all_are_there(&self, all: &[Device]) -> anyhow::Result<()> {
        let sql = "select count(*) from device where name like 'taken-%' and readings > 0 and connected = 1";
        let began = Instant::now();
        while self.sql.number(sql)? != i64::try_from(all.len())? {
            anyhow::ensure!(began.elapsed() < PATIENCE * 2, "not all devices came to be there");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The command that people use, with that gateway's configuration.
    fn revoke(&self, gateway: usize, device: &str) -> anyhow::Result<()> {
        let mut command = Command::new(harness::binary("tributary-gateway"));
        command.args(["devices", "revoke", "--reason", "key-compromise", device, "--config"]);
        command.arg(self.sites[gateway].gateway.config());
        let output = command.output().context("run tributary-gateway")?;
        anyhow::ensure!(output.status.success(), "revoke {device}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Nothing of a last will is there, nobody seems to be alive, and readings are at least those that were acknowledged and
    /// at most those that were sent. Answers how many there are of all devices.
    fn judge(&self, all: &[Device], ended: &[Ended], found: &mut Found) -> anyhow::Result<i64> {
        let of = "join device on device.id = device where device.name like 'taken-%'";
        let wills = self.sql.number(&format!("select count(*) from quarantine {of}"))?;
        found.check(wills == 0, || format!("{wills} last wills went out"));
        for site in &self.sites {
            let devices = site.gateway.get("/api/v1/devices")?;
            let devices = devices["devices"].as_array().context("devices")?;
            let alive = devices
                .iter()
                .filter(|it| it["id"].as_str().is_some_and(|id| id.starts_with("taken-")) && it["connected"] != false);
            let alive: Vec<_> = alive.map(|it| it["id"].to_string()).collect();
            found.check(alive.is_empty(), || format!("{alive:?} seem to be alive"));
        }
        let mut sum = 0;
        for (device, end) in all.iter().zip(ended) {
            let name = &device.name;
            let stored = self.sql.number(&format!("select readings from device where name = '{name}'"))?;
            let (least, most) = (i64::try_from(end.acknowledged)?, i64::try_from(end.sent)?);
            found.check((least..=most).contains(&stored), || {
                format!("{name}: {stored} stored, {least} acknowledged, {most} sent")
            });
            sum += stored;
        }
        Ok(sum)
    }

    fn end(self) -> anyhow::Result<()> {
        self.sites.into_iter().try_for_each(|site| site.conclude(&[]).map(drop))
    }
}

fn gateway(plan: &Plan, number: usize, pki: &Pki, files: &Files, shared: &Shared) -> Gateway {
    let authority = format!("[authority]\npath = {:?}\n", plan.folder.join("pki/authority"));
    let mut gateway = Gateway::prepare(&plan.folder.join(format!("gateway-{number}")), files.clone(), &authority);
    (gateway.crl, gateway.store) = (Some(pki.crl()), Some(shared.table().to_owned()));
    gateway
}

/// One certificate in use at both: the newer connection has the place, and who comes again meanwhile is an alarm.
fn twice(stage: &mut Stage, found: &mut Found) -> anyhow::Result<()> {
    let device = devices(&stage.pki, "copied", 1)?.remove(0);
    let mut first = device.enter(stage.port(0))?;
    // Both gateways know of it by then.
    std::thread::sleep(CUT_WITHIN / 2);
    let mut second = device.enter(stage.port(1))?;
    let began = Instant::now();
    let (mut heard, mut id) = (Heard::Silence, 10);
    while heard == Heard::Silence && began.elapsed() <= CUT_WITHIN {
        // It lives.
        id += 1;
        let _ = first.send(&device.hello(1, id));
        heard = last_of(&mut first);
    }
    let took = began.elapsed();
    let due = Heard::Packet(0xE0, vec![0x8E]);
    found.check(heard == due && took <= CUT_WITHIN, || format!("the older one heard {heard:02x?} after {took:?}"));
    found.measured("twice_noticed_ms", u64::try_from(took.as_millis())?);
    let again = device.enter(stage.port(0));
    found.check(again.is_err_and(|why| why.to_string().contains("89")), || "a copy is let in again".to_owned());
    second.send(&device.hello(2, 11))?;
    let answer = second.hear();
    found.check(matches!(answer, Heard::Packet(0x40 | 0x30, _)), || format!("the newer one heard {answer:02x?}"));
    let sql = "select count(*) from alarm join device on device.id = device where kind = 'device_twice' and name like 'copied-%'";
    while stage.sql.number(sql)? == 0 && began.elapsed() < CUT_WITHIN * 2 {
        std::thread::sleep(Duration::from_millis(50));
    }
    found.check(stage.sql.number(sql)? == 1, || "no alarm".to_owned());
    found.check(began.elapsed() <= CUT_WITHIN, || format!("the alarm came after {:?}", began.elapsed()));
    Ok(())
}

/// What comes behind all answers that are there by now: who reads less than is sent hears the last packet too late.
fn last_of(wire: &mut Wire) -> Heard {
    loop {
        match wire.hear_within(Duration::from_millis(100)) {
            Heard::Packet(0x30 | 0x40, _) => {}
            other => return other,
        }
    }
}

/// A store that takes nothing holds no revocation up: what the device has under way is neither acknowledged to it nor stored
/// when the store is back.
fn while_the_store_is_away(stage: &mut Stage, found: &mut Found) -> anyhow::Result<()> {
    let device = devices(&stage.pki, "away", 1)?.remove(0);
    let mut wire = device.enter(stage.port(0))?;
    let failures = |stage: &Stage| -> anyhow::Result<u64> { Ok(stage.sites[0].counted()?.get("store_failures_total")) };
    let before = failures(stage)?;
    stage.sql.run("begin; lock table reading in access exclusive mode")?;
    (0..WAITING - 1)
        .try_for_each(|number| wire.send(&device.reading(number, u16::try_from(10 + number).unwrap_or(0))))?;
    wire.send(&device.hello(1, 9_000))?;
    let began = Instant::now();
    while failures(stage)? <= before {
        anyhow::ensure!(began.elapsed() < PATIENCE, "the store took it");
        std::thread::sleep(Duration::from_millis(20));
    }
    let began = Instant::now();
    stage.revoke(1, &device.name)?;
    let heard = [wire.hear(), wire.hear()];
    let took = began.elapsed();
    // What was tried before it was known that the device is cut off has come to nothing, and nothing is tried any more.
    let known = Instant::now();
    while stage.sites[0].counted()?.get("cut_off_total") < WAITING && known.elapsed() < CUT_WITHIN {
        std::thread::sleep(Duration::from_millis(20));
    }
    stage.sql.run("rollback")?;
    let is_right = heard == [Heard::Packet(0xE0, vec![0x87]), Heard::End] || heard[0] == Heard::End;
    found.check(is_right && took <= CUT_WITHIN, || format!("while the store is away: {took:?}, {heard:02x?}"));
    found.measured("revocation_cut_store_away_ms", u64::try_from(took.as_millis())?);
    // They wait behind it.
    stage.others_go_on()?;
    let refused = stage.sites[0].counted()?.get("cut_off_total");
    found.check(refused >= WAITING, || format!("{refused} messages of those who are cut off were kept out"));
    let stored =
        stage.sql.number(&format!("select coalesce(sum(readings), 0) from device where name = '{}'", device.name))?;
    found.check(stored == 0, || format!("{stored} readings went in after their device was cut off"));
    found.measured("revocation_leaked_readings", u64::try_from(stored)?);
    device.comes_again(stage.port(0), began, found)?;
    device.comes_again(stage.port(1), began, found)
}
