//! Lines that a program prints. It is run without a shell, started again when it ends, and killed with all that it has
//! started when the agent stops.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, Program};
use super::fields::SeriesSettings;
use super::serial::lines::Lines;
use super::serial::{self, Format};
use super::times::TimeSettings;
use super::{BadSetting, SourceError};

/// A program's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The program's absolute path, and what it is given: `["/usr/local/bin/meter", "--all"]`.
    pub command: Vec<String>,
    /// All of its environment; nothing else is handed on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Where it runs.
    #[serde(default = "folder")]
    pub folder: PathBuf,
    /// Seconds after its end until it is run again, 1 to 86400; longer where it never printed a line that could be read.
    #[serde(default = "restart_s")]
    pub restart_s: u32,
    /// Seconds without a byte after which it is killed and run again; 0: never.
    #[serde(default)]
    pub silence_s: u32,
    /// `csv`, `json`, `key_value` or `pattern`.
    pub format: Format,
    /// What a line looks like, for format `pattern`: a regular expression with a named group where a value is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What stands between fields or pairs; left out: a comma for csv, a space for `key_value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// How many fields a line has; another number is rejected. Left out: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<usize>,
    /// Where each line's own time is. Left out: lines are stamped as they arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeSettings>,
    /// The zone of local times; needed where lines have times without offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Bytes one line may have; a longer one is rejected, and the next one read.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
    /// What each line holds.
    pub series: Vec<SeriesSettings>,
}

fn folder() -> PathBuf {
    PathBuf::from("/")
}

fn restart_s() -> u32 {
    10
}

fn line_bytes_max() -> usize {
    4_096
}

impl Settings {
    /// The same as for lines of a serial port.
    fn lines(&self) -> serial::Settings {
        serial::Settings {
            pattern: self.pattern.clone(),
            separator: self.separator,
            columns: self.columns,
            time: self.time.clone(),
            time_zone: self.time_zone.clone(),
            line_bytes_max: self.line_bytes_max,
            silence_s: self.silence_s,
            trust_first_line: true,
            ..serial::Settings::of_lines(self.format, self.series.clone())
        }
    }
}

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        let wrong = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        match self.command.first() {
            Some(path) if Path::new(path).is_absolute() => {}
            _ => {
                return wrong(
                    "command",
                    "is to begin with a program's absolute path: [\"/usr/local/bin/meter\", \"--all\"]",
                );
            }
        }
        if self.command.iter().any(|argument| argument.contains('\0')) {
            return wrong("command", "is not to hold a zero byte");
        }
        let names = |key: &String| !key.is_empty() && !key.contains(['=', '\0']);
        if !self.environment.iter().all(|(key, value)| names(key) && !value.contains('\0')) {
            return wrong("environment", "is to have names without = and values without zero bytes");
        }
        if !self.folder.is_absolute() {
            return wrong("folder", "is to be an absolute path");
        }
        if !(1..=86_400).contains(&self.restart_s) {
            return wrong("restart_s", "is to be 1 to 86400");
        }
        self.lines().check_lines()
    }

    fn link(&self) -> Link {
        Link { port: self.command.first().cloned().unwrap_or_default(), line: Line::plain(9_600) }
    }

    fn program(&self) -> Option<Program> {
        let (path, arguments) = self.command.split_first()?;
        Some(Program {
            path: path.into(),
            arguments: arguments.to_vec(),
            environment: self.environment.clone().into_iter().collect(),
            folder: self.folder.clone(),
            restart: Duration::from_secs(self.restart_s.into()),
        })
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        let lines = self.lines();
        let parser = lines.parser()?;
        Ok(Box::new(Lines::new(&lines, parser)))
    }
}

#[cfg(test)]
mod tests;
