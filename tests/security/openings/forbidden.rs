//! That none of our crates but one of the tests can have unsafe code: every manifest takes the workspace's lints, those
//! forbid it (which no attribute in a source takes back), and no source has the word.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::part::Found;

/// The crate that SQLite calls into, which only tests have.
const EXCEPTION: &str = "tests/vfs";
/// What is shipped, and what that is made of.
const SHIPPED: [&str; 4] = ["agent", "gateway", "proto", "certs"];

pub(super) fn run(found: &mut Found) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: PathBuf| std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()));
    let workspace = read(root.join("Cargo.toml"))?;
    let forbids = section(&workspace, "workspace.lints.rust").any(|line| line == "unsafe_code = \"forbid\"");
    found.check(forbids, || "the workspace does not forbid unsafe code".to_owned());
    let members = quoted(&workspace, "members");
    anyhow::ensure!(SHIPPED.iter().all(|name| members.iter().any(|member| member == name)), "members are {members:?}");
    let others: Vec<PathBuf> =
        members.iter().chain(&quoted(&workspace, "exclude")).map(|member| root.join(member)).collect();
    for member in &members {
        let manifest = read(root.join(member).join("Cargo.toml"))?;
        let takes = section(&manifest, "lints").any(|line| line == "workspace = true");
        let words = words(&root.join(member), &others)?;
        if member == EXCEPTION {
            // What is looked for is found where it is.
            found.check(words > 0 && !takes, || format!("{member}: {words} words, where it is the exception"));
            continue;
        }
        found.check(takes, || format!("{member} does not take the workspace's lints"));
        found.check(words == 0, || format!("{member} has the word {words} times"));
        let uses = SHIPPED.contains(&member.as_str())
            && section(&manifest, "dependencies").any(|line| line.starts_with("vfs"));
        found.check(!uses, || format!("{member} uses {EXCEPTION}"));
        found.count("crates_that_forbid_unsafe_code", usize::from(takes && forbids));
        found.count("unsafe_in_sources", words);
    }
    Ok(())
}

/// The lines of a table of a manifest, without comments.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let header = format!("[{name}]");
    let lines = manifest.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines.skip_while(move |line| *line != header).skip(1).take_while(|line| !line.starts_with('['))
}

/// What is between quotes in the list `key`.
fn quoted(manifest: &str, key: &str) -> Vec<String> {
    let list = section(manifest, "workspace").find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='));
    list.unwrap_or_default().split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// How often the sources below `folder` have the word, outside of comments and texts. What lies in `others` is theirs.
fn words(folder: &Path, others: &[PathBuf]) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_other = others.contains(&path) || ["target", "node_modules"].iter().any(|name| path.ends_with(name));
        if kind.is_dir() && !is_other {
            count += words(&path, others)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let code = code(&text);
            let tokens = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            count += tokens.filter(|token| *token == "unsafe").count();
        }
    }
    Ok(count)
}

/// A source without its comments and texts.
fn code(text: &str) -> String {
    let (mut rest, mut code) = (text, String::new());
    while let Some(letter) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| literal(rest, &code));
        if skipped.is_some() {
            code.push(' ');
        } else {
            code.push(letter);
        }
        rest = rest.get(skipped.unwrap_or(letter.len_utf8())..).unwrap_or_default();
    }
    code
}

/// How long the comment is that `text` begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if depth > 0 && rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else if depth > 0 {
            at += rest.chars().next().map_or(1, char::len_utf8);
        } else {
            break;
        }
    }
    (at > 0).then_some(at)
}

/// How long the text or letter is that `text` begins with. A quote that begins a lifetime is none.
fn literal(text: &str, before: &str) -> Option<usize> {
    let in_word = before.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    if let Some(raw) = text.strip_prefix('r').filter(|_| !in_word || before.ends_with('b')) {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw.get(marks..)?.starts_with('"') {
            let end = format!("\"{}", "#".repeat(marks));
            let inside = raw.get(marks + 1..)?;
            return Some(2 + marks + inside.find(&end)? + end.len());
        }
    }
    let quote = text.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    let mut letters = text.char_indices().skip(1);
    if quote == '\'' && !text.starts_with("'\\") && text.chars().nth(2) != Some('\'') {
        return None;
    }
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            letter if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_found_in_code_and_not_in_comments_and_texts() {
        let count = |text: &str| {
            let code = code(text);
            code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .filter(|token| *token == "unsafe")
                .count()
        };
        for (text, wanted) in [
            ("fn f() { unsafe { g() } }", 1),
            ("unsafe impl<'a> Send for X<'a> {}", 1),
            ("// unsafe\nfn f() {}", 0),
            ("/* unsafe /* unsafe */ unsafe */ fn f() {}", 0),
            ("let a = \"unsafe \\\" unsafe\"; unsafe {}", 1),
            ("let a = r#\"unsafe \" unsafe\"#; let b = br\"unsafe\";", 0),
            ("let a = '\"'; unsafe {} let b = '\\''; // \"", 1),
            ("#![forbid(unsafe_code)]", 0),
        ] {
            assert_eq!(count(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_manifests_tables_are_read_without_their_comments() {
        let manifest = "[workspace]\nmembers = [\"a\", \"b/c\"]\n[lints]\nworkspace = true # all\n# [lints]\n[other]\nworkspace = false\n";
        assert_eq!(quoted(manifest, "members"), ["a", "b/c"]);
        assert_eq!(section(manifest, "lints").filter(|line| *line == "workspace = true").count(), 1);
    }
}
