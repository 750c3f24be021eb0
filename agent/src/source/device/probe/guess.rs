//! What lines of text may mean: numbers by name, or by place.

use std::fmt::Write;

use crate::source::fields::Key;
use crate::source::format::{LineFormat, Row};

/// What a person has to look at in a guess.
pub(super) const CHECK: &str = "name the series, and say their UCUM units, such as Cel or kW.h";
/// What may stand between fields.
const SEPARATORS: [char; 6] = [',', ';', '\t', ' ', '|', '&'];
/// Series that are guessed.
const SERIES_MAX: usize = 32;

/// Settings that may be right.
pub(super) struct Guess {
    /// What it is.
    pub(super) what: &'static str,
    /// A `[[source]]` without `name` and `port`.
    pub(super) settings: String,
}

/// What the last whole line of `heard` says of all of them; none where it is no text, or has no numbers.
pub(super) fn settings(heard: &[u8], baud: u32) -> Option<Guess> {
    let end = heard.iter().rposition(|byte| *byte == b'\n')?;
    let line = heard[..end].rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty())?;
    let is_text = std::str::from_utf8(line).is_ok_and(|text| !text.chars().any(|c| c.is_control() && c != '\t'));
    if !is_text {
        return None;
    }
    let found = json(line).or_else(|| best(line, pairs)).or_else(|| best(line, fields));
    let (what, format, separator, columns) = found?;
    let mut settings = format!("type = \"serial\"\nbaud = {baud}\nformat = \"{format}\"\n");
    if let Some(separator) = separator {
        let _ = writeln!(settings, "separator = {}", toml::Value::from(separator.to_string()));
    }
    settings.push_str("series = [\n");
    let mut names: Vec<String> = Vec::new();
    for column in columns.into_iter().take(SERIES_MAX) {
        let (column, name) = match column {
            Key::Number(number) => (number.to_string(), format!("column.{number}")),
            Key::Name(name) => (toml::Value::from(name.as_str()).to_string(), series_name(&name)),
        };
        if !names.contains(&name) {
            let _ = writeln!(settings, "  {{ column = {column}, name = \"{name}\", unit = \"1\" }},");
            names.push(name);
        }
    }
    settings.push(']');
    Some(Guess { what, settings })
}

/// What it is, the format's name, what separates, and the columns that hold numbers.
type Guessed = (&'static str, &'static str, Option<char>, Vec<Key>);

fn json(line: &[u8]) -> Option<Guessed> {
    let Ok(Row::Object(object)) = LineFormat::Json.split(line) else { return None };
    let numbers = object.into_iter().filter(|(_, raw)| is_number(raw.get()));
    let columns: Vec<Key> = numbers.map(|(key, _)| Key::Name(key)).collect();
    (!columns.is_empty()).then_some(("Lines of JSON", "json", None, columns))
}

/// What most numbers come out with.
fn best(line: &[u8], guess: fn(&[u8], char) -> Option<Guessed>) -> Option<Guessed> {
    let guesses = SEPARATORS.into_iter().rev().filter_map(|separator| guess(line, separator));
    guesses.max_by_key(|(.., columns)| columns.len())
}

fn pairs(line: &[u8], separator: char) -> Option<Guessed> {
    let format = LineFormat::KeyValue { separator };
    let Ok(Row::Pairs(pairs)) = format.split(line) else { return None };
    let numbers = pairs.into_iter().filter(|(_, value)| is_number(value));
    let columns: Vec<Key> = numbers.map(|(key, _)| Key::Name(key.to_owned())).collect();
    (!columns.is_empty()).then_some(("Lines of name=value", "key_value", Some(separator), columns))
}

fn fields(line: &[u8], separator: char) -> Option<Guessed> {
    let format = LineFormat::Csv { separator };
    let Ok(Row::Fields(fields)) = format.split(line) else { return None };
    let numbers = fields.iter().zip(1..).filter(|(field, _)| is_number(field.trim()));
    let columns: Vec<Key> = numbers.map(|(_, number)| Key::Number(number)).collect();
    // Text with a number somewhere in it is no record.
    let mostly = columns.len() * 2 >= fields.len();
    (!columns.is_empty() && mostly).then_some(("Lines of CSV", "csv", Some(separator), columns))
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
        && !text.contains(|letter: char| letter.is_ascii_alphabetic() && letter != 'e')
}

/// A series' name out of a column's.
fn series_name(column: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '.' };
    let name: String = column.chars().map(plain).take(48).collect::<String>().to_ascii_lowercase();
    let name = name.trim_matches(['.', '_']);
    if name.is_empty() { "value".to_owned() } else { name.to_owned() }
}
