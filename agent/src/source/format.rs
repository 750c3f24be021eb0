//! How one line is written (CSV, JSON, key=value, a pattern), and the fields in it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::fields::{Cell, Key};
use super::pattern::Pattern;

/// Fields one line may have.
const FIELDS_MAX: usize = 1_024;

/// How lines are written.
#[derive(Clone, Debug)]
pub(super) enum LineFormat {
    /// Fields between separators, quoted as in RFC 4180; a field does not span lines.
    Csv { separator: char },
    /// One JSON object.
    Json,
    /// `name=value` pairs between separators.
    KeyValue { separator: char },
    /// Named groups of a regular expression.
    Pattern(Pattern),
}

/// The fields of one line.
#[derive(Debug)]
pub(super) enum Row<'a> {
    /// By place.
    Fields(Vec<Cow<'a, str>>),
    /// By key, each as written.
    Object(BTreeMap<String, &'a RawValue>),
    /// By key.
    Pairs(Vec<(&'a str, &'a str)>),
}

impl LineFormat {
    /// The fields of `line`, or what is wrong with it.
    pub(super) fn split<'a>(&'a self, line: &'a [u8]) -> Result<Row<'a>, String> {
        let text = std::str::from_utf8(line).map_err(|_| "is not UTF-8 text")?;
        match self {
            Self::Csv { separator } => split_csv(text, *separator).map(Row::Fields),
            Self::Json => {
                let wrong = |error: serde_json::Error| {
                    format!("is no JSON object: {:?} error at byte {}", error.classify(), error.column())
                };
                serde_json::from_str(text).map(Row::Object).map_err(wrong)
            }
            Self::KeyValue { separator } => split_pairs(text, *separator).map(Row::Pairs),
            Self::Pattern(pattern) => pattern.split(text).map(Row::Pairs),
        }
    }
}

fn split_csv(text: &str, separator: char) -> Result<Vec<Cow<'_, str>>, String> {
    let mut fields = Vec::new();
    let mut left = text;
    loop {
        if fields.len() == FIELDS_MAX {
            return Err(format!("has more than {FIELDS_MAX} fields"));
        }
        let (field, rest) = match left.strip_prefix('"') {
            Some(quoted) => unquote(quoted, separator)?,
            None => match left.split_once(separator) {
                Some((field, rest)) => (Cow::Borrowed(field), Some(rest)),
                None => (Cow::Borrowed(left), None),
            },
        };
        fields.push(field);
        match rest {
            Some(rest) => left = rest,
            None => return Ok(fields),
        }
    }
}

/// The field behind an opening quote, and what follows its separator.
fn unquote(text: &str, separator: char) -> Result<(Cow<'_, str>, Option<&str>), String> {
    let mut field = Cow::Borrowed("");
    let mut left = text;
    loop {
        let (part, rest) = left.split_once('"').ok_or("has a quote that does not end")?;
        field += part;
        match (rest.strip_prefix('"'), rest.strip_prefix(separator)) {
            (Some(rest), _) => {
                field += "\"";
                left = rest;
            }
            (None, Some(rest)) => return Ok((field, Some(rest))),
            (None, None) if rest.is_empty() => return Ok((field, None)),
            (None, None) => return Err("has text behind a closing quote".into()),
        }
    }
}

fn split_pairs(text: &str, separator: char) -> Result<Vec<(&str, &str)>, String> {
    let mut pairs = Vec::new();
    for part in text.split(separator).map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or("has a part that is not name=value")?;
        if pairs.len() == FIELDS_MAX {
            return Err(format!("has more than {FIELDS_MAX} fields"));
        }
        pairs.push((key.trim(), value.trim()));
    }
    if pairs.is_empty() { Err("has no name=value".into()) } else { Ok(pairs) }
}

impl<'a> Row<'a> {
    /// How many fields there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Fields(fields) => fields.len(),
            Self::Object(object) => object.len(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    /// The field of that key; a key that a JSON object or a pair list lacks is absent.
    pub(super) fn cell(&self, key: &Key) -> Result<Cell<'_>, String> {
        match (self, key) {
            (Self::Fields(fields), Key::Number(number)) => {
                let field = number.checked_sub(1).and_then(|index| fields.get(index));
                Ok(plain(field.ok_or_else(|| format!("is not there: the line has {} fields", fields.len()))?))
            }
            (Self::Object(object), Key::Name(path)) => typed(object, path),
            (Self::Pairs(pairs), Key::Name(name)) => {
                Ok(pairs.iter().find(|(key, _)| key == name).map_or(Cell::Absent, |(_, value)| plain(value)))
            }
            (Self::Fields(_), Key::Name(_)) => Err("has a name, and the lines have no header".into()),
            (_, Key::Number(_)) => Err("is a number, and the lines have names".into()),
        }
    }

