//! Lines that are taken apart by a regular expression: its named groups are the fields.

use regex_lite::{Regex, RegexBuilder};

/// Bytes an expression may have.
const BYTES_MAX: usize = 1_024;
/// Bytes it may take once compiled. A line costs at most its length times the states in them, whatever it holds: matching
/// is linear, and never goes back.
const COMPILED_BYTES_MAX: usize = 64 * 1_024;
/// How deep groups may be in each other.
const NESTING_MAX: u32 = 32;

/// An expression that a whole line is to match, and its named groups.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// Each name with its group's number.
    groups: Vec<(usize, String)>,
}

impl Pattern {
    /// Reads an expression; fails with what is wrong and what would be right.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() || text.len() > BYTES_MAX {
            return Err(format!("is to be 1 to {BYTES_MAX} bytes, such as 'T=(?<t>[0-9.]+) H=(?<h>[0-9.]+)%'"));
        }
        let wrong = |error: regex_lite::Error| {
            format!(
                "is no regular expression that is taken: {error}; a value is a group with a name, such as (?<t>[0-9.]+)"
            )
        };
        // All of a line, not something in it: half of a damaged line may look whole.
        let whole = format!("^(?:{})$", text.trim());
        let mut builder = RegexBuilder::new(&whole);
        let regex = builder.size_limit(COMPILED_BYTES_MAX).nest_limit(NESTING_MAX).build().map_err(wrong)?;
        let names = regex.capture_names().enumerate();
        let groups: Vec<_> = names.filter_map(|(place, name)| Some((place, name?.to_owned()))).collect();
        if groups.is_empty() {
            return Err("names no group; put (?<name>…) around what is a value, such as (?<t>[0-9.]+)".into());
        }
        Ok(Self { regex, groups })
    }

    /// The names of its groups.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(_, name)| name.as_str())
    }

    /// The named groups of a line, without those that took no part; fails, without repeating anything of the line, where it
    /// is another kind of line.
    pub(super) fn split<'a>(&'a self, line: &'a str) -> Result<Vec<(&'a str, &'a str)>, String> {
        let found =
            self.regex.captures(line.trim()).ok_or("does not match `pattern`, which is to match all of a line")?;
        let group = |(place, name): &'a (usize, String)| Some((name.as_str(), found.get(*place)?.as_str()));
        Ok(self.groups.iter().filter_map(group).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split<'a>(pattern: &'a Pattern, line: &'a str) -> Vec<(&'a str, &'a str)> {
        pattern.split(line).unwrap()
    }

    #[test]
    fn groups_are_found_wherever_they_are_and_one_that_takes_no_part_is_absent() {
        let pattern = Pattern::new(r"T=(?<t>\S+)\s+H=(?<h>[0-9.]*)%").unwrap();
        assert_eq!(split(&pattern, "T=21.5 H=40%"), [("t", "21.5"), ("h", "40")]);
        assert_eq!(split(&pattern, "  T=21.5 \t  H=%\r"), [("t", "21.5"), ("h", "")]);
        let pattern = Pattern::new(r"(?:(?<at>\d\d:\d\d) )?Tank \{(?P<level>\d+)\} (?<unit>.*)").unwrap();
        assert_eq!(split(&pattern, "12:00 Tank {7} mm of it"), [("at", "12:00"), ("level", "7"), ("unit", "mm of it")]);
        assert_eq!(split(&pattern, "Tank {7} mm"), [("level", "7"), ("unit", "mm")]);
    }

    #[test]
    fn a_line_is_matched_whole_and_an_error_does_not_say_what_it_holds() {
        let pattern = Pattern::new("T=(?<t>[0-9.]+)|H=(?<h>[0-9]+)").unwrap();
        assert_eq!(split(&pattern, "H=4711"), [("h", "4711")]);
        for line in ["t=4711", "x T=4711", "T=4711 4711", "T=4711H=4711", "", "T=47\u{fffd}11"] {
            let problem = pattern.split(line).unwrap_err();
            assert!(problem.contains("match") && !problem.contains("4711"), "{line}: {problem}");
        }
    }

    #[test]
    fn expressions_that_cannot_be_say_why() {
        for (pattern, problem) in [
            ("  ", "1 to 1024"),
            ("T=21", "names no group"),
            ("T=([0-9]+)", "names no group"),
            ("T={t}", "such as (?<t>"),
            ("(?<t>", "no regular expression"),
            ("(?<t>a)(?<t>b)", "no regular expression"),
            ("(?<t>a{1000}{1000})", "no regular expression"),
        ] {
            let found = Pattern::new(pattern).unwrap_err();
            assert!(found.contains(problem), "{pattern}: {found}");
        }
        let deep = format!("(?<t>{}a{})", "(".repeat(40), ")".repeat(40));
        assert!(Pattern::new(&deep).unwrap_err().contains("no regular expression"));
    }

    #[test]
    fn an_expression_that_is_hard_elsewhere_costs_a_long_line_little() {
        let pattern = Pattern::new("(?<t>(a|aa)+)b").unwrap();
        let (line, start) = ("a".repeat(65_536), std::time::Instant::now());
        assert!(pattern.split(&line).is_err());
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn any_pattern_meets_any_line(pattern in "[ab()?<>*|+. =]{0,20}", line in "[ab{} =ä]{0,30}") {
            if let Ok(pattern) = Pattern::new(&pattern)
                && let Ok(parts) = pattern.split(&line)
            {
                prop_assert!(parts.len() <= pattern.names().count());
            }
        }

        #[test]
        fn what_stands_in_the_groups_is_read_back(one in "[0-9.]{1,8}", other in "[a-z]{0,8}") {
            let pattern = Pattern::new(r"<(?<one>[^|]*)\|(?<other>[^|]*)>").unwrap();
            let line = format!("<{one}|{other}>");
            prop_assert_eq!(pattern.split(&line).unwrap(), [("one", one.as_str()), ("other", other.as_str())]);
        }
    }
}
