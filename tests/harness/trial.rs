//! What commands that prove something share: the words of the command line, what is wanted of all there is, the seed, the
//! report, the exit code.

#![allow(clippy::print_stdout, reason = "commands answer a person")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The words of a command line, taken one by one.
#[derive(Debug)]
pub struct Words<I = std::iter::Skip<std::env::Args>>(I);

impl<I: Iterator<Item = String>> Words<I> {
    /// Those of `words`, which come without the program's name.
    #[must_use]
    pub fn of(words: I) -> Self {
        Self(words)
    }

    /// The next one, while there are any.
    pub fn next_word(&mut self) -> Option<String> {
        self.0.next()
    }

    /// The value after `option`.
    ///
    /// # Errors
    /// There is none, or it is no `T`.
    pub fn value<T>(&mut self, option: &str) -> anyhow::Result<T>
    where
        T: FromStr<Err: Into<anyhow::Error>>,
    {
        let Some(word) = self.0.next() else { bail!("{option} wants a value") };
        word.parse::<T>().map_err(Into::<anyhow::Error>::into).with_context(|| format!("{option} {word}"))
    }

    /// The names after `option`, with commas between them.
    ///
    /// # Errors
    /// There is no word.
    pub fn names(&mut self, option: &str) -> anyhow::Result<Vec<String>> {
        Ok(self.value::<String>(option)?.split(',').map(str::to_owned).collect())
    }
}

/// Runs a command with its words: 0 where it answers that all came out clean, 1 where not, 2 where it could not be run. Where the
/// first word asks for help it prints `usage`, and runs nothing: a later one may be another command's.
#[must_use]
pub fn judged(usage: &str, run: impl FnOnce(Words) -> anyhow::Result<bool>) -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| ["--help", "-h"].contains(&word.as_str())) {
        println!("{}", usage.trim_end());
        return ExitCode::SUCCESS;
    }
    match run(Words::of(std::env::args().skip(1))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// What is said of a word that a command does not know.
#[must_use]
pub fn unknown(word: &str) -> anyhow::Error {
    anyhow::anyhow!("{word}: not known here; --help alone says what is")
}

/// Those of `all` that `only` names, or all where it names none, in the order of `all`. `what` is one of them in a word.
///
/// # Errors
/// A name that none of them has.
pub fn wanted<'a, T>(
    all: &'a [(&'static str, T)],
    only: &[String],
    what: &str,
) -> anyhow::Result<Vec<&'a (&'static str, T)>> {
    if let Some(unknown) = only.iter().find(|wanted| all.iter().all(|(name, _)| name != wanted)) {
        let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        bail!("{unknown}: no such {what}; there are {}", known.join(", "));
    }
    Ok(all.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|wanted| wanted == name)).collect())
}

/// The seed that was asked for, or one of this run's own; it is printed, so that the run can be repeated.
#[must_use]
pub fn seed(asked: Option<u64>) -> u64 {
    let seed = asked.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={seed}: --seed {seed} repeats this run");
    seed
}

/// Whether what cannot be run here is wrong: in CI (`CI=true`), which has all of it.
#[must_use]
pub fn must_be_whole() -> bool {
    is_ci(std::env::var_os("CI").as_deref())
}

fn is_ci(said: Option<&OsStr>) -> bool {
    said.is_some_and(|value| value == "true")
}

/// Writes the figures by name.
///
/// # Errors
/// When the file, or its folder, cannot be written.
pub fn write(path: &Path, figures: &BTreeMap<String, Value>) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[&str]) -> Words<std::vec::IntoIter<String>> {
        Words::of(all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn a_value_is_what_its_option_wants_or_an_error_that_names_it() {
        let mut good = words(&["--seed", "7", "--only", "a,b"]);
        assert_eq!(good.next_word().as_deref(), Some("--seed"));
        assert_eq!(good.value::<u64>("--seed").unwrap(), 7);
        assert_eq!(good.next_word().as_deref(), Some("--only"));
        assert_eq!(good.names("--only").unwrap(), ["a", "b"]);
        assert_eq!(good.value::<u64>("--seed").unwrap_err().to_string(), "--seed wants a value");
        assert_eq!(words(&["x"]).value::<u64>("--seed").unwrap_err().to_string(), "--seed x");
    }

    #[test]
    fn all_must_be_shown_in_ci_alone() {
        assert!(is_ci(Some(OsStr::new("true"))));
        assert!(!is_ci(None) && !is_ci(Some(OsStr::new("false"))));
    }

    #[test]
    fn a_name_that_nobody_has_is_an_error_and_none_means_all() {
        let all = [("one", 1), ("two", 2), ("three", 3)];
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            wanted(&all, &only, "rig").map(|found| found.iter().map(|(_, value)| *value).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), [1, 2, 3]);
        assert_eq!(names(&["three", "one"]).unwrap(), [1, 3]);
        assert_eq!(names(&["one", "four"]).unwrap_err().to_string(), "four: no such rig; there are one, two, three");
    }
}
