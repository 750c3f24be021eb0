//! Links that do not break but do worse: they fall silent in the middle of a drain, carry one way only, crawl, come and
//! go; and a gateway that stands still. An agent with a backlog and live readings goes through each; once the link is
//! well again, everything must arrive, once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::pki::Files;
use harness::proxy::{End, Flow, Link, Plan, Way};
use harness::{Gateway, Outpost, Pki, data};

use super::line::{Random, conclude};
use crate::rig::{Fault, Found, Plan as Task, Size};

/// Bytes a second of the thin link, and the keep-alive there in seconds: the backlog's one frame takes longer than a
/// keep-alive, as one of 128 KiB does at 2G's 20 kbit/s with the default 30 s. A TLS record (16 KiB) takes less than one
/// and a half, because the gateway hears only whole ones.
const THIN: (u32, u32) = (3_000, 5);
/// Keep-alives to try, in seconds: the smallest that the agent takes makes this rig quick.
const KEEP_ALIVES_S: [u32; 4] = [1, 2, 5, 10];
/// Beyond one and a half keep-alives, for a busy machine.
const SLACK: Duration = Duration::from_secs(6);
/// For the agent to take in the backlog, or to connect.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// For the backlog to reach zero once the link is well.
const LAST_DEADLINE: Duration = Duration::from_secs(20);
/// Handshake and hello are well below this; the backlog is well above.
const MID_DRAIN_BYTES: u64 = 7_000;
/// An agent whose link stands still leaves after one and a half keep-alives, which a busy machine may take to see to it.
const TRIES: usize = 5;
/// The first reading of the backlog, 2026-05-28; the others follow a second apart.
const HISTORY_US: i64 = 1_780_000_000_000_000;

/// What a link does to an agent.
type Ordeal = fn(&mut Scene) -> anyhow::Result<()>;

const ORDEALS: [(&str, Ordeal); 6] = [
    ("silent", |scene| scene.dead(Flow::Stalled, Flow::Stalled)),
    ("deaf", |scene| scene.dead(Flow::Free, Flow::Stalled)),
    ("mute", |scene| scene.dead(Flow::Stalled, Flow::Free)),
    ("thin", |scene| scene.thin()),
    ("frozen", |scene| scene.frozen()),
    ("flapping", |scene| scene.flapping()),
];

pub(crate) fn run(task: &Task) -> anyhow::Result<Found> {
    let pki = Pki::create(&task.folder.join("pki"));
    let files = pki.server();
    let history = history(&task.folder.join("history.csv"))?;
    let mut found = Found::default();
    let parts = std::thread::scope(|scope| {
        let scenes = ORDEALS.map(|(name, ordeal)| {
            let (pki, files, history) = (&pki, files.clone(), &history);
            scope.spawn(move || play(task, name, ordeal, pki, files, history))
        });
        scenes.map(|scene| scene.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a scene panicked"))))
    });
    for part in parts {
        found.add(part?);
    }
    Ok(found)
}

/// Ten thousand seconds of a household's power, as a file of our own; answers its rows.
fn history(path: &Path) -> anyhow::Result<Vec<(i64, f64)>> {
    let (mut text, mut rows) = ("time,power\n".to_owned(), Vec::new());
    for (time_us, line) in (HISTORY_US..).step_by(1_000_000).zip(data("power.csv.gz").lines().skip(1)) {
        let watts = line.split_once(',').map_or(line, |(_, watts)| watts);
        text.push_str(&format!("{time_us},{watts}\n"));
        rows.push((time_us, watts.parse()?));
    }
    std::fs::write(path, text)?;
    Ok(rows)
}

/// One ordeal, with a gateway of its own.
fn play(
    task: &Task,
    name: &'static str,
    ordeal: Ordeal,
    pki: &Pki,
    files: Files,
    history: &[(i64, f64)],
) -> anyhow::Result<Found> {
    let gateway = Gateway::start(&task.folder.join(format!("gateway-{name}")), files, "");
    let path = task.folder.join("history.csv");
    let more = format!(
        "[[source]]\nname = \"history\"\ntype = \"file\"\npath = {path:?}\ntime = {{ column = \"time\", unit = \"us\" }}\n\
         series = [{{ column = \"power\", name = \"power.active\", unit = \"W\" }}]\n"
    );
    let mut outpost = Outpost::new(&task.folder.join(name), name, pki, &gateway, &more)?;
    let seconds = if name == "thin" { vec![THIN.1] } else { KEEP_ALIVES_S.to_vec() };
    let keep_alive = seconds.into_iter().find(|seconds| takes_keep_alive(&outpost, *seconds));
    outpost.agent.start();
    outpost.also_offers("power.active", history.iter().copied());
    let random = Random::new(task.seed);
    let mut scene = Scene { task, name, gateway, outpost, keep_alive, random, found: Found::default() };
    scene.wait_for_backlog()?;
    ordeal(&mut scene)?;
    scene.outpost.offer(1)?;
    let how = format!("after a link that was {name}, seed {}", task.seed);
    conclude(&mut scene.outpost, LAST_DEADLINE, &how, &mut scene.found)?;
    Ok(scene.found)
}

/// Sets the keep-alive, if the agent takes it.
fn takes_keep_alive(outpost: &Outpost, seconds: u32) -> bool {
    let before = std::fs::read(outpost.agent.config()).unwrap_or_default();
    outpost.agent.set_uplink("keep_alive_s", &seconds.to_string());
    let takes = outpost.agent.command(&["check-config"]).status.success();
    takes || std::fs::write(outpost.agent.config(), before).is_err()
}

/// An agent with a backlog, not connected yet.
struct Scene<'a> {
    task: &'a Task,
    name: &'static str,
    gateway: Gateway,
    outpost: Outpost,
    /// In seconds, if it can be set.
    keep_alive: Option<u32>,
    random: Random,
    found: Found,
}

