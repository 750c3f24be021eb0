//! Real power cuts: the agent in a virtual machine with a kernel, a page cache and an ext4 disk of its own, and the
//! machine killed in the middle of a write. What the guest had not synced is gone, as with a pulled plug.
//!
//! The gateway stays outside, is away for some of the cuts and frozen for others, so that what is lost on the disk can
//! come from nowhere else.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{Guest, Held, Parts, initramfs};
use crate::judge::{self, Verdict};
use crate::offered::{self, Key};
use crate::world::Random;
use crate::{Gateway, Pki, data};

const DEVICE: &str = "gateway-box-1";
/// Before this instant (2020-01-01) a stored reading is of the file as history, after it of its replay.
const REPLAY_FROM_US: i64 = 1_577_836_800_000_000;
const DAY_US: i64 = 86_400_000_000;
/// How long a guest may take to boot and open its buffer, without hardware virtualisation and beside others.
const BOOT_DEADLINE: Duration = Duration::from_secs(240);
/// How long the last guest may take until the gateway has everything.
const DRAIN_DEADLINE: Duration = Duration::from_secs(240);
/// How long an idle agent may take to be connected and to have said what it takes.
const IDLE_DEADLINE: Duration = Duration::from_secs(90);
/// How long it idles before it is looked at.
const IDLE: Duration = Duration::from_secs(5);
const DISK_BYTES: u64 = 64 * 1024 * 1024;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    /// An empty folder of its own.
    pub folder: &'a Path,
    /// The machines that run in turn: of one kind, and on one disk.
    pub machines: &'a [Parts],
    /// The agent.
    pub agent: PathBuf,
    /// How often the power is cut.
    pub cuts: u64,
    /// How much faster than life the last day is replayed: it should last as long as the cuts do.
    pub speed: u64,
    /// Where the moments come from.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Power cuts.
    pub cuts: u64,
    /// Batches that a guest held and the next one did not: nothing here makes room, so nothing may leave.
    pub vanished: u64,
    /// The first of them, in words.
    pub vanished_example: String,
    /// The file's readings.
    pub history: Verdict,
    /// How many readings its replay has, and how many of them are stored.
    pub replay: (usize, usize),
    /// How many of the replay's values are others than the file's, where they are as many.
    pub changed: usize,
}

impl Outcome {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.vanished == 0 && self.history.is_clean() && self.replay.0 == self.replay.1 && self.changed == 0
    }

    fn compare(&mut self, at_least: Held, now: Held, cut: u64) {
        if now < at_least {
            let say = format!("before cut {cut} the buffer held {} batches, and after it {}", at_least.0, now.0);
            self.vanished_example = if self.vanished == 0 { say } else { self.vanished_example.clone() };
            self.vanished += at_least.0 - now.0;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (offered, stored) = self.replay;
        write!(f, "{} power cuts: {}; of the replay {stored} of {offered}, ", self.cuts, self.history)?;
        write!(f, "{} changed; {} batches vanished {}", self.changed, self.vanished, self.vanished_example)
    }
}

impl Trial<'_> {
    /// Cuts the power, starts the disk again, and in the end holds the gateway's database against the file.
    ///
    /// # Errors
    /// When something does not start, or a guest ends by itself.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let text = data("cgm.csv.gz");
        let pki = Pki::create(&self.folder.join("pki"));
        let mut gateway = Gateway::start(&self.folder.join("gateway"), pki.server(), "");
        let files = initramfs::Files {
            agent: self.agent.clone(),
            config: config(gateway.mqtt_port, &sources(self.speed)),
            csv: text.clone(),
            identity: pki.device(DEVICE),
        };
        let machine = |cut: u64| {
            let place = usize::try_from(cut % self.machines.len() as u64).unwrap_or(0);
            self.machines.get(place).context("a machine to start")
        };
        let initrd = self.folder.join("initrd");
        initramfs::write(machine(0)?, &files, &initrd)?;
        let disk = make_disk(self.folder)?;
        let start = |cut, log: &str| Guest::start(machine(cut)?, &initrd, &disk, &self.folder.join(log));
        let mut random = Random::new(self.seed);
        let mut outcome = Outcome::default();
        let mut at_least = Held(0);
        for cut in 0..self.cuts {
            match cut % 3 {
                0 => gateway.kill(),
                1 => {}
                _ => gateway.process.as_ref().context("a gateway that runs")?.freeze(),
            }
            let mut guest = start(cut, &format!("cut-{cut}.log"))?;
            let before = guest.wait_until_up(BOOT_DEADLINE)?;
            outcome.compare(at_least, before, cut);
            std::thread::sleep(random.millis(500, 3_500));
            at_least = guest.cut_the_power()?;
            outcome.cuts += 1;
            gateway.kill();
            gateway.restart();
        }
        let mut guest = start(self.cuts, "last.log")?;
        let before = guest.wait_until_up(BOOT_DEADLINE)?;
        outcome.compare(at_least, before, self.cuts);
        drained(&gateway, &text)?;
        guest.cut_the_power()?;
        judge_all(&gateway, &text, &mut outcome)?;
        Ok(outcome)
    }
}

