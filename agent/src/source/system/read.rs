//! What files of `/proc` and `/sys` say (proc(5), Documentation/filesystems/proc.rst and thermal/sysfs-api.rst of Linux).

/// Bytes of one file that are read.
pub(super) const FILE_BYTES_MAX: u64 = 64 * 1024;

/// `/proc/loadavg`: load over 1, 5 and 15 minutes.
pub(super) fn load(text: &str) -> Option<[f64; 3]> {
    let mut parts = text.split_ascii_whitespace().map(number);
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// `/proc/meminfo`: bytes of that field.
pub(super) fn memory(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let (kib, unit) = line.trim().split_once(' ')?;
    let kib: u64 = kib.parse().ok().filter(|_| unit == "kB")?;
    exact(kib.checked_mul(1_024)?)
}

/// `/proc/uptime`: seconds.
pub(super) fn uptime(text: &str) -> Option<f64> {
    number(text.split_ascii_whitespace().next()?)
}

/// What processors have done since boot, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    all: u64,
    idle: u64,
}

/// `/proc/stat`: the line of all processors. Guests' time is within users' time.
pub(super) fn work(text: &str) -> Option<Work> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|part| part.parse().ok()).collect();
    if ticks.len() < 4 {
        return None;
    }
    let all = ticks.iter().try_fold(0_u64, |sum, ticks| sum.checked_add(*ticks))?;
    let idle = ticks[3].checked_add(ticks.get(4).copied().unwrap_or(0))?;
    Some(Work { all, idle })
}

impl Work {
    /// The share that worked since `before`, in percent, to a tenth; none where no time has passed.
    pub(super) fn percent_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        // Ticks that wait for a disk are known to go back now and then.
        let idle = self.idle.saturating_sub(before.idle).min(all);
        let tenths = (all - idle).checked_mul(1_000)?.checked_add(all / 2)? / all;
        exact(tenths).map(|tenths| tenths / 10.0)
    }
}

/// A temperature's file: degrees Celsius of thousandths.
pub(super) fn celsius(text: &str) -> Option<f64> {
    let thousandths: i32 = text.trim().parse().ok()?;
    Some(f64::from(thousandths) / 1_000.0)
}

/// A whole number as a double that is just that.
pub(super) fn exact(number: u64) -> Option<f64> {
    (number <= 1 << 53).then_some(number as f64)
}

fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| plain)
}

/// Any text is numbers or nothing. For fuzzing alone.
pub(in crate::source) fn fuzz(text: &str) {
    let [load, more] = [load(text).map(|load| load[0]), memory(text, "MemAvailable")];
    let numbers = [load, more, uptime(text), celsius(text)];
    assert!(numbers.into_iter().flatten().all(f64::is_finite));
    if let Some(work) = work(text) {
        let share = work.percent_since(Work { all: 0, idle: 0 });
        assert!(share.is_none_or(|share| (0.0..=100.0).contains(&share)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_say_what_proc_5_says_they_do() {
        assert_eq!(load("0.52 1.08 12.00 1/467 12345\n"), Some([0.52, 1.08, 12.0]));
        assert_eq!(load("0.52 1.08\n"), None);
        let meminfo = "MemTotal:        1944896 kB\nMemFree:           80000 kB\nMemAvailable:    1234567 kB\n";
        assert_eq!(memory(meminfo, "MemAvailable"), Some(1_264_196_608.0));
        assert_eq!(memory(meminfo, "Mem"), None);
        assert_eq!(uptime("350735.47 234388.90\n"), Some(350_735.47));
        assert_eq!(celsius("48312\n"), Some(48.312));
        assert_eq!([celsius("-5000"), celsius("x"), celsius("")], [Some(-5.0), None, None]);
    }

    #[test]
    fn the_share_that_works_is_of_the_time_between_two_looks() {
        // 1000 ticks: 200 user, 50 system, 650 idle, 100 waiting for a disk.
        let before = work("cpu  1000 0 500 8000 100 0 0 0 77 0\ncpu0 1 2 3 4\n").unwrap();
        let after = work("cpu  1200 0 550 8650 200 0 0 0 99 0\n").unwrap();
        assert_eq!(after.percent_since(before), Some(25.0));
        assert_eq!(after.percent_since(after), None);
        assert_eq!(before.percent_since(after), None, "counters that went back say nothing");
        assert_eq!(work("cpu0 1 2 3 4"), None);
        assert_eq!(work("cpu  1 2 3"), None);
    }
}
