use std::path::Path;

use super::*;
use crate::source::testing::{NOON, Running, configured, told_all};
use crate::source::{Configured, Settings as Any};

fn system(root: &Path) -> Configured {
    configured(&format!("name = \"gateway\"\ntype = \"system\"\nevery_s = 1\nroot = {root:?}\ndisks = [{root:?}]"))
}

/// A machine with two zones of one type and a chip with a labelled sensor.
fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("proc/loadavg", "0.52 1.08 12.00 1/467 12345\n"),
        ("proc/meminfo", "MemTotal: 1944896 kB\nMemAvailable: 1000 kB\n"),
        ("proc/uptime", "350735.47 234388.90\n"),
        ("proc/stat", "cpu  1000 0 500 8000 100 0 0 0 0 0\n"),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
        ("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone1/temp", "asleep"),
        ("sys/class/thermal/thermal_zone2/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone2/temp", "-1500\n"),
        ("sys/class/thermal/cooling_device0/type", "fan\n"),
        ("sys/class/hwmon/hwmon0/name", "nvme\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "36850\n"),
        ("sys/class/hwmon/hwmon0/temp1_label", "Composite\n"),
        ("sys/class/hwmon/hwmon0/temp2_input", "40000\n"),
    ] {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn the_sample_is_valid_and_shows_every_default() {
    #[derive(serde::Deserialize)]
    struct Sample {
        source: Vec<Configured>,
    }
    let sample: Sample = toml::from_str(include_str!("sample.toml")).unwrap();
    assert_eq!(sample.source[0], configured("name = \"gateway\"\ntype = \"system\""));
}

#[test]
fn settings_that_cannot_be_are_named() {
    for (more, field) in [
        ("every_s = 0", "every_s"),
        ("disks = [\"var\"]", "disks"),
        ("disks = [\"/var/lib\", \"/var-lib\"]", "disks"),
        ("root = \"host\"", "disks"),
    ] {
        let source: Configured = toml::from_str(&format!("name = \"a\"\ntype = \"system\"\n{more}")).unwrap();
        assert_eq!(source.validate().unwrap_err().field, format!("source.a.{field}"));
    }
}

#[tokio::test]
async fn a_machine_becomes_its_series_with_units_that_are_known() {
    let root = machine();
    let mut running = Running::start(&system(root.path()), None, &SourceClock::invented(NOON), 4);
    let first = running.next().await;
    std::fs::write(root.path().join("proc/stat"), "cpu  1200 0 550 8650 200 0 0 0 0 0\n").unwrap();
    let second = running.next().await;
    running.stop().await;
    let told = |intake| -> Vec<String> {
        let told = told_all(&[intake]);
        let short = |line: &String| line.split_ascii_whitespace().skip(2).collect::<Vec<_>>().join(" ");
        told.iter().map(short).filter(|line| !line.starts_with("system.disk.")).collect()
    };
    assert!(second.samples.iter().all(|sample| sample.series.unit.is_known()));
    let disks: Vec<&str> =
        second.samples.iter().map(|sample| sample.series.name.as_str()).filter(|name| name.contains("disk")).collect();
    assert!(disks.len() == 2 && disks[0].ends_with(".free") && disks[1].ends_with(".total"), "{disks:?}");
    let (first, second) = (told(first), told(second));
    let mut expected = vec![
        "system.load.1m [1] gauge 0.52",
        "system.load.5m [1] gauge 1.08",
        "system.load.15m [1] gauge 12",
        "system.memory.available [By] gauge 1024000",
        "system.uptime [s] gauge 350735.47",
        "system.cpu [%] gauge 25",
        "system.temperature.cpu_thermal [Cel] gauge 48.312",
        "system.temperature.cpu_thermal.3 [Cel] gauge -1.5",
        "system.temperature.nvme.composite [Cel] gauge 36.85",
        "system.temperature.nvme.temp2 [Cel] gauge 40",
    ];
    assert_eq!(second, expected);
    expected.remove(5);
    assert_eq!(first, expected, "the share that works needs two looks");
}

#[test]
fn what_a_machine_lacks_is_named_and_costs_nothing_else() {
    let root = machine();
    std::fs::remove_dir_all(root.path().join("sys")).unwrap();
    std::fs::remove_file(root.path().join("proc/uptime")).unwrap();
    std::fs::write(root.path().join("proc/meminfo"), "MemTotal: 1 kB\n").unwrap();
    let settings =
        Settings { every_s: 1, disks: vec!["/no/disk".into()], temperatures: true, root: root.path().into() };
    let found = Look::new(settings).look();
    assert_eq!(found.gauges.len(), 3);
    let missing = found.missing.join("\n");
    for (name, count) in [("meminfo says nothing", 1), ("uptime", 1), ("/no/disk", 1), ("no temperatures", 1)] {
        assert_eq!(missing.matches(name).count(), count, "{missing}");
    }
}

/// On the machine that tests run on, whatever it is.
#[test]
fn this_machine_has_a_load_memory_and_a_disk() {
    let Any::System(settings) = configured("name = \"a\"\ntype = \"system\"").settings else { unreachable!() };
    let names: Vec<String> = Look::new(settings).look().gauges.into_iter().map(|gauge| gauge.name).collect();
    for name in ["system.load.1m", "system.memory.available", "system.uptime", "system.disk.root.free"] {
        assert!(names.iter().any(|found| found == name), "{names:?}");
    }
}
