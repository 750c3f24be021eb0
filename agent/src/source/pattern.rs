//! Lines that are taken apart by a pattern such as `T={t} H={h}%`.
//!
//! A small language instead of regular expressions, whose smallest crate weighs more in the agent than all of a family of
//! devices: a person who writes it down reads it off the line, and matching takes one walk through it.

use std::collections::BTreeSet;

/// Bytes a pattern may have.
const BYTES_MAX: usize = 1_024;

/// Text, gaps, and named parts, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Just this.
    Text(String),
    /// Spaces or tabs, one at least.
    Space,
    /// Whatever is there until the next piece, with its name where it is wanted.
    Part(Option<String>),
}

impl Pattern {
    /// Reads a pattern; fails with what is wrong and what would be right.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() || text.len() > BYTES_MAX {
            return Err(format!("is to be 1 to {BYTES_MAX} bytes, such as \"T={{t}} H={{h}}%\""));
        }
        let (mut pieces, mut rest) = (Vec::new(), text.trim());
        while let Some(first) = rest.chars().next() {
            let (piece, left) = match first {
                '{' if !rest.starts_with("{{") => part(&rest[1..])?,
                ' ' | '\t' => (Piece::Space, rest.trim_start_matches([' ', '\t'])),
                '}' if !rest.starts_with("}}") => {
                    return Err("has a `}` without `{`; write `}}` for the character".into());
                }
                _ => literal(rest),
            };
            pieces.push(piece);
            rest = left;
        }
        Self(pieces).checked()
    }

    fn checked(self) -> Result<Self, String> {
        let mut names = BTreeSet::new();
        for name in self.names() {
            if !names.insert(name) {
                return Err(format!("has {{{name}}} twice; each part needs its own name"));
            }
        }
        let is_part = |piece: &Piece| matches!(piece, Piece::Part(_));
        if self.0.iter().zip(self.0.iter().skip(1)).any(|(one, next)| is_part(one) && is_part(next)) {
            return Err("has two parts with nothing between them to tell where one ends".into());
        }
        if names.is_empty() {
            return Err("names no part; put {name} where a value is".into());
        }
        Ok(self)
    }

    /// The names of its parts.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Part(name) => name.as_deref(),
            _ => None,
        })
    }

    /// The named parts of a line; fails, without repeating anything of the line, where it is another kind of line.
    ///
    /// A part ends at the first place where the next piece is.
    pub(super) fn split<'a>(&'a self, line: &'a str) -> Result<Vec<(&'a str, &'a str)>, String> {
        let (mut parts, mut rest) = (Vec::new(), line.trim());
        let mut open: Option<Option<&str>> = None;
        for piece in &self.0 {
            let found = match piece {
                Piece::Part(name) => {
                    open = Some(name.as_deref());
                    continue;
                }
                Piece::Text(text) => rest.find(text.as_str()).map(|at| (at, at + text.len())),
                Piece::Space => rest.find([' ', '\t']).map(|at| {
                    let gap = rest[at..].len() - rest[at..].trim_start_matches([' ', '\t']).len();
                    (at, at + gap)
                }),
            };
            let (start, end) =
                found.filter(|(start, _)| *start == 0 || open.is_some()).ok_or_else(|| missing(piece))?;
            if let Some(Some(name)) = open.take() {
                parts.push((name, &rest[..start]));
            }
            rest = &rest[end..];
        }
        match open {
            Some(Some(name)) => parts.push((name, rest)),
            None if !rest.is_empty() => return Err("does not match `pattern`: it goes on behind its end".into()),
            _ => {}
        }
        Ok(parts)
    }
}

fn missing(piece: &Piece) -> String {
    match piece {
        Piece::Text(text) => format!("does not match `pattern`: `{text}` is not where it should be"),
        _ => "does not match `pattern`: a space is not where it should be".into(),
    }
}

/// The part behind an opening brace, and what follows its closing one.
fn part(text: &str) -> Result<(Piece, &str), String> {
    let (name, left) = text.split_once('}').ok_or("has a `{` without `}`; write `{{` for the character")?;
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match name {
        "" => Ok((Piece::Part(None), left)),
        _ if name.len() <= 64 && name.bytes().all(known) => Ok((Piece::Part(Some(name.to_owned())), left)),
        _ => Err("has a part whose name is not 1 to 64 of [A-Za-z0-9_.-]; {} skips what has none".into()),
    }
}

/// The plain text that `text` begins with, and what follows it.
fn literal(text: &str) -> (Piece, &str) {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let doubled = rest.starts_with("{{") || rest.starts_with("}}");
        if matches!(first, ' ' | '\t') || (matches!(first, '{' | '}') && !doubled) {
            break;
        }
        plain.push(first);
        rest = &rest[first.len_utf8() * if doubled { 2 } else { 1 }..];
    }
    (Piece::Text(plain), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split<'a>(pattern: &'a Pattern, line: &'a str) -> Vec<(&'a str, &'a str)> {
        pattern.split(line).unwrap()
    }

    #[test]
    fn parts_are_found_between_what_is_written_around_them() {
        let pattern = Pattern::new("T={t} H={h}%").unwrap();
        assert_eq!(split(&pattern, "T=21.5 H=40%"), [("t", "21.5"), ("h", "40")]);
        assert_eq!(split(&pattern, "  T=21.5 \t  H=%\r"), [("t", "21.5"), ("h", "")]);
        let pattern = Pattern::new("{} Tank {{{level}}} {unit}").unwrap();
        assert_eq!(split(&pattern, "12:00 Tank {7} mm of it"), [("level", "7"), ("unit", "mm of it")]);
    }

    #[test]
    fn another_line_says_what_is_missing_and_not_what_it_holds() {
        let pattern = Pattern::new("T={t} H={h}%").unwrap();
        for (line, missing) in [
            ("t=4711 H=40%", "`T=`"),
            ("T=4711", "a space"),
            ("T=4711 h=4711%", "`H=`"),
            ("T=4711 H=4711", "`%`"),
            ("T=4711 H=40% 4711", "behind its end"),
            ("x T=4711 H=40%", "`T=`"),
        ] {
            let problem = pattern.split(line).unwrap_err();
            assert!(problem.contains(missing) && !problem.contains("4711"), "{line}: {problem}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_say_why() {
        for (pattern, problem) in [
            ("  ", "1 to 1024"),
            ("T=21", "names no part"),
            ("{} only", "names no part"),
            ("T={t", "without `}`"),
            ("T=t}", "without `{`"),
            ("{a b}", "[A-Za-z0-9_.-]"),
            ("{a}{b}", "nothing between"),
            ("{a}-{a}", "twice"),
        ] {
            let found = Pattern::new(pattern).unwrap_err();
            assert!(found.contains(problem), "{pattern}: {found}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_meets_any_line(pattern in "[ab{} =]{0,20}", line in "[ab{} =ä]{0,30}") {
            if let Ok(pattern) = Pattern::new(&pattern)
                && let Ok(parts) = pattern.split(&line)
            {
                prop_assert_eq!(parts.len(), pattern.names().count());
            }
        }

        #[test]
        fn what_stands_in_the_parts_is_read_back(one in "[0-9.]{1,8}", other in "[a-z]{0,8}") {
            let pattern = Pattern::new("<{one}|{other}>").unwrap();
            let line = format!("<{one}|{other}>");
            prop_assert_eq!(pattern.split(&line).unwrap(), [("one", one.as_str()), ("other", other.as_str())]);
        }
    }
}
