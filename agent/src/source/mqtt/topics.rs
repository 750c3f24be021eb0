//! Topic filters with captures, and series' names made of them.

use std::fmt::Write;

use proto::SeriesName;

/// Bytes a filter may have.
const FILTER_BYTES_MAX: usize = 256;

/// A topic filter of words and `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Word(String),
    /// `+`: any one level, captured.
    Any,
}

impl Filter {
    /// Reads a filter. Fails with what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > FILTER_BYTES_MAX || text.contains('\0') {
            return Err(format!("is to be a topic of 1 to {FILTER_BYTES_MAX} bytes, with `+` for any one level"));
        }
        if text.starts_with("$share/") {
            return Err("is a shared subscription, of which this client would get a part only".into());
        }
        let level = |level: &str| match level {
            "+" => Ok(Level::Any),
            word if word.contains(['#', '+']) => {
                Err("is to have `+` for any one level; `#` would make one series of many topics".to_owned())
            }
            word => Ok(Level::Word(word.to_owned())),
        };
        Ok(Self { levels: text.split('/').map(level).collect::<Result<_, _>>()? })
    }

    /// How many levels it captures.
    pub(super) fn captures(&self) -> usize {
        self.levels.iter().filter(|level| **level == Level::Any).count()
    }

    /// How many levels it has.
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    /// What `+` stands for in `topic`, where it is one that the filter means.
    pub(super) fn capture<'t>(&self, topic: &'t str) -> Option<Vec<&'t str>> {
        let mut captured = Vec::new();
        let mut words = topic.split('/');
        for (place, level) in self.levels.iter().enumerate() {
            let word = words.next()?;
            match level {
                Level::Word(own) if own == word => {}
                // The broker's own topics are not meant by a wildcard (section 4.7.2).
                Level::Any if place > 0 || !word.starts_with('$') => captured.push(word),
                _ => return None,
            }
        }
        words.next().is_none().then_some(captured)
    }

    /// Whether there is a topic that both mean.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let common = |pair: (&Level, &Level)| match pair {
            (Level::Word(one), Level::Word(other)) => one == other,
            _ => true,
        };
        self.levels.len() == other.levels.len() && self.levels.iter().zip(&other.levels).all(common)
    }

    /// The level at `place`, as it is written.
    pub(super) fn level(&self, place: usize) -> &str {
        match self.levels.get(place) {
            Some(Level::Word(word)) => word,
            Some(Level::Any) => "+",
            None => "",
        }
    }
}

/// A series' name in which `{1}` is what the first `+` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Capture(usize),
}

impl Template {
    /// Reads a name for a filter of so many captures. Each must be in it: else several topics would be one series.
    pub(super) fn parse(text: &str, captures: usize) -> Result<Self, String> {
        let (mut parts, mut left) = (Vec::new(), text);
        while let Some((before, rest)) = left.split_once('{') {
            let (number, after) = rest.split_once('}').ok_or("has a `{` without `}`")?;
            let place: usize = number.parse().ok().filter(|place| (1..=captures).contains(place)).ok_or_else(|| {
                format!("has {{{number}}}, and the filter has {captures} `+`, which are {{1}} and so on")
            })?;
            parts.extend([Part::Text(before.to_owned()), Part::Capture(place - 1)]);
            left = after;
        }
        parts.push(Part::Text(left.to_owned()));
        let missing = (0..captures).find(|place| !parts.contains(&Part::Capture(*place)));
        if let Some(place) = missing {
            let number = place + 1;
            return Err(format!("is to have {{{number}}}: all topics would be one series without it"));
        }
        let template = Self(parts);
        let example: Result<SeriesName, _> = template.fill(&vec!["x"; captures]).parse();
        example.map(|_| template).map_err(|error| format!("is no name: {error}"))
    }

    /// The name, with each byte that no name has as `:` and two hexadecimal digits, so that no two topics become one.
    pub(super) fn fill(&self, captured: &[&str]) -> String {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Capture(place) => escape(captured.get(*place).unwrap_or(&""), &mut name),
            }
        }
        name
    }
}

fn escape(text: &str, name: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"._/-".contains(&byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, ":{byte:02x}"); // to a string, which takes all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::parse(text).unwrap()
    }

    #[test]
    fn a_plus_is_any_one_level_and_is_captured() {
        let home = filter("tele/+/SENSOR/+");
        assert_eq!(home.capture("tele/plug-1/SENSOR/a b"), Some(vec!["plug-1", "a b"]));
        assert_eq!(home.capture("tele//SENSOR/"), Some(vec!["", ""]));
        for other in ["tele/plug-1/SENSOR", "tele/plug-1/STATE/x", "tele/plug-1/SENSOR/x/y", "TELE/plug-1/SENSOR/x"] {
            assert_eq!(home.capture(other), None, "{other}");
        }
        assert_eq!(filter("+/x").capture("$SYS/x"), None, "the broker's own topics");
    }

    #[test]
    fn filters_that_share_a_topic_are_known() {
        assert!(filter("a/+").overlaps(&filter("+/b")));
        assert!(!filter("a/+").overlaps(&filter("b/+")));
        assert!(!filter("a/+").overlaps(&filter("a/b/c")));
    }

    #[test]
    fn names_are_made_of_captures_and_never_the_same_for_two_topics() {
        let name = Template::parse("temperature.{2}.{1}", 2).unwrap();
        assert_eq!(name.fill(&["kitchen", "Living Room"]), "temperature.Living:20Room.kitchen");
        assert_ne!(name.fill(&["a b", "x"]), name.fill(&["a:20b", "x"]));
        assert_eq!(Template::parse("t", 0).unwrap().fill(&[]), "t");
    }

    #[test]
    fn what_cannot_be_says_why() {
        for (text, why) in [("", "1 to 256"), ("a/#", "`+`"), ("a/b+", "`+`"), ("$share/g/a", "shared")] {
            assert!(Filter::parse(text).unwrap_err().contains(why), "{text}");
        }
        for (text, why) in
            [("t", "{1}"), ("t.{1}.{2}", "{2}"), ("t.{1", "without"), ("t {1}", "name"), ("{x}{1}", "{x}")]
        {
            assert!(Template::parse(text, 1).unwrap_err().contains(why), "{text}");
        }
    }
}