impl Scene<'_> {
    fn wait_for_backlog(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        let Some(agent) = &self.outpost.agent.process else { return Ok(()) };
        while !agent.log_text().contains("nothing more to read") {
            let log = || agent.log_text();
            anyhow::ensure!(began.elapsed() < READY_DEADLINE, "the agent does not take its backlog in:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// In the middle of a drain the link carries nothing any more one way or both, and nobody is told. The agent must
    /// notice by itself, and come back.
    fn dead(&mut self, up: Flow, down: Flow) -> anyhow::Result<()> {
        let Some(keep_alive) = self.keep_alive else {
            self.found
                .skip(&format!("a link that is {}", self.name), "this agent has no setting `uplink.keep_alive_s`");
            self.outpost.proxy.open(Plan::default());
            return Ok(());
        };
        let link = self.interrupted_drain()?;
        link.flow(Way::Down, down);
        link.flow(Way::Up, up);
        let (began, before) = (Instant::now(), self.outpost.proxy.accepted());
        // Whoever dials meanwhile gets no further.
        self.outpost.proxy.open(Plan::silent());
        self.outpost.offer(5)?; // capture goes on
        let deadline = Duration::from_millis(u64::from(keep_alive) * 1_500) + SLACK;
        let next = self.outpost.proxy.newest_after(before, deadline);
        self.found.did("dead_links", 1);
        self.found.fault(Fault::Lost, u64::from(next.is_none()), || {
            format!("a link that was {} was not noticed within {:?}", self.name, began.elapsed())
        });
        println!(
            "    links {}: noticed after {:.1} s, keep-alive {keep_alive} s",
            self.name,
            began.elapsed().as_secs_f64()
        );
        // All is well again: what was under way moves on, late.
        self.outpost.proxy.open(Plan::default());
        for link in next.into_iter().chain([link]) {
            link.flow(Way::Up, Flow::Free);
            link.flow(Way::Down, Flow::Free);
        }
        Ok(())
    }

    /// A connection that has come to the middle of the drain, and no further.
    fn interrupted_drain(&mut self) -> anyhow::Result<Arc<Link>> {
        let plan = Plan { halt: Some((Way::Up, MID_DRAIN_BYTES)), ..Plan::default() };
        for _ in 0..TRIES {
            let link = self.outpost.proxy.pass(plan, READY_DEADLINE);
            let link = link.ok_or_else(|| anyhow::anyhow!("the agent did not connect for {READY_DEADLINE:?}"))?;
            let began = Instant::now();
            while link.passed(Way::Up) < MID_DRAIN_BYTES && !link.is_over() && began.elapsed() < READY_DEADLINE {
                std::thread::sleep(Duration::from_millis(2));
            }
            if link.passed(Way::Up) >= MID_DRAIN_BYTES && !link.is_over() {
                anyhow::ensure!(!self.outpost.is_settled()?, "the drain was over before it could be interrupted");
                return Ok(link);
            }
            link.cut(End::Reset);
        }
        anyhow::bail!("the agent left in the middle of its drain, {TRIES} times")
    }

    /// A line as thin as 2G's.
    fn thin(&mut self) -> anyhow::Result<()> {
        let rate = if self.task.size == Size::Short { 4 * THIN.0 } else { THIN.0 };
        let flow = Flow::BytesPerSecond(rate);
        self.outpost.proxy.open(Plan { up: flow, down: flow, ..Plan::default() });
        let (began, deadline) = (Instant::now(), Duration::from_secs(self.task.amount(20, 60, 60)));
        while !self.outpost.settles(Duration::from_millis(500))? && began.elapsed() < deadline {
            self.outpost.offer(1)?;
        }
        self.found.did("thin_links", 1);
        println!(
            "    links thin: {} readings at {rate} B/s in {:.1} s and {} connections",
            self.outpost.offered(),
            began.elapsed().as_secs_f64(),
            self.outpost.proxy.accepted()
        );
        Ok(())
    }

    /// The gateway stands still for a while, again and again.
    fn frozen(&mut self) -> anyhow::Result<()> {
        self.outpost.proxy.open(Plan::default());
        for _ in 0..self.task.amount(4, 12, 100) {
            self.outpost.offer(3)?;
            std::thread::sleep(Duration::from_millis(self.random.below(60)));
            if let Some(process) = &self.gateway.process {
                process.freeze();
                self.outpost.offer(3)?;
                std::thread::sleep(Duration::from_millis(self.random.below(self.task.amount(600, 4_000, 30_000))));
                process.thaw();
            }
            self.found.did("freezes", 1);
        }
        Ok(())
    }

    /// The line comes and goes; every other time, in the middle of what is just being sent.
    fn flapping(&mut self) -> anyhow::Result<()> {
        self.outpost.proxy.open(Plan::default());
        for _ in 0..self.task.amount(40, 400, 4_000) {
            std::thread::sleep(Duration::from_millis(2 + self.random.below(80)));
            let link = self.outpost.proxy.newest();
            if let Some(link) = link.filter(|_| self.random.below(2) == 0) {
                link.cut_after(Way::Up, 1 + self.random.below(200));
            }
            self.outpost.offer(1)?;
            std::thread::sleep(Duration::from_millis(self.random.below(20)));
            self.outpost.proxy.cut_all(if self.random.below(2) == 0 { End::Fin } else { End::Reset });
            self.found.did("reconnects", 1);
        }
        Ok(())
    }
}
