//! One look at the machine.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Settings;
use super::read::{self, FILE_BYTES_MAX, Work};

/// Temperatures that are told: of boards with more, the first.
const TEMPERATURES_MAX: usize = 32;
/// Bytes of a name's part that comes from the machine.
const SLUG_BYTES_MAX: usize = 24;

/// A number that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gauge {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: f64,
}

/// What a look gave.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) gauges: Vec<Gauge>,
    /// What is not there, or says nothing that can be read.
    pub(super) missing: Vec<String>,
}

impl Found {
    fn put(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.gauges.push(Gauge { name: name.into(), unit, value });
    }
}

/// Looks, and knows what the processors had done before.
#[derive(Debug)]
pub(super) struct Look {
    settings: Settings,
    before: Option<Work>,
}

impl Look {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, before: None }
    }

    /// Everything that is asked for. It may block.
    pub(super) fn look(&mut self) -> Found {
        let mut found = Found::default();
        let loads = self.file("proc/loadavg", &mut found, read::load);
        for (name, load) in ["1m", "5m", "15m"].iter().zip(loads.into_iter().flatten()) {
            found.put(format!("system.load.{name}"), "1", load);
        }
        let available = self.file("proc/meminfo", &mut found, |text| read::memory(text, "MemAvailable"));
        if let Some(available) = available {
            found.put("system.memory.available", "By", available);
        }
        if let Some(uptime) = self.file("proc/uptime", &mut found, read::uptime) {
            found.put("system.uptime", "s", uptime);
        }
        let now = self.file("proc/stat", &mut found, read::work);
        let share = self.before.zip(now).and_then(|(before, now)| now.percent_since(before));
        if let Some(share) = share {
            found.put("system.cpu", "%", share);
        }
        self.before = now;
        for disk in &self.settings.disks {
            look_at_disk(disk, &mut found);
        }
        if self.settings.temperatures {
            self.temperatures(&mut found);
        }
        found
    }

    fn file<T>(&self, path: &str, found: &mut Found, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let path = self.settings.root.join(path);
        match text_of(&path) {
            Ok(text) => {
                let value = read(&text);
                if value.is_none() {
                    found.missing.push(format!("{} says nothing that can be read", path.display()));
                }
                value
            }
            Err(error) => {
                found.missing.push(format!("{}: {error}", path.display()));
                None
            }
        }
    }

    /// Of thermal zones, and of sensors that are no zones. One that is asleep says nothing for now.
    fn temperatures(&self, found: &mut Found) {
        let (mut names, sys) = (HashSet::new(), self.settings.root.join("sys/class"));
        for zone in entries(&sys.join("thermal"), "thermal_zone", "") {
            let name = text_of(&zone.join("type")).unwrap_or_default();
            put_temperature(&zone.join("temp"), &slug(&name), &mut names, found);
        }
        for chip in entries(&sys.join("hwmon"), "hwmon", "") {
            let name = slug(&text_of(&chip.join("name")).unwrap_or_default());
            for input in entries(&chip, "temp", "_input") {
                let file = input.file_name().unwrap_or_default().to_string_lossy();
                let sensor = file.strip_suffix("_input").unwrap_or(&file);
                let label = text_of(&chip.join(format!("{sensor}_label"))).unwrap_or_else(|_| sensor.to_owned());
                put_temperature(&input, &format!("{name}.{}", slug(&label)), &mut names, found);
            }
        }
        if names.is_empty() {
            found.missing.push(format!("{} has no temperatures", sys.display()));
        }
    }
}

fn put_temperature(file: &Path, name: &str, names: &mut HashSet<String>, found: &mut Found) {
    if names.len() == TEMPERATURES_MAX {
        return;
    }
    // Names are taken whether or not there is a number now: they must not change with it.
    let free = (1..).map(|count| if count == 1 { name.to_owned() } else { format!("{name}.{count}") });
    let Some(name) = free.into_iter().find(|name| !names.contains(name)) else { return };
    names.insert(name.clone());
    if let Some(celsius) = text_of(file).ok().and_then(|text| read::celsius(&text)) {
        found.put(format!("system.temperature.{name}"), "Cel", celsius);
    }
}

fn look_at_disk(disk: &Path, found: &mut Found) {
    let about = match rustix::fs::statvfs(disk) {
        Ok(about) => about,
        Err(error) => return found.missing.push(format!("{}: {}", disk.display(), std::io::Error::from(error))),
    };
    let bytes = |blocks: u64| blocks.checked_mul(about.f_frsize).and_then(read::exact);
    let name = slug(&disk.to_string_lossy());
    // What is free to all users, as df(1) has it.
    if let (Some(free), Some(total)) = (bytes(about.f_bavail), bytes(about.f_blocks)) {
        found.put(format!("system.disk.{name}.free"), "By", free);
        found.put(format!("system.disk.{name}.total"), "By", total);
    }
}

/// Entries of `folder` that are named `beginning`, a number, `end`; in the order of the number.
fn entries(folder: &Path, beginning: &str, end: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().take(1_000).map(|entry| entry.file_name());
    let mut numbers: Vec<u32> =
        names.filter_map(|name| name.to_str()?.strip_prefix(beginning)?.strip_suffix(end)?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| folder.join(format!("{beginning}{number}{end}"))).collect()
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A part of a series' name: letters and digits, everything else as `_`; `root` for nothing.
pub(super) fn slug(text: &str) -> String {
    let known = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    let slug: String = text.trim().chars().take(SLUG_BYTES_MAX).map(known).collect();
    let slug = slug.trim_matches('_');
    if slug.is_empty() { "root".to_owned() } else { slug.to_owned() }
}
