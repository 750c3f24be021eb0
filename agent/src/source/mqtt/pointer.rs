//! Where a value is in a JSON document: RFC 6901.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::source::fields::Cell;
use crate::source::format::cell_of;

/// Levels that a pointer may have.
const DEPTH_MAX: usize = 16;

/// A JSON pointer: `/ENERGY/Power`; the empty one is the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer. Fails with what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return match text {
                "" => Ok(Self(Vec::new())),
                _ => Err("is to begin with `/`, such as /ENERGY/Power; empty for the whole payload".into()),
            };
        };
        let tokens: Vec<String> = rest.split('/').map(unescape).collect::<Result<_, _>>()?;
        match tokens.len() {
            0..=DEPTH_MAX => Ok(Self(tokens)),
            _ => Err(format!("has more than {DEPTH_MAX} levels")),
        }
    }

    /// Whether it means the whole document.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }
}

fn unescape(token: &str) -> Result<String, String> {
    let mut parts = token.split('~');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err("has a `~` that is neither ~0 (a tilde) nor ~1 (a slash)".into()),
        };
        whole.push(sign);
        whole.push_str(rest);
    }
    Ok(whole)
}

/// A JSON text, whose outermost object is taken apart once.
#[derive(Debug)]
pub(super) struct Document<'a> {
    whole: &'a RawValue,
    top: Option<Object<'a>>,
}

type Object<'a> = BTreeMap<String, &'a RawValue>;

impl<'a> Document<'a> {
    /// Reads `text`, or says what is wrong with it without repeating it.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| {
            format!("is no JSON: {:?} error at line {} byte {}", error.classify(), error.line(), error.column())
        };
        let whole: &RawValue = serde_json::from_str(text).map_err(wrong)?;
        let top = if whole.get().starts_with('{') { serde_json::from_str(whole.get()).ok() } else { None };
        Ok(Self { whole, top })
    }

    /// What is at `pointer`; nothing where it leads nowhere.
    pub(super) fn cell(&self, pointer: &Pointer) -> Result<Cell<'a>, String> {
        let (mut raw, mut rest) = (self.whole, pointer.0.as_slice());
        if let (Some(top), Some((first, others))) = (&self.top, pointer.0.split_first()) {
            let Some(found) = top.get(first) else { return Ok(Cell::Absent) };
            (raw, rest) = (*found, others);
        }
        for token in rest {
            match step(raw.get(), token) {
                Some(found) => raw = found,
                None => return Ok(Cell::Absent),
            }
        }
        cell_of(raw.get())
    }
}

fn step<'a>(raw: &'a str, token: &str) -> Option<&'a RawValue> {
    match raw.as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Object<'a>>(raw).ok()?.get(token).copied(),
        Some(b'[') => {
            let plain = token == "0" || !token.starts_with(['0', '+']);
            let place: usize = token.parse().ok().filter(|_| plain)?;
            serde_json::from_str::<Vec<&'a RawValue>>(raw).ok()?.get(place).copied()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'a>(text: &'a str, pointer: &str) -> Cell<'a> {
        Document::read(text).unwrap().cell(&Pointer::parse(pointer).unwrap()).unwrap()
    }

    /// The document and the pointers of RFC 6901, section 5.
    const RFC: &str = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;

    #[test]
    fn every_pointer_of_the_rfc_finds_what_it_says() {
        for (pointer, number) in [
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            assert_eq!(found(RFC, pointer), Cell::Number(number), "{pointer}");
        }
        assert_eq!(found(RFC, "/foo/0"), Cell::Text("bar".into()));
        assert_eq!((found(RFC, "/foo"), found(RFC, "")), (Cell::Array, Cell::Object(RFC)));
    }

    #[test]
    fn digits_are_kept_as_written_and_what_is_not_there_is_absent() {
        assert_eq!(found(r#"{"a":{"b":[1,{"c":21.50}]}}"#, "/a/b/1/c"), Cell::Number("21.50"));
        for nowhere in ["/b", "/a/x", "/a/b/2", "/a/b/01", "/a/b/-", "/a/b/+1", "/a/b/0/c", "/a/b/1/c/d"] {
            assert_eq!(found(r#"{"a":{"b":[1,{"c":21.50}]}}"#, nowhere), Cell::Absent, "{nowhere}");
        }
        assert_eq!(found(r#"[{"t":-3}]"#, "/0/t"), Cell::Number("-3"));
    }

    #[test]
    fn deep_and_broken_documents_are_answered() {
        let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
        assert_eq!(found(&deep, "/0/0/0"), Cell::Array);
        for broken in ["", "{", "{\"a\":118", "{\"a\":118}x", "nul", "\u{feff}{}"] {
            let problem = Document::read(broken).unwrap_err();
            assert!(!problem.contains("118"), "{problem}");
        }
        for bad in ["a", "/a~2", "/a~", &"/x".repeat(17)] {
            assert!(Pointer::parse(bad).is_err(), "{bad}");
        }
    }
}
