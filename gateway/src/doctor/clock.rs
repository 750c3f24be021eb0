//! Whether this machine's clock is right, as far as others can tell.

use super::finding::{Finding, or_well};

const CHECK: &str = "clock";
/// What an answer of the database may take, and what clocks that are kept right differ by.
const APART_S_MAX: i64 = 5;
/// Beyond it certificates are judged wrongly, and readings are in the wrong hour.
const FAR_S: i64 = 60;
/// 2026-01-01: before the first release.
const FLOOR_S: i64 = 1_767_225_600;

/// What clocks say, in seconds since 1970.
pub(super) struct Clocks {
    pub(super) own_s: i64,
    /// The database server's, if that is another machine's.
    pub(super) database_s: Option<i64>,
    /// When the gateways last took something in, by their clocks.
    pub(super) last_arrival_s: Option<i64>,
}

/// Whether they agree.
pub(super) fn examine(clocks: &Clocks) -> Vec<Finding> {
    let Clocks { own_s, database_s, last_arrival_s } = *clocks;
    let set = "have the clock kept right (systemd-timesyncd or chrony)";
    let mut found = Vec::new();
    if own_s < FLOOR_S {
        found.push(Finding::fault(CHECK, "this machine's clock stands before this program was written", set));
    }
    if let Some(apart) =
        database_s.map(|database| own_s.saturating_sub(database)).filter(|apart| apart.abs() > APART_S_MAX)
    {
        let side = if apart > 0 { "ahead of" } else { "behind" };
        let what = format!("this machine's clock is {} s {side} the database's", apart.abs());
        let worse = apart.abs() > FAR_S;
        found.push(if worse { Finding::fault(CHECK, what, set) } else { Finding::warning(CHECK, what, set) });
    }
    if let Some(ahead) = last_arrival_s.map(|last| last.saturating_sub(own_s)).filter(|ahead| *ahead > APART_S_MAX) {
        let what = format!(
            "the newest batch arrived {ahead} s after now: a clock was set back, or another gateway's is ahead"
        );
        let worse = ahead > FAR_S;
        found.push(if worse { Finding::fault(CHECK, what, set) } else { Finding::warning(CHECK, what, set) });
    }
    or_well(found, CHECK, || "no other clock contradicts this machine's".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    const NOW_S: i64 = 1_790_000_000;

    #[test]
    fn a_clock_that_differs_from_the_databases_is_a_warning_and_one_that_differs_much_is_a_fault() {
        let level = |own_s, database_s| {
            let found = examine(&Clocks { own_s, database_s, last_arrival_s: None });
            assert_eq!(found.len(), 1);
            found[0].level
        };
        for apart in [0, 5, -5] {
            assert_eq!(level(NOW_S, Some(NOW_S + apart)), Level::Ok, "{apart}");
        }
        for (apart, wanted) in [(6, Level::Warning), (-60, Level::Warning), (61, Level::Fault), (-9_000, Level::Fault)]
        {
            assert_eq!(level(NOW_S, Some(NOW_S + apart)), wanted, "{apart}");
        }
        assert_eq!((level(0, None), level(NOW_S, None)), (Level::Fault, Level::Ok));
    }
}