    /// The same as plain text, for times.
    pub(super) fn text(&self, key: &Key) -> Result<Cow<'_, str>, String> {
        match self.cell(key)? {
            Cell::Plain(text) | Cell::Text(text) => Ok(text),
            Cell::Number(text) => Ok(Cow::Borrowed(text)),
            Cell::Absent => Err("is empty or not there".into()),
            _ => Err("is no text or number".into()),
        }
    }
}

fn plain(text: &str) -> Cell<'_> {
    if text.trim().is_empty() { Cell::Absent } else { Cell::Plain(Cow::Borrowed(text)) }
}

/// The value at `path`: first as one key, then through objects at its dots.
fn typed<'a>(object: &BTreeMap<String, &'a RawValue>, path: &str) -> Result<Cell<'a>, String> {
    if let Some(raw) = object.get(path) {
        return cell_of(raw.get());
    }
    let Some((first, rest)) = path.split_once('.') else { return Ok(Cell::Absent) };
    let Some(raw) = object.get(first) else { return Ok(Cell::Absent) };
    match serde_json::from_str::<BTreeMap<String, &'a RawValue>>(raw.get()) {
        Ok(inner) => typed(&inner, rest),
        Err(_) => Ok(Cell::Absent),
    }
}

/// A JSON value as written.
pub(super) fn cell_of(raw: &str) -> Result<Cell<'_>, String> {
    Ok(match raw.as_bytes().first() {
        Some(b'"') => Cell::Text(serde_json::from_str(raw).map_err(|_| "is no valid text")?),
        Some(b'{') => Cell::Object(raw),
        Some(b'[') => Cell::Array,
        Some(b't') => Cell::Bool(true),
        Some(b'f') => Cell::Bool(false),
        Some(b'n') | None => Cell::Absent,
        Some(_) => Cell::Number(raw),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(line: &str) -> Result<Vec<String>, String> {
        split_csv(line, ',').map(|fields| fields.into_iter().map(Cow::into_owned).collect())
    }

    #[test]
    fn quoted_fields_hold_separators_and_quotes() {
        assert_eq!(csv(r#"a,"b,""c"#).unwrap_err(), "has a quote that does not end");
        assert_eq!(csv(r#"a,"b,""c""",,"#).unwrap(), ["a", "b,\"c\"", "", ""]);
        assert_eq!(csv(r#""a"b"#).unwrap_err(), "has text behind a closing quote");
        assert_eq!(csv("").unwrap(), [""]);
        assert!(csv(&",".repeat(FIELDS_MAX)).is_err());
    }

    #[test]
    fn a_dotted_path_is_first_a_key_and_then_a_way_through_objects() {
        let line =
            br#"{"power.active":1.5,"power":{"active":2,"max":{"w":3}},"none":null,"t":"a\"b","list":[1],"no":false}"#;
        let row = LineFormat::Json.split(line).unwrap();
        let cell = |path: &str| row.cell(&Key::Name(path.into())).unwrap();
        assert_eq!(cell("power.active"), Cell::Number("1.5"));
        assert_eq!(cell("power.max.w"), Cell::Number("3"));
        assert_eq!(cell("power.max"), Cell::Object(r#"{"w":3}"#));
        assert_eq!(cell("t"), Cell::Text("a\"b".into()));
        assert_eq!((cell("list"), cell("no")), (Cell::Array, Cell::Bool(false)));
        for absent in ["none", "gone", "power.gone", "t.x"] {
            assert_eq!(cell(absent), Cell::Absent, "{absent}");
        }
    }

    #[test]
    fn lines_that_are_no_record_say_why_without_their_content() {
        for (format, line) in [
            (LineFormat::Json, &b"{\"glucose\":118"[..]),
            (LineFormat::Json, b"118"),
            (LineFormat::KeyValue { separator: ' ' }, b"glucose:118"),
            (LineFormat::KeyValue { separator: ' ' }, b" "),
            (LineFormat::Csv { separator: ',' }, b"118\xff"),
        ] {
            let problem = format.split(line).unwrap_err();
            assert!(!problem.contains("118"), "{problem}");
        }
    }

    #[test]
    fn pairs_are_found_by_name() {
        let row = LineFormat::KeyValue { separator: ';' }.split(b" t = 21.5; rh=40;").unwrap();
        assert_eq!(row.cell(&Key::Name("t".into())), Ok(Cell::Plain("21.5".into())));
        assert_eq!(row.cell(&Key::Name("x".into())), Ok(Cell::Absent));
        assert!(row.cell(&Key::Number(1)).is_err());
    }
}