/// What an agent takes of a guest's memory that is connected and has little to do, in KiB.
///
/// # Errors
/// When it does not start, connect, or say so.
pub fn resident_kib(folder: &Path, machine: &Parts, agent: &Path) -> anyhow::Result<u64> {
    let pki = Pki::create(&folder.join("pki"));
    let gateway = Gateway::start(&folder.join("gateway"), pki.server(), "");
    let source = "[[source]]\nname = \"person\"\ntype = \"simulate\"\nwhat = \"person\"\n";
    let files = initramfs::Files {
        agent: agent.to_owned(),
        config: config(gateway.mqtt_port, source),
        csv: String::new(),
        identity: pki.device(DEVICE),
    };
    let initrd = folder.join("initrd");
    initramfs::write(machine, &files, &initrd)?;
    let mut guest = Guest::start(machine, &initrd, &make_disk(folder)?, &folder.join("idle.log"))?;
    guest.wait_until_up(BOOT_DEADLINE)?;
    let begun = Instant::now();
    while judge::stored(&gateway.database(), DEVICE)?.is_empty() {
        anyhow::ensure!(begun.elapsed() < IDLE_DEADLINE, "the agent in the guest sends nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(IDLE);
    guest
        .resident_kib()
        .filter(|kib| *kib > 0)
        .with_context(|| format!("the guest does not say what its agent takes:\n{}", guest.said()))
}

fn rows_of(text: &str) -> (Vec<offered::Row>, Vec<f64>) {
    let rows = offered::cgm_rows(text);
    let last = rows.iter().map(|row| row.time_us).max().unwrap_or(0);
    let replayed = rows.iter().filter(|row| row.time_us >= last - DAY_US).map(|row| row.value).collect();
    (rows, replayed)
}

/// Waits until the gateway has as many readings as were offered, or no more come for a while: the judge says what is
/// missing.
fn drained(gateway: &Gateway, text: &str) -> anyhow::Result<()> {
    let (rows, replayed) = rows_of(text);
    let begun = Instant::now();
    while begun.elapsed() < DRAIN_DEADLINE
        && judge::stored(&gateway.database(), DEVICE)?.len() < rows.len() + replayed.len()
    {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn judge_all(gateway: &Gateway, text: &str, outcome: &mut Outcome) -> anyhow::Result<()> {
    let (rows, replayed) = rows_of(text);
    let stored = judge::stored(&gateway.database(), DEVICE)?;
    let (history, mut replay): (Vec<Key>, Vec<Key>) = stored.into_iter().partition(|key| key.time_us < REPLAY_FROM_US);
    let wanted = offered::keys("glucose", rows.iter().map(|row| (row.time_us, row.value)));
    outcome.history = judge::compare(&wanted, &history);
    // When the replay's readings are due depends on when it began; their order and values do not.
    replay.sort();
    outcome.replay = (replayed.len(), replay.len());
    if replay.len() == replayed.len() {
        let differs = |(stored, offered): &(&Key, &f64)| stored.bits != offered.to_bits();
        outcome.changed = replay.iter().zip(&replayed).filter(differs).count();
    }
    Ok(())
}

fn sources(speed: u64) -> String {
    let source = |name: &str, mode: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\ntype = \"file\"\npath = \"/etc/cgm.csv\"\ntime_zone = \"Etc/UTC\"\n{mode}\
             time = {{ column = \"datetime\", format = \"%Y-%m-%d %H:%M:%S\" }}\n\
             series = [{{ column = \"glucose\", name = \"glucose\", unit = \"mg/dL\" }}]\n"
        )
    };
    format!(
        "{}{}",
        source("history", ""),
        source("now", &format!("mode = \"replay\"\nspeed = {speed}\nlast = \"1 day\"\n"))
    )
}

fn config(port: u16, sources: &str) -> String {
    format!(
        "[device]\nid = \"{DEVICE}\"\n[buffer]\npath = \"/data/buffer.db\"\nbytes_max = 33554432\n\
         [sealer]\nlinger_ms = 20\n\
         [uplink]\nhost = \"localhost\"\nport = {port}\nauthority_file = \"/etc/ca.crt\"\n\
         certificate_file = \"/etc/device.crt\"\nkey_file = \"/etc/device.key\"\n\
         reconnect_s_min = 0.05\nreconnect_s_max = 0.5\n{sources}"
    )
}

fn make_disk(folder: &Path) -> anyhow::Result<PathBuf> {
    let disk = folder.join("disk.img");
    std::fs::File::create(&disk)?.set_len(DISK_BYTES)?;
    let made =
        std::process::Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).output().context("run mkfs.ext4")?;
    anyhow::ensure!(made.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&made.stderr));
    Ok(disk)
}
