//! Real power cuts: the agent in a virtual machine with a kernel, a page cache and an ext4 disk of its own, and the
//! machine killed in the middle of a write. What the guest had not synced is gone, as with a pulled plug.
//!
//! The gateway stays outside, is away for some of the cuts and frozen for others, so that what is lost on the disk can
//! come from nowhere else.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::judge;
use harness::offered::{self, Key};
use harness::{Gateway, Pki, data};

use self::guest::{Guest, Held};
use crate::rig::{Fault, Found, Plan, Size};

mod guest;
mod initramfs;

const DEVICE: &str = "gateway-box-1";
/// Before this instant (2020-01-01) a stored reading is of the file as history, after it of its replay.
const REPLAY_FROM_US: i64 = 1_577_836_800_000_000;
const DAY_US: i64 = 86_400_000_000;
/// How long a guest may take to boot and open its buffer, without hardware virtualisation.
const BOOT_DEADLINE: Duration = Duration::from_secs(90);
/// How long the last guest may take until the gateway has everything.
const DRAIN_DEADLINE: Duration = Duration::from_secs(240);
const DISK_BYTES: u64 = 64 * 1024 * 1024;

/// Cuts the power, starts the disk again, and in the end holds the gateway's database against the file.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    if plan.size == Size::Short {
        return Ok(found); // a boot takes longer than a commit's worth of time
    }
    let machine = match guest::Parts::find() {
        Ok(parts) => parts,
        Err(reason) => {
            found.skip("machine_power_cuts", &format!("{reason:#}"));
            return Ok(found);
        }
    };
    let cuts = plan.amount(0, 3, 50);
    // The replay should last as long as the cuts do.
    let speed = plan.amount(1, 2_500, 200);
    let text = data("cgm.csv.gz");
    let pki = Pki::create(&plan.folder.join("pki"));
    let mut gateway = Gateway::start(&plan.folder.join("gateway"), pki.server(), "");
    let files = initramfs::Files {
        agent: harness::binary("tributary-agent"),
        config: config(gateway.mqtt_port, speed),
        csv: text.clone(),
        identity: pki.device(DEVICE),
    };
    let initrd = plan.folder.join("initrd");
    initramfs::write(&machine, &files, &initrd)?;
    let disk = make_disk(&plan.folder)?;
    let start = |log: &str| Guest::start(&machine, &initrd, &disk, &plan.folder.join(log));
    let mut random = plan.seed;
    let mut at_least = Held(0);
    for cut in 0..cuts {
        match cut % 3 {
            0 => gateway.kill(),
            1 => {}
            _ => gateway.process.as_ref().context("a gateway that runs")?.freeze(),
        }
        let mut guest = start(&format!("cut-{cut}.log"))?;
        let before = guest.wait_until_up(BOOT_DEADLINE)?;
        compare(at_least, before, cut, &mut found);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(500 + (random >> 33) % 3_000));
        at_least = guest.cut_the_power()?;
        found.did("machine_power_cuts", 1);
        gateway.kill();
        gateway.restart();
    }
    let mut guest = start("last.log")?;
    let before = guest.wait_until_up(BOOT_DEADLINE)?;
    compare(at_least, before, cuts, &mut found);
    drained(&gateway, &text)?;
    guest.cut_the_power()?;
    judge_all(&gateway, &text, &mut found)?;
    Ok(found)
}

/// What a guest once said it held, the next one holds too: nothing here makes room, so nothing may leave.
fn compare(at_least: Held, now: Held, cut: u64, found: &mut Found) {
    found.fault(Fault::Lost, at_least.0.saturating_sub(now.0), || {
        format!("before cut {cut} the buffer held {} batches, and after it {}", at_least.0, now.0)
    });
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

fn judge_all(gateway: &Gateway, text: &str, found: &mut Found) -> anyhow::Result<()> {
    let (rows, replayed) = rows_of(text);
    let stored = judge::stored(&gateway.database(), DEVICE)?;
    let (history, mut replay): (Vec<Key>, Vec<Key>) = stored.into_iter().partition(|key| key.time_us < REPLAY_FROM_US);
    let wanted = offered::keys("glucose", rows.iter().map(|row| (row.time_us, row.value)));
    let verdict = judge::compare(&wanted, &history);
    let say = || verdict.to_string();
    found.fault(Fault::Lost, verdict.lost as u64, say);
    found.fault(Fault::Doubled, verdict.doubled as u64, say);
    found.fault(Fault::Phantom, verdict.phantom as u64, say);
    // When the replay's readings are due depends on when it began; their order and values do not.
    replay.sort();
    let values: Vec<f64> = replay.iter().map(|key| f64::from_bits(key.bits)).collect();
    let (many, few) = (values.len() as u64, replayed.len() as u64);
    let example = || format!("the replay has {many} readings where {few} were offered");
    found.fault(Fault::Lost, few.saturating_sub(many), example);
    found.fault(Fault::Doubled, many.saturating_sub(few), example);
    let differing =
        values.iter().zip(&replayed).filter(|(stored, offered)| stored.to_bits() != offered.to_bits()).count();
    if many == few {
        found.fault(Fault::Mutated, differing as u64, || "the replay's values are not the file's".to_owned());
    }
    Ok(())
}

fn config(port: u16, speed: u64) -> String {
    let source = |name: &str, mode: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\ntype = \"file\"\npath = \"/etc/cgm.csv\"\ntime_zone = \"Etc/UTC\"\n{mode}\
             time = {{ column = \"datetime\", format = \"%Y-%m-%d %H:%M:%S\" }}\n\
             series = [{{ column = \"glucose\", name = \"glucose\", unit = \"mg/dL\" }}]\n"
        )
    };
    format!(
        "[device]\nid = \"{DEVICE}\"\n[buffer]\npath = \"/data/buffer.db\"\nbytes_max = 33554432\n\
         [sealer]\nlinger_ms = 20\n\
         [uplink]\nhost = \"localhost\"\nport = {port}\nauthority_file = \"/etc/ca.crt\"\n\
         certificate_file = \"/etc/device.crt\"\nkey_file = \"/etc/device.key\"\n\
         reconnect_s_min = 0.05\nreconnect_s_max = 0.5\n{}{}",
        source("history", ""),
        source("now", &format!("mode = \"replay\"\nspeed = {speed}\nlast = \"1 day\"\n")),
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
